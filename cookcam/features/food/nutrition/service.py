"""The rules of nutrition: for a list of ingredients, and for a recipe."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID

import attrs
import msgspec
import orjson
from attrs import frozen

from cookcam.cache import DAY, WEEK, Cache
from cookcam.errors import ForeignKeyError
from cookcam.features.food.ingredients.service import MATCHES, Ingredients
from cookcam.features.food.nutrition.calculation import matched_part, plain_grams
from cookcam.features.food.nutrition.matching import best_match, normal_name, phrases_of
from cookcam.features.food.nutrition.models import (
    Amounts,
    Item,
    Match,
    Part,
    RecipeNutrition,
    RecipeNutritionRow,
    SmartNutrition,
)
from cookcam.features.food.nutrition.quantities import parse_quantity, parse_with_rest
from cookcam.features.food.nutrition.store import NutritionStore
from cookcam.features.recipes.catalogue.models import Recipe
from cookcam.features.recipes.catalogue.service import Recipes, recipe_not_found
from cookcam.identity import Identity

MAX_ITEMS = 100
RECIPES = "nutrition:recipe"


@frozen
class SmartNutritionService:
    """Calculates the nutrition of free-text ingredients from the catalogue.

    One statement looks up all names of a list; matches are cached for a day.
    """

    ingredients: Ingredients
    cache: Cache

    async def calculate(self, items: Sequence[Item], servings: float) -> SmartNutrition:
        """The nutrition of at most MAX_ITEMS items for `servings`, which is above 0.

        Items without a number in the quantity, or without a match in the catalogue, are unmatched.
        """
        quantities = [parse_quantity(item.quantity, item.unit) for item in items]
        names = [
            normal_name(item.name)
            for item, quantity in zip(items, quantities, strict=True)
            if quantity is not None
        ]
        matches = await self._matches(list(dict.fromkeys(name for name in names if name)))
        parts: list[Part] = []
        unmatched: list[str] = []
        for item, quantity in zip(items, quantities, strict=True):
            match = matches.get(normal_name(item.name))
            if quantity is None or match is None:
                unmatched.append(item.name)
            else:
                parts.append(matched_part(item.name, quantity, match))
        return SmartNutrition(servings, parts, unmatched)

    async def _matches(self, names: Sequence[str]) -> dict[str, Match | None]:
        """The match of each name; names that are not cached are looked up together."""
        missing: list[str] = []

        async def note_missing(name: str) -> Any:
            missing.append(name)
            raise _NotCached

        cached: dict[str, Match | None] = {}
        for name in names:
            try:
                match = await self.cache.get_or(
                    MATCHES, _digest(name), DAY, lambda name=name: note_missing(name)
                )
            except _NotCached:
                if name not in missing:  # a concurrent request noted it, and failed for both
                    missing.append(name)
            else:
                cached[name] = msgspec.convert(match, Match | None)
        loaded = await self._look_up(missing)
        for name, match in loaded.items():

            async def produce(match: Match | None = match) -> Any:
                return None if match is None else attrs.asdict(match)

            await self.cache.get_or(MATCHES, _digest(name), DAY, produce)
        return cached | loaded

    async def _look_up(self, names: Sequence[str]) -> dict[str, Match | None]:
        phrases = [(name, phrase) for name in names for phrase in phrases_of(name)]
        candidates = await self.ingredients.candidates([phrase for _, phrase in phrases])
        by_name: dict[str, dict[int, Any]] = {name: {} for name in names}
        for candidate in candidates:
            by_name[phrases[candidate.phrase][0]][candidate.id] = candidate
        return {name: best_match(name, rows.values()) for name, rows in by_name.items()}


@frozen
class RecipesNutrition:
    """The nutrition of a recipe.

    Calculated from its linked ingredients, else from its written ingredients; without either, the
    nutrition that the author or the model stored.
    """

    recipes: Recipes
    smart: SmartNutritionService
    store: NutritionStore
    cache: Cache

    async def get(self, reader: Identity | None, recipe_id: UUID, servings: int) -> RecipeNutrition:
        """Raises NotFound when there is no such recipe that the reader may see."""
        recipe = await self.recipes.require(reader, recipe_id)
        return await self._calculate(recipe, servings)

    async def save(self, writer: Identity, recipe_id: UUID, servings: int) -> RecipeNutritionRow:
        """Store the nutrition of the writer's recipe. Raises NotFound for any other."""
        recipe = await self.recipes.require(writer, recipe_id)
        if recipe.created_by != writer.user_id:
            raise recipe_not_found()
        try:
            return await self.store.save(await self._calculate(recipe, servings))
        except ForeignKeyError:
            raise recipe_not_found() from None

    async def _calculate(self, recipe: Recipe, servings: int) -> RecipeNutrition:
        if recipe.recipe_ingredients:
            parts = [_linked(row) for row in recipe.recipe_ingredients]
            return _nutrition(recipe, servings, [part for part in parts if part is not None])
        items = items_of(recipe.ingredients)
        if items:
            parts = await self._written_parts(recipe, items)
            if parts:
                return _nutrition(recipe, servings, parts)
        stored = _stored_amounts(recipe)
        # Stored nutrition is per serving of the recipe.
        total = stored.times(recipe.servings or 1)
        return RecipeNutrition(recipe.id, recipe.title, servings, total, [])

    async def _written_parts(self, recipe: Recipe, items: list[Item]) -> list[Part]:
        """Calculate the parts. The cache key includes a hash of the ingredients."""

        async def calculate() -> Any:
            smart = await self.smart.calculate(items, 1)
            return [attrs.asdict(part) for part in smart.parts]

        key = f"{recipe.id}:{_digest(orjson.dumps(recipe.ingredients).decode())}"
        return msgspec.convert(await self.cache.get_or(RECIPES, key, WEEK, calculate), list[Part])


