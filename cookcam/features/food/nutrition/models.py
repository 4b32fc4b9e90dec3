"""Inputs and results of the nutrition calculation."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen


@frozen
class Item:
    """An ingredient as written: `Item("olive oil", "2 tbsp")`."""

    name: str
    quantity: str
    unit: str = ""


@frozen
class Amounts:
    """Nutrients: kcal, grams, and milligrams of sodium. Never negative, never NaN."""

    calories: float = 0.0
    protein: float = 0.0
    carbs: float = 0.0
    fat: float = 0.0
    fiber: float = 0.0
    sodium: float = 0.0

    def __add__(self, other: Amounts) -> Amounts:
        return Amounts(
            self.calories + other.calories,
            self.protein + other.protein,
            self.carbs + other.carbs,
            self.fat + other.fat,
            self.fiber + other.fiber,
            self.sodium + other.sodium,
        )

    def times(self, factor: float) -> Amounts:
        return Amounts(
            self.calories * factor,
            self.protein * factor,
            self.carbs * factor,
            self.fat * factor,
            self.fiber * factor,
            self.sodium * factor,
        )


@frozen
class Match:
    """The catalogue row that matches a name; confidence from 0 to 1."""

    ingredient_id: int
    name: str
    confidence: float
    per_100g: Amounts


@frozen
class Part:
    """One matched ingredient of a list with its weight and nutrients."""

    input_name: str
    matched_name: str
    confidence: float
    quantity: float
    unit: str
    grams: float
    amounts: Amounts


@frozen
class SmartNutrition:
    """The nutrition of a list of ingredients; `unmatched` are the names without a match."""

    servings: float
    parts: Sequence[Part]
    unmatched: Sequence[str]

    @property
    def total(self) -> Amounts:
        return sum((part.amounts for part in self.parts), Amounts())

    @property
    def per_serving(self) -> Amounts:
        return self.total.times(1 / self.servings)

    @property
    def item_count(self) -> int:
        return len(self.parts) + len(self.unmatched)

    @property
    def match_rate(self) -> int:
        """Percent of the ingredients that were matched."""
        return round(100 * len(self.parts) / self.item_count) if self.item_count else 0

    @property
    def average_confidence(self) -> int:
        """The mean confidence of the matched ingredients, in percent."""
        if not self.parts:
            return 0
        return round(100 * sum(part.confidence for part in self.parts) / len(self.parts))


@frozen
class RecipeNutrition:
    """The nutrition of a recipe for a number of servings, without its unmatched ingredients."""

    recipe_id: UUID
    title: str
    servings: int
    total: Amounts
    parts: Sequence[Part]

    @property
    def per_serving(self) -> Amounts:
        return self.total.times(1 / self.servings)


@frozen
class RecipeNutritionRow:
    """A row of `recipe_nutrition`."""

    recipe_id: UUID
    servings: int
    total_calories: float
    total_protein_g: float
    total_carbs_g: float
    total_fat_g: float
    total_fiber_g: float
    total_sodium_mg: float
    calories_per_serving: float
    protein_g_per_serving: float
    carbs_g_per_serving: float
    fat_g_per_serving: float
    fiber_g_per_serving: float
    sodium_mg_per_serving: float
    calculated_at: datetime
