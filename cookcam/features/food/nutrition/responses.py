"""Response bodies of the nutrition routes: totals with one decimal, breakdowns with two."""

from __future__ import annotations

from uuid import UUID

from attrs import asdict
from msgspec import Struct

from cookcam.features.food.nutrition.calculation import rounded
from cookcam.features.food.nutrition.models import (
    Amounts,
    Part,
    RecipeNutrition,
    RecipeNutritionRow,
    SmartNutrition,
)


class MacroNutrients(Struct):
    calories: float
    carbs_g: float
    protein_g: float
    fat_g: float
    sodium_mg: float

    @classmethod
    def of(cls, amounts: Amounts) -> MacroNutrients:
        a = rounded(amounts)
        return cls(a.calories, a.carbs, a.protein, a.fat, a.sodium)


class MatchedIngredient(Struct, rename="camel"):
    input_name: str
    matched_name: str
    confidence: float
    quantity: float
    unit: str
    grams_used: float
    nutrition: MacroNutrients

    @classmethod
    def of(cls, part: Part) -> MatchedIngredient:
        return cls(
            part.input_name,
            part.matched_name,
            round(part.confidence, 3),
            round(part.quantity, 4),
            part.unit,
            round(part.grams, 2),
            MacroNutrients.of(part.amounts),
        )


class SmartNutritionResult(Struct, rename="camel"):
    """The nutrition of a list of ingredients."""

    total_nutrition: MacroNutrients
    per_serving: MacroNutrients
    ingredient_breakdown: list[MatchedIngredient]
    unmatched_ingredients: list[str]

    @classmethod
    def of(cls, smart: SmartNutrition) -> SmartNutritionResult:
        return cls(
            MacroNutrients.of(smart.total),
            MacroNutrients.of(smart.per_serving),
            [MatchedIngredient.of(part) for part in smart.parts],
            list(smart.unmatched),
        )


class MatchQuality(Struct, rename="camel"):
    """Rates in percent; the confidence is the mean of the matched ingredients."""

    total_ingredients: int
    matched_ingredients: int
    match_rate: int
    average_confidence: int


class SmartNutritionData(Struct):
    nutrition: SmartNutritionResult
    quality: MatchQuality


class SmartNutritionResponse(Struct):
    success: bool
    data: SmartNutritionData

    @classmethod
    def of(cls, smart: SmartNutrition) -> SmartNutritionResponse:
        quality = MatchQuality(
            smart.item_count, len(smart.parts), smart.match_rate, smart.average_confidence
        )
        return cls(True, SmartNutritionData(SmartNutritionResult.of(smart), quality))


class NutrientTotals(Struct):
    calories: float
    protein_g: float
    carbs_g: float
    fat_g: float
    fiber_g: float
    sodium_mg: float

    @classmethod
    def of(cls, amounts: Amounts) -> NutrientTotals:
        a = rounded(amounts)
        return cls(a.calories, a.protein, a.carbs, a.fat, a.fiber, a.sodium)


class IngredientNutrition(Struct):
    name: str
    quantity: float
    unit: str
    grams: float
    calories: float
    protein: float
    carbs: float
    fat: float
    fiber: float
    sodium: float

    @classmethod
    def of(cls, part: Part) -> IngredientNutrition:
        return cls(
            name=part.input_name,
            quantity=round(part.quantity, 4),
            unit=part.unit,
            grams=round(part.grams, 2),
            **{name: round(amount, 2) for name, amount in asdict(part.amounts).items()},
        )


class WholeRecipeNutrition(Struct):
    totals: NutrientTotals
    breakdown: list[IngredientNutrition]


class ServingNutrition(Struct, kw_only=True):
    """Amounts of one serving under the names that the app's card reads."""

    calories: float
    protein: float
    carbs: float
    fat: float
    fiber: float
    sodium: float


class RecipeNutritionData(ServingNutrition, kw_only=True):
    recipe_id: UUID
    recipe_name: str
    servings: int
    nutrition: WholeRecipeNutrition
    per_serving: NutrientTotals


class RecipeNutritionResponse(ServingNutrition, kw_only=True):
    """The amounts of one serving at the root for the app, and everything under `data`."""

    success: bool
    data: RecipeNutritionData

    @classmethod
    def of(cls, nutrition: RecipeNutrition) -> RecipeNutritionResponse:
        serving = asdict(rounded(nutrition.per_serving))
        data = RecipeNutritionData(
            recipe_id=nutrition.recipe_id,
            recipe_name=nutrition.title,
            servings=nutrition.servings,
            nutrition=WholeRecipeNutrition(
                NutrientTotals.of(nutrition.total),
                [IngredientNutrition.of(part) for part in nutrition.parts],
            ),
            per_serving=NutrientTotals.of(nutrition.per_serving),
            **serving,
        )
        return cls(success=True, data=data, **serving)


class SavedNutritionResponse(Struct):
    success: bool
    data: RecipeNutritionRow
