"""What the rating route reads."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from cookcam.features.literals import refused
from cookcam.web import WANTED

LOWEST, HIGHEST = 1, 5
LONGEST_REVIEW = 1000


class RatingRequest(Struct):
    """A number of stars, and what there is to say."""

    rating: Annotated[
        Any,
        Meta(
            description="whole stars, 1 to 5",
            extra_json_schema={"type": "integer", "minimum": LOWEST, "maximum": HIGHEST},
        ),
        WANTED,
    ] = None
    review: Annotated[str, Meta(max_length=LONGEST_REVIEW)] | None = None

    def stars(self) -> int:
        """Raises ValidationError, in the same words whatever is wrong."""
        given: object = self.rating
        if isinstance(given, float) and given.is_integer():
            given = int(given)
        if not isinstance(given, int) or isinstance(given, bool) or not LOWEST <= given <= HIGHEST:
            raise refused("Rating must be between 1 and 5", "rating")
        return given
