"""Variations of a recipe along themes."""

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
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.recipes.generation.checks import ContentCheck
from cookcam.features.recipes.generation.contracts import VARIATION, GeneratedRecipe, as_json
from cookcam.features.recipes.generation.models import Deadlines, VariationsResult
from cookcam.features.recipes.generation.prompts import THEMES
from cookcam.features.recipes.generation.recipe_model import NoProgress, RecipeModel
from cookcam.features.recipes.generation.usage import GenerationUsage
from cookcam.identity import Identity


@frozen
class VariationService:
    database: Database
    model: RecipeModel
    recipes: Recipes
    usage: GenerationUsage
    deadlines: Deadlines

    async def vary(self, caller: Identity, recipe_id: UUID, count: int) -> VariationsResult:
        """Generate `count` variations of the caller's recipe concurrently; not stored, no XP.

        Failed variations are left out. Raises NotFound, LimitReached (403), and InternalError when
        all failed.
        """
        recipe = await self.recipes.require_own(caller, recipe_id)
        original = await self.recipes.get_json(caller, recipe_id)
        await self.usage.require_quota(caller)
        generated: dict[int, GeneratedRecipe] = {}

        async def generate(number: int) -> None:
            try:
                generated[number] = await self._variation(recipe, THEMES[number])
            except AppError as error:
                structlog.get_logger(__name__).warning(
                    "variation failed", theme=THEMES[number], code=error.code
                )

        async with trio.open_nursery() as nursery:
            for number in range(count):
                nursery.start_soon(generate, number)
        if not generated:
            raise InternalError()
        async with self.database.transaction_as(caller) as tx:
            await self.usage.consume(tx, caller)
        return VariationsResult(
            original, [as_json(generated[number]) for number in sorted(generated)]
        )

    async def _variation(self, recipe: Recipe, theme: str) -> GeneratedRecipe:
        data: dict[str, Any] = {
            "theme": theme,
            "title": recipe.title,
            "cuisine": recipe.cuisine,
            "servings": recipe.servings,
            "tags": recipe.tags,
            "ingredients": [_line(item) for item in items_of(recipe.ingredients)],
        }
        return await self.model.generate(
            VARIATION,
            data,
            NoProgress(),
            seconds=self.deadlines.model_seconds,
            check=ContentCheck().check_recipe,
        )


def _line(item: Item) -> str:
    if item.name in item.quantity:  # the ingredient was one free text
        return item.quantity
    return " ".join(part for part in (item.quantity, item.unit, item.name) if part)
