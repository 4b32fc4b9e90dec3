"""Request parameters of the user routes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field

MIN_SEARCH_LENGTH = 2


class UserFilter(Struct):
    """Query of the user search. An empty `search` means no filter."""

    search: Annotated[
        str,
        Meta(
            max_length=100,
            description="how a name begins, at least 2 characters",
            extra_json_schema={"pattern": r"^(\s*|\s*\S[\s\S]*\S\s*)$"},
        ),
    ] = ""

    def prefix(self) -> str | None:
        """The name prefix to search for; None without a filter. Raises ValidationError."""
        text = self.search.strip()
        if not text:
            return None
        if len(text) < MIN_SEARCH_LENGTH:
            raise rejected_field(
                f"Search must be at least {MIN_SEARCH_LENGTH} characters", "search"
            )
        return text