class _NotCached(Exception):
    """The cache has no match for a name."""


def items_of(ingredients: Sequence[Any]) -> list[Item]:
    """The ingredients of a recipe, from any of the stored formats."""
    items: list[Item] = []
    for written in ingredients[:MAX_ITEMS]:
        if isinstance(written, str):
            quantity, rest = parse_with_rest(written)
            items.append(Item(rest or written, "" if quantity is None else written))
        elif isinstance(written, dict):
            fields = cast("dict[str, Any]", written)
            name = _text(fields, "name", "item", "ingredient")
            if name:
                quantity = _text(fields, "amount", "quantity")
                items.append(Item(name, quantity, _text(fields, "unit")))
    return items


def _text(fields: dict[str, Any], *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value.strip():
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return f"{value:f}"
    return ""


def _linked(row: dict[str, Any]) -> Part | None:
    """A linked ingredient; None without a link or a quantity."""
    ingredient: Any = row.get("ingredient")
    quantity: Any = row.get("quantity")
    if not isinstance(ingredient, dict) or not isinstance(quantity, int | float):
        return None
    columns = cast("dict[str, Any]", ingredient)
    unit = str(row.get("unit") or "")
    grams = plain_grams(max(0.0, float(quantity)), unit)

    def per_100g(column: str) -> float:
        return max(0.0, float(columns.get(column) or 0.0))

    amounts = Amounts(
        per_100g("calories_per_100g"),
        per_100g("protein_g_per_100g"),
        per_100g("carbs_g_per_100g"),
        per_100g("fat_g_per_100g"),
        per_100g("fiber_g_per_100g"),
        per_100g("sodium_mg_per_100g"),
    )
    name = str(columns.get("name") or "")
    return Part(name, name, 1.0, float(quantity), unit, grams, amounts.times(grams / 100))


def _nutrition(recipe: Recipe, servings: int, parts: list[Part]) -> RecipeNutrition:
    total = sum((part.amounts for part in parts), Amounts())
    return RecipeNutrition(recipe.id, recipe.title, servings, total, parts)


def _stored_amounts(recipe: Recipe) -> Amounts:
    """The stored nutrition in any of its formats: numbers, or texts such as "12g"."""
    stored = recipe.nutrition or {}

    def first(*names: str) -> float:
        for name in names:
            value: object = stored.get(name)
            if isinstance(value, bool):
                continue
            quantity = parse_quantity(f"{value:f}" if isinstance(value, float) else str(value))
            if value is not None and quantity is not None:
                return quantity.amount
        return 0.0

    return Amounts(
        first("calories", "db_calories", "ai_calories"),
        first("protein", "protein_g", "db_protein", "ai_protein"),
        first("carbs", "carbohydrates", "carbs_g", "db_carbs", "ai_carbs"),
        first("fat", "fat_g", "db_fat", "ai_fat"),
        first("fiber", "fiber_g"),
        first("sodium", "sodium_mg", "db_sodium"),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
