"""Routes for rating a recipe and for reading its reviews."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.pages import PageQuery, paged
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.ratings.store import RatingStore
from cookcam.http import (
    DOCUMENTED_AS_REQUIRED,
    EncodedJson,
    Routes,
    errors_as,
    parse_uuid,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in

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


class RatingResponse(Struct):
    message: str


class Reviewer(Struct):
    id: UUID
    name: str | None
    avatar_url: str | None
    level: int


class Review(Struct):
    user: Reviewer
    rating: int
    review: str
    created_at: datetime
    updated_at: datetime


class ReviewListResponse(Struct):
    """A page of reviews, newest first. `next_cursor` is null on the last page."""

    reviews: list[Review]
    next_cursor: str | None


def routes(ratings: RatingStore) -> Routes:
    bp = Routes("ratings", __name__, legacy=True)

    @bp.post("/recipes/<recipe_id>/rate")
    @errors_as(unexpected="Failed to rate recipe")
    @signed_in
    @validate_request(RatingRequest)
    @validate_response(RatingResponse)
    async def rate(caller: Identity, recipe_id: str, data: RatingRequest) -> RatingResponse:
        """Rate a recipe with 1 to 5 stars; a user's latest rating counts."""
        stars = data.stars()
        parsed_id = parse_uuid(recipe_id, recipe_not_found())
        await ratings.rate(caller, parsed_id, stars, data.review)
        return RatingResponse("Recipe rated successfully")

    @bp.get("/recipes/<recipe_id>/reviews")
    @errors_as(unexpected="Failed to fetch reviews")
    @optional_caller
    @paged(ReviewListResponse)
    async def reviews(
        caller: Identity | None, recipe_id: str, limit: int, query_args: PageQuery
    ) -> EncodedJson:
        """The reviews of a recipe, newest first. Ratings without a review are not listed."""
        parsed_id = parse_uuid(recipe_id, recipe_not_found())
        page = await ratings.reviews(caller, parsed_id, query_args.key(), limit)
        return EncodedJson(page)

    return bp
