"""Three recipe suggestions, and the full recipe of one of them."""

from __future__ import annotations

from uuid import UUID

import structlog
from attrs import frozen

from cookcam.database import Database
from cookcam.errors import AppError, NotFound
from cookcam.features.billing.errors import LimitReached
from cookcam.features.food.nutrition.models import Item
from cookcam.features.food.nutrition.service import SmartNutritionService
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.checks import ContentCheck
from cookcam.features.recipes.generation.contracts import (
    FULL_RECIPE,
    SUGGESTIONS,
    FullRecipe,
    Suggestions,
    as_json,
)
from cookcam.features.recipes.generation.models import (
    Deadlines,
    FullRecipeInput,
    FullRecipeResult,
    SmartNutritionRecipeResult,
    SuggestionPreferences,
    SuggestionsResult,
)
from cookcam.features.recipes.generation.prompts import STAPLES
from cookcam.features.recipes.generation.recipe_model import ProgressListener, RecipeModel
from cookcam.features.recipes.generation.rows import (
    full_recipe_row,
    model_estimate,
    smart_nutrition_row,
)
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.usage import GenerationUsage, storage_errors_as
from cookcam.identity import Identity


@frozen
class SuggestionService:
    database: Database
    store: SessionStore
    model: RecipeModel
    recipes: Recipes
    smart: SmartNutritionService
    usage: GenerationUsage
    deadlines: Deadlines

    async def suggest(
        self, caller: Identity, preferences: SuggestionPreferences, progress: ProgressListener
    ) -> SuggestionsResult:
        """Generate three suggestions. If they cannot be stored, they are returned without a
        session.

        Raises LimitReached (403) and what the model's client raises.
        """
        await self.usage.require_quota(caller)
        check = ContentCheck()
        generated = await self.model.generate(
            SUGGESTIONS,
            preferences.json(),
            progress,
            seconds=self.deadlines.model_seconds,
            check=check.check_suggestions,
            check_item=check.check_suggestion,
        )
        progress.stage("storing")
        try:
            return await self._store_suggestions(caller, preferences, generated)
        except LimitReached:
            raise
        except AppError as error:
            structlog.get_logger(__name__).warning("suggestions not stored", code=error.code)
            return SuggestionsResult(None, as_json(generated.recipes), 0)

    async def full_recipe(
        self, caller: Identity, title: str, source: FullRecipeInput, progress: ProgressListener
    ) -> FullRecipeResult:
        """Generate and store the recipe of a title.

        Raises LimitReached (403), InternalError when it cannot be stored, and what the model's
        client raises.
        """
        await self.usage.require_quota(caller)
        recipe = await self._generate(title, source, progress)
        progress.stage("storing")
        with storage_errors_as("Failed to store recipe"):
            async with self.database.transaction_as(caller) as tx:
                await self.usage.consume(tx, caller)
                rows = await self.recipes.add_generated(
                    tx, caller, [full_recipe_row(recipe, source)]
                )
                recipe_id = str(rows[0].id)
                award = await self.usage.xp.award(
                    tx,
                    caller.user_id,
                    "full_recipe_generated",
                    subject=recipe_id,
                    metadata={
                        "recipe_id": recipe_id,
                        "session_id": source.session_id,
                        "selected_title": title,
                    },
                )
        stored = await self.recipes.get_json(caller, rows[0].id)
        return FullRecipeResult(rows[0].id, recipe, stored, award.xp_gained)

    async def smart_nutrition_recipe(
        self, caller: Identity, title: str, source: FullRecipeInput, progress: ProgressListener
    ) -> SmartNutritionRecipeResult:
        """Like `full_recipe`, with nutrition calculated from the catalogue; awards no XP."""
        if not source.quota_consumed:
            await self.usage.require_quota(caller)
        recipe = await self._generate(title, source, progress)
        progress.stage("storing")
        items = [Item(item.item, item.quantity) for item in recipe.ingredients]
        smart = await self.smart.calculate(items, recipe.servings)
        with storage_errors_as("Failed to store recipe"):
            async with self.database.transaction_as(caller) as tx:
                if not source.quota_consumed:
                    await self.usage.consume(tx, caller)
                rows = await self.recipes.add_generated(
                    tx, caller, [smart_nutrition_row(recipe, source, smart)]
                )
        stored = await self.recipes.get_json(caller, rows[0].id)
        return SmartNutritionRecipeResult(stored, smart, model_estimate(recipe))

    async def suggestion_session(self, caller: Identity, session_id: str) -> FullRecipeInput:
        """The input of a suggestion session. Raises NotFound if it is not the caller's."""
        try:
            parsed_id = UUID(session_id)
        except ValueError:
            parsed_id = None
        session = parsed_id and await self.store.suggestion_session(caller, parsed_id)
        if session is None:
            raise NotFound("Recipe session not found", error="Recipe session not found")
        data = session.input_data
        return FullRecipeInput(
            str(session.id),
            data,
            ingredients=data["detectedIngredients"],
            cuisines=data["cuisinePreferences"],
        )

    async def any_session(self, caller: Identity, session_id: str) -> FullRecipeInput:
        """The input of a preview or suggestion session. Raises NotFound as `suggestion_session`."""
        session = await self.store.session(caller, session_id)
        if session is None:
            return await self.suggestion_session(caller, session_id)
        preferences = session.user_preferences
        ingredients = session.original_ingredients
        return FullRecipeInput(
            session_id,
            {**preferences, "detectedIngredients": ingredients, "assumedStaples": list(STAPLES)},
            ingredients,
            cuisines=preferences.get("cuisinePreferences", []),
            disliked=tuple(preferences.get("dislikedIngredients", ())),
            quota_consumed=True,
        )

    async def _generate(
        self, title: str, source: FullRecipeInput, progress: ProgressListener
    ) -> FullRecipe:
        check = ContentCheck(source.disliked)
        recipe = await self.model.generate(
            FULL_RECIPE,
            {**source.data, "selectedTitle": title},
            progress,
            seconds=self.deadlines.model_seconds,
            check=check.check_full_recipe,
            check_item=check.check_step,
        )
        progress.item("recipe", as_json(recipe))
        return recipe

    async def _store_suggestions(
        self, caller: Identity, preferences: SuggestionPreferences, generated: Suggestions
    ) -> SuggestionsResult:
        suggestions = as_json(generated.recipes)
        async with self.database.transaction_as(caller) as tx:
            await self.usage.consume(tx, caller)
            session_id = await self.store.add_suggestions(
                tx, caller, preferences.json(), suggestions
            )
            award = await self.usage.xp.award(
                tx,
                caller.user_id,
                "recipe_suggestions_generated",
                subject=str(session_id),
                metadata={
                    "session_id": str(session_id),
                    "ingredients_count": len(preferences.ingredients),
                    "suggestions_count": len(suggestions),
                },
            )
        return SuggestionsResult(session_id, suggestions, award.xp_gained)
