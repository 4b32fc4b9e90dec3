"""Teasers, and the full recipe of one of them: 9.2, 9.3 and 9.7 of `spec/http-api-core.md`."""

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
from cookcam.features.recipes.generation.checks import Taboo
from cookcam.features.recipes.generation.chef import Chef
from cookcam.features.recipes.generation.contracts import C1, C2, FullRecipe, Suggestions, wire
from cookcam.features.recipes.generation.ledger import Ledger
from cookcam.features.recipes.generation.models import (
    ASSUMED,
    Brief,
    Completed,
    Deadlines,
    Ideas,
    Suggested,
    Weighed,
)
from cookcam.features.recipes.generation.progress import Watch
from cookcam.features.recipes.generation.rows import estimate_of, full_row, weighed_row
from cookcam.features.recipes.generation.store import SessionStore
from cookcam.features.recipes.generation.storing import storing
from cookcam.identity import Identity


@frozen
class IdeasService:
    database: Database
    store: SessionStore
    chef: Chef
    recipes: Recipes
    smart: SmartNutritionService
    ledger: Ledger
    deadlines: Deadlines

    async def suggest(self, caller: Identity, ideas: Ideas, watch: Watch) -> Suggested:
        """Three teasers. Those that cannot be stored are given nevertheless, without a session.

        Raises LimitReached (403) and what the model's client raises.
        """
        await self.ledger.require_room(caller)
        answer = await self.chef.ask(
            C1,
            ideas.json(),
            watch,
            seconds=self.deadlines.model,
            check=Taboo().check_suggestions,
            check_item=Taboo().check_suggestion,
        )
        watch.stage("storing")
        try:
            return await self._stored(caller, ideas, answer)
        except LimitReached:
            raise
        except AppError as error:
            structlog.get_logger(__name__).warning("suggestions not stored", code=error.code)
            return Suggested(None, wire(answer.recipes), 0)

    async def full(self, caller: Identity, title: str, brief: Brief, watch: Watch) -> Completed:
        """The recipe of a title, stored. Raises LimitReached (403), InternalError when it cannot
        be stored, and what the model's client raises."""
        await self.ledger.require_room(caller)
        recipe = await self._written(title, brief, watch)
        watch.stage("storing")
        with storing("Failed to store recipe"):
            async with self.database.transaction_as(caller) as tx:
                await self.ledger.count(tx, caller)
                rows = await self.recipes.add_generated(tx, caller, [full_row(recipe, brief)])
                recipe_id = str(rows[0].id)
                award = await self.ledger.award(
                    tx,
                    caller,
                    "full_recipe_generated",
                    recipe_id,
                    {
                        "recipe_id": recipe_id,
                        "session_id": brief.session_id,
                        "selected_title": title,
                    },
                )
        self.ledger.announce(award)
        (shown,) = await self.recipes.shown(caller, rows)
        return Completed(recipe, shown, award.xp_gained)

    async def weighed(self, caller: Identity, title: str, brief: Brief, watch: Watch) -> Weighed:
        """The same with the nutrition of the catalogue beside the model's; earns nothing."""
        if not brief.counted:
            await self.ledger.require_room(caller)
        recipe = await self._written(title, brief, watch)
        watch.stage("storing")
        items = [Item(item.item, item.quantity) for item in recipe.ingredients]
        smart = await self.smart.calculate(items, recipe.servings)
        with storing("Failed to store recipe"):
            async with self.database.transaction_as(caller) as tx:
                if not brief.counted:
                    await self.ledger.count(tx, caller)
                rows = await self.recipes.add_generated(
                    tx, caller, [weighed_row(recipe, brief, smart)]
                )
        (shown,) = await self.recipes.shown(caller, rows)
        return Weighed(shown, smart, estimate_of(recipe))

    async def brief_of_ideas(self, caller: Identity, session_id: str) -> Brief:
        """What a session of 9.2 was about. Raises NotFound, also for somebody else's."""
        known = _uuid(session_id)
        found = None if known is None else await self.store.ideas(caller, known)
        if found is None:
            raise session_not_found()
        data = found.input_data
        return Brief(
            str(found.id),
            data,
            ingredients=data["detectedIngredients"],
            cuisines=data["cuisinePreferences"],
        )

    async def brief_of_any(self, caller: Identity, session_id: str) -> Brief:
        """What a session of 9.2 or 9.5 was about. Raises NotFound, also for somebody else's."""
        cooking = await self.store.session(caller, session_id)
        if cooking is None:
            return await self.brief_of_ideas(caller, session_id)
        wishes = cooking.user_preferences
        ingredients = cooking.original_ingredients
        return Brief(
            session_id,
            {**wishes, "detectedIngredients": ingredients, "assumedStaples": ASSUMED},
            ingredients,
            cuisines=wishes.get("cuisinePreferences", []),
            disliked=tuple(wishes.get("dislikedIngredients", ())),
            counted=True,
        )

    async def _written(self, title: str, brief: Brief, watch: Watch) -> FullRecipe:
        taboo = Taboo(brief.disliked)
        recipe = await self.chef.ask(
            C2,
            {**brief.data, "selectedTitle": title},
            watch,
            seconds=self.deadlines.model,
            check=taboo.check_full,
            check_item=taboo.check_step,
        )
        watch.item("recipe", wire(recipe))
        return recipe

    async def _stored(self, caller: Identity, ideas: Ideas, answer: Suggestions) -> Suggested:
        suggestions = wire(answer.recipes)
        async with self.database.transaction_as(caller) as tx:
            await self.ledger.count(tx, caller)
            session_id = await self.store.add_ideas(tx, caller, ideas.json(), suggestions)
            award = await self.ledger.award(
                tx,
                caller,
                "recipe_suggestions_generated",
                str(session_id),
                {
                    "session_id": str(session_id),
                    "ingredients_count": len(ideas.ingredients),
                    "suggestions_count": len(suggestions),
                },
            )
        self.ledger.announce(award)
        return Suggested(session_id, suggestions, award.xp_gained)


def session_not_found() -> NotFound:
    return NotFound("Recipe session not found", error="Recipe session not found")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
