"""Nutrition of recipes and of free lists (`spec/http-api-core.md` §9.10-§9.12)."""

from __future__ import annotations

from uuid import UUID

from cookcam.features.nutrition.answers import (
    RecipeNutritionAnswer,
    SavedAnswer,
    SmartAnswer,
)
from cookcam.features.nutrition.requests import SaveRequest, ServingsFilter, SmartRequest
from cookcam.features.nutrition.service import RecipesNutrition, SmartNutritionService
from cookcam.features.recipes.service import recipe_not_found
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in
from cookcam.web import (
    Routes,
    errors_as,
    parse_uuid,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.web.quotas import spend_costly


def routes(smart: SmartNutritionService, recipes: RecipesNutrition) -> Routes:
    bp = Routes("nutrition", __name__, legacy=True)

    @bp.post("/recipes/calculate-smart-nutrition")
    @errors_as(flagged=True, unexpected="Failed to calculate smart nutrition")
    @optional_caller
    @validate_request(SmartRequest)
    @validate_response(SmartAnswer)
    async def calculate(caller: Identity | None, data: SmartRequest) -> SmartAnswer:
        """Weigh a list of ingredients as people write them, and look each up in the catalogue."""
        items = data.items()
        spend_costly("nutrition", caller and caller.user_id)
        return SmartAnswer.of(await smart.calculate(items, data.servings))

    @bp.get("/recipes/<recipe_id>/nutrition")
    @errors_as(flagged=True, unexpected="Failed to calculate recipe nutrition")
    @optional_caller
    @validate_querystring(ServingsFilter)
    @validate_response(RecipeNutritionAnswer)
    async def recipe_nutrition(
        caller: Identity | None, recipe_id: str, query_args: ServingsFilter
    ) -> RecipeNutritionAnswer:
        """The nutrition of a recipe, in all and for each of `servings` servings."""
        return RecipeNutritionAnswer.of(
            await recipes.of_recipe(caller, _id(recipe_id), query_args.servings)
        )

    @bp.post("/recipes/<recipe_id>/save-nutrition")
    @errors_as(flagged=True, unexpected="Failed to save recipe nutrition")
    @signed_in
    @validate_request(SaveRequest)
    @validate_response(SavedAnswer)
    async def save_nutrition(caller: Identity, recipe_id: str, data: SaveRequest) -> SavedAnswer:
        """Keep the nutrition of one's own recipe."""
        return SavedAnswer.of(await recipes.save(caller, _id(recipe_id), data.servings))

    return bp


def _id(text: str) -> UUID:
    return parse_uuid(text, recipe_not_found())
