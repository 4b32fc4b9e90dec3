"""Routes of nutrition."""

from __future__ import annotations

from uuid import UUID

from cookcam.features.food.nutrition.requests import (
    SaveNutritionRequest,
    ServingsFilter,
    SmartNutritionRequest,
)
from cookcam.features.food.nutrition.responses import (
    RecipeNutritionResponse,
    SavedNutritionResponse,
    SmartNutritionResponse,
)
from cookcam.features.food.nutrition.service import RecipesNutrition, SmartNutritionService
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.http import (
    Routes,
    errors_as,
    parse_uuid,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.http.quotas import count_costly
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in


def routes(smart: SmartNutritionService, recipes: RecipesNutrition) -> Routes:
    bp = Routes("nutrition", __name__, legacy=True)

    @bp.post("/recipes/calculate-smart-nutrition")
    @errors_as(flagged=True, unexpected="Failed to calculate smart nutrition")
    @optional_caller
    @validate_request(SmartNutritionRequest)
    @validate_response(SmartNutritionResponse)
    async def calculate(
        caller: Identity | None, data: SmartNutritionRequest
    ) -> SmartNutritionResponse:
        """Calculate the nutrition of a list of free-text ingredients from the catalogue."""
        items = data.items()
        await count_costly("nutrition", caller and caller.user_id)
        return SmartNutritionResponse.of(await smart.calculate(items, data.servings))

    @bp.get("/recipes/<recipe_id>/nutrition")
    @errors_as(flagged=True, unexpected="Failed to calculate recipe nutrition")
    @optional_caller
    @validate_querystring(ServingsFilter)
    @validate_response(RecipeNutritionResponse)
    async def recipe_nutrition(
        caller: Identity | None, recipe_id: str, query_args: ServingsFilter
    ) -> RecipeNutritionResponse:
        """The nutrition of a recipe: in total, and per serving if it makes `servings` servings."""
        return RecipeNutritionResponse.of(
            await recipes.get(caller, _id(recipe_id), query_args.servings)
        )

    @bp.post("/recipes/<recipe_id>/save-nutrition")
    @errors_as(flagged=True, unexpected="Failed to save recipe nutrition")
    @signed_in
    @validate_request(SaveNutritionRequest)
    @validate_response(SavedNutritionResponse)
    async def save_nutrition(
        caller: Identity, recipe_id: str, data: SaveNutritionRequest
    ) -> SavedNutritionResponse:
        """Store the nutrition of the caller's recipe."""
        return SavedNutritionResponse(
            True, await recipes.save(caller, _id(recipe_id), data.servings)
        )

    return bp


def _id(text: str) -> UUID:
    return parse_uuid(text, recipe_not_found())
