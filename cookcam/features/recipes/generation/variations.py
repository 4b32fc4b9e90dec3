"""One recipe reworked in several ways: 9.8 of `spec/http-api-core.md`."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import structlog
import trio
from attrs import frozen

from cookcam.database import Database
from cookcam.errors import AppError, InternalError
from cookcam.features.food.nutrition.models import Item
from cookcam.features.food.nutrition.service import items_of
from cookcam.features.recipes.catalogue.models import Recipe
from cookcam.features.recipes.catalogue.service import Recipes, recipe_not_found
from cookcam.features.recipes.generation.checks import Taboo
from cookcam.features.recipes.generation.chef import Chef
from cookcam.features.recipes.generation.contracts import C6, GeneratedRecipe, wire
from cookcam.features.recipes.generation.ledger import Ledger
from cookcam.features.recipes.generation.models import Deadlines, Varied
from cookcam.features.recipes.generation.progress import Unwatched
from cookcam.features.recipes.generation.prompts import THEMES
from cookcam.identity import Identity


@frozen
class VariationService:
    database: Database
    chef: Chef
    recipes: Recipes
    ledger: Ledger
    deadlines: Deadlines

    async def vary(self, caller: Identity, recipe_id: UUID, count: int) -> Varied:
        """`count` variations of one's own recipe, asked for side by side; not stored, no XP.

        What fails is left out. Raises NotFound, LimitReached (403), and InternalError when none
        succeeded.
        """
        original = await self.recipes.get(caller, recipe_id)
        if not original.own:
            raise recipe_not_found()
        await self.ledger.require_room(caller)
        made: dict[int, GeneratedRecipe] = {}

        async def one(number: int) -> None:
            try:
                made[number] = await self._variation(original.recipe, THEMES[number])
            except AppError as error:
                structlog.get_logger(__name__).warning(
                    "variation failed", theme=THEMES[number], code=error.code
                )

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(one, number)
        if not made:
            raise InternalError()
        async with self.database.transaction_as(caller) as tx:
            await self.ledger.count(tx, caller)
        return Varied(original, [wire(made[number]) for number in sorted(made)])

    async def _variation(self, recipe: Recipe, theme: str) -> GeneratedRecipe:
        data: dict[str, Any] = {
            "theme": theme,
            "title": recipe.title,
            "cuisine": recipe.cuisine,
            "servings": recipe.servings,
            "tags": recipe.tags,
            "ingredients": [_line(item) for item in items_of(recipe.ingredients)],
        }
        return await self.chef.ask(
            C6, data, Unwatched(), seconds=self.deadlines.model, check=Taboo().check_dish
        )


def _line(item: Item) -> str:
    if item.name in item.quantity:  # it was written in one line
        return item.quantity
    return " ".join(part for part in (item.quantity, item.unit, item.name) if part)
