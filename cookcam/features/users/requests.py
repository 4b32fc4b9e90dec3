"""What the people routes read."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cookcam.features.literals import refused

SHORTEST_SEARCH = 2


class UserFilter(Struct):
    """The query of a search; an empty one is none."""

    search: Annotated[
        str,
        Meta(
            max_length=100,
            description="how a name begins, at least 2 characters",
            extra_json_schema={"pattern": r"^(\s*|\s*\S[\s\S]*\S\s*)$"},
        ),
    ] = ""

    def beginning(self) -> str | None:
        """Raises ValidationError."""
        text = self.search.strip()
        if not text:
            return None
        if len(text) < SHORTEST_SEARCH:
            raise refused(f"Search must be at least {SHORTEST_SEARCH} characters", "search")
        return text
