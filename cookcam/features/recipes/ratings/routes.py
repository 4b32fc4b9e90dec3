"""Route for rating a recipe."""

from __future__ import annotations

from msgspec import Struct

from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.ratings.requests import RatingRequest
from cookcam.features.recipes.ratings.service import Ratings
from cookcam.http import Routes, errors_as, parse_uuid, validate_request, validate_response
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class RatingResponse(Struct):
    message: str


def routes(ratings: Ratings) -> Routes:
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

    return bp
