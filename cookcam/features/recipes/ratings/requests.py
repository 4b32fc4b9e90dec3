"""Request body of the rating route."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED

MIN_STARS, MAX_STARS = 1, 5
MAX_REVIEW_LENGTH = 1000


class RatingRequest(Struct):
    """A number of stars, and optionally a review."""

    rating: Annotated[
        Any,
        Meta(
            description="whole stars, 1 to 5",
            extra_json_schema={"type": "integer", "minimum": MIN_STARS, "maximum": MAX_STARS},
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    review: Annotated[str, Meta(max_length=MAX_REVIEW_LENGTH)] | None = None

    def stars(self) -> int:
        """The validated number of stars. Every invalid value raises the same ValidationError."""
        stars: object = self.rating
        if isinstance(stars, float) and stars.is_integer():
            stars = int(stars)
        if not isinstance(stars, int) or isinstance(stars, bool):
            raise rejected_field("Rating must be between 1 and 5", "rating")
        if not MIN_STARS <= stars <= MAX_STARS:
            raise rejected_field("Rating must be between 1 and 5", "rating")
        return stars
