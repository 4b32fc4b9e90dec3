"""What the generation routes answer with. Recipes of the model are as in `spec/http-api-core.md`
§9.1; rows have both spellings, as everywhere."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import asdict
from msgspec import UNSET, Struct, UnsetType

from cookcam.features.generation.contracts import wire
from cookcam.features.generation.models import (
    Completed,
    Composed,
    Detailed,
    Previewed,
    StoredPreview,
    Suggested,
    Varied,
    Weighed,
)
from cookcam.features.generation.rows import detailed_of
from cookcam.features.nutrition.answers import Macros5, SmartNutritionAnswer
from cookcam.features.recipes.answers import RecipeAnswer

Json = dict[str, Any]


class SuggestionsAnswer(Struct):
    suggestions: list[Json]
    xp_awarded: int
    message: str
    session_id: UUID | UnsetType = UNSET

    @classmethod
    def of(cls, suggested: Suggested) -> SuggestionsAnswer:
        return cls(
            suggested.suggestions,
            suggested.xp_awarded,
            "Here are three ideas for you",
            UNSET if suggested.session_id is None else suggested.session_id,
        )


class FullAnswer(Struct):
    recipe_id: UUID
    full_recipe: Json
    stored_recipe: RecipeAnswer
    xp_awarded: int
    message: str

    @classmethod
    def of(cls, completed: Completed) -> FullAnswer:
        return cls(
            completed.stored.recipe.id,
            wire(completed.recipe),
            RecipeAnswer.of(completed.stored),
            completed.xp_awarded,
            "Your recipe is ready",
        )


class Comparison(Struct):
    ai_estimate: Json
    database_calculated: Macros5


class WeighedRecipe(
    RecipeAnswer,
    kw_only=True,
    rename={
        "smart_nutrition": "smartNutrition",
        "nutrition_comparison": "nutritionComparison",
    },
):
    smart_nutrition: SmartNutritionAnswer
    nutrition_comparison: Comparison


class WeighedAnswer(Struct):
    success: bool
    recipe: WeighedRecipe

    @classmethod
    def of(cls, weighed: Weighed) -> WeighedAnswer:
        row, estimate = RecipeAnswer.of(weighed.stored), weighed.estimate
        fields = {name: getattr(row, name) for name in row.__struct_fields__}
        return cls(
            True,
            WeighedRecipe(
                **fields,
                smart_nutrition=SmartNutritionAnswer.of(weighed.smart),
                nutrition_comparison=Comparison(
                    {
                        "calories": estimate.calories,
                        "protein": estimate.protein,
                        "carbs": estimate.carbs,
                        "fat": estimate.fat,
                    },
                    Macros5.of(weighed.smart.per_serving),
                ),
            ),
        )


class MenuData(Struct, rename="camel"):
    recipes: list[Json]
    ingredient_analysis: Json
    stored_recipes: list[RecipeAnswer]


class MenuAnswer(Struct):
    success: bool
    message: str
    data: MenuData

    @classmethod
    def of(cls, composed: Composed) -> MenuAnswer:
        stored = [RecipeAnswer.of(shown) for shown in composed.stored]
        data = MenuData(composed.recipes, composed.analysis, stored)
        return cls(True, f"{len(stored)} recipes for you", data)


class PreviewRow(Struct):
    """A row of `recipe_previews`."""

    id: UUID
    preview_id: str
    session_id: str
    user_id: UUID
    title: str
    description: str | None
    estimated_time: int
    difficulty: str
    cuisine_type: str
    main_ingredients: list[str]
    appeal_factors: list[str]
    selected_for_details: bool
    created_at: datetime


class PreviewAnswer(Struct, rename="camel"):
    id: str
    title: str
    description: str
    estimated_time: int
    difficulty: str
    cuisine_type: str
    main_ingredients: list[str]
    appeal_factors: list[str]

    @classmethod
    def of(cls, row: StoredPreview) -> PreviewAnswer:
        return cls(
            row.preview_id,
            row.title,
            row.description or "",
            row.estimated_time,
            row.difficulty,
            row.cuisine_type,
            row.main_ingredients,
            row.appeal_factors,
        )


class PreviewsData(Struct, rename="camel"):
    session_id: str
    previews: list[PreviewAnswer]
    stored_previews: list[PreviewRow]


class PreviewsAnswer(Struct):
    success: bool
    message: str
    data: PreviewsData
    xp_awarded: int

    @classmethod
    def of(cls, previewed: Previewed) -> PreviewsAnswer:
        rows = previewed.previews
        data = PreviewsData(
            previewed.session_id,
            [PreviewAnswer.of(row) for row in rows],
            [PreviewRow(**asdict(row)) for row in rows],
        )
        return cls(True, f"{len(rows)} recipe previews for you", data, previewed.xp_awarded)


class DetailedData(Struct):
    recipe: Json
    stored_recipe: RecipeAnswer
    session_completed: bool


class DetailedAnswer(Struct):
    success: bool
    message: str
    data: DetailedData
    xp_awarded: int

    @classmethod
    def of(cls, detailed: Detailed) -> DetailedAnswer:
        stored = detailed.stored
        data = DetailedData(detailed_of(stored.recipe), RecipeAnswer.of(stored), True)
        return cls(True, "Your recipe is ready", data, detailed.xp_awarded)


class VariationsData(Struct):
    original: RecipeAnswer
    variations: list[Json]


class VariationsAnswer(Struct):
    success: bool
    data: VariationsData
    message: str

    @classmethod
    def of(cls, varied: Varied) -> VariationsAnswer:
        data = VariationsData(RecipeAnswer.of(varied.original), varied.variations)
        return cls(True, data, f"{len(varied.variations)} variations for you")
