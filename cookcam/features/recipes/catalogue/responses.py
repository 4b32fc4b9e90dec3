"""Response bodies of the recipe routes.

Rows contain both spellings that clients read: the column names and the app's aliases.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, NotRequired, TypedDict, cast
from uuid import UUID

import orjson
from msgspec import UNSET, Meta, Struct, UnsetType

from cookcam.features.recipes.catalogue.models import (
    RecipeIngredient,
    RecipeJson,
    RecipeStep,
)
from cookcam.http import EncodedJson


class RecipeCreator(Struct):
    id: UUID
    name: str | None
    avatar_url: str | None
    level: int


Energy = Annotated[float, Meta(description="kcal")]
Grams = Annotated[float, Meta(description="g")]
Milligrams = Annotated[float, Meta(description="mg")]


class StoredNutrition(TypedDict):
    """Nutrition of one serving, as the author or the model gave it. `ai_` marks the model's
    estimate and `db_` the calculation from the ingredient catalogue; an author may add other
    numbers."""

    calories: NotRequired[Energy]
    protein: NotRequired[Grams]
    carbs: NotRequired[Grams]
    carbohydrates: NotRequired[Grams]
    fat: NotRequired[Grams]
    fiber: NotRequired[Grams]
    sugar: NotRequired[Grams]
    sodium: NotRequired[Milligrams]
    ai_calories: NotRequired[Energy]
    ai_protein: NotRequired[Grams]
    ai_carbs: NotRequired[Grams]
    ai_fat: NotRequired[Grams]
    db_calories: NotRequired[Energy]
    db_protein: NotRequired[Grams]
    db_carbs: NotRequired[Grams]
    db_fat: NotRequired[Grams]
    db_sodium: NotRequired[Milligrams]
    ingredient_match_rate: NotRequired[Annotated[float, Meta(description="percent")]]
    unmatched_ingredients: NotRequired[list[str]]


class IngredientAnalysis(TypedDict):
    """The model's analysis of the ingredients. Groups are ingredients that go together."""

    totalScanned: int
    compatibilityGroups: list[list[str]]
    pantryStaplesUsed: list[str]


class RecipeMetadata(TypedDict):
    """The origin of a generated recipe. The keys depend on the route that generated it."""

    session_id: NotRequired[str | None]
    preview_id: NotRequired[str]
    original_ingredients: NotRequired[list[str]]
    social_caption: NotRequired[str]
    finishing_tip: NotRequired[str | None]
    techniques: NotRequired[list[str]]
    pro_tips: NotRequired[list[str]]
    tips: NotRequired[list[str]]
    steps: NotRequired[list[str | RecipeStep]]
    total_time: NotRequired[int]
    tips_count: NotRequired[int]
    detailed_instructions_count: NotRequired[int]
    cooking_method: NotRequired[str]
    ingredients_used: NotRequired[list[str]]
    ingredients_skipped: NotRequired[list[str]]
    skip_reason: NotRequired[str | None]
    recipe_variation: NotRequired[int]
    total_variations: NotRequired[int]
    ingredient_analysis: NotRequired[IngredientAnalysis]
    nutrition_method: NotRequired[str]
    chef_camillo_version: NotRequired[str]
    enhanced_generation_version: NotRequired[str]


class LinkedFood(TypedDict):
    """A food of the ingredient catalogue; amounts are per 100 g, null is unknown."""

    id: int
    name: str
    category: str | None
    calories_per_100g: float | None
    protein_g_per_100g: float | None
    carbs_g_per_100g: float | None
    fat_g_per_100g: float | None
    fiber_g_per_100g: float | None
    sodium_mg_per_100g: float | None


class LinkedIngredient(TypedDict):
    """A row of `recipe_ingredients` with its food."""

    id: int
    quantity: float | None
    unit: str | None
    preparation: str | None
    ingredient: LinkedFood | None


class RecipeRow(Struct, kw_only=True):
    """A recipe under the column names and the app's aliases.

    `is_favorited` is absent for guests; `ai_metadata` is present for the author only.
    """

    id: UUID
    title: str
    description: str | None
    cuisine: str | None
    cuisine_type: str | None
    image_url: str | None
    prep_time: int | None
    prep_time_minutes: int | None
    cook_time: int | None
    cook_time_minutes: int | None
    total_time_minutes: int | None
    difficulty: str | None
    servings: int | None
    ingredients: list[str | RecipeIngredient]
    instructions: list[str | RecipeStep]
    tags: list[str]
    nutrition: StoredNutrition | None
    nutrition_info: StoredNutrition | None
    created_by: UUID | None
    creator: RecipeCreator | None
    creator_name: str | None
    is_generated: bool
    is_published: bool
    is_featured: bool
    is_trending: bool
    view_count: int
    saves_count: int
    rating_avg: float
    rating_count: int
    trending_score: float
    created_at: datetime
    updated_at: datetime
    recipe_ingredients: list[LinkedIngredient]
    is_favorited: bool | UnsetType = UNSET
    ai_metadata: RecipeMetadata | UnsetType | None = UNSET


class RecipeResponse(Struct):
    success: bool
    data: RecipeRow


class RecipeWriteResponse(RecipeRow, kw_only=True):
    """The written row, at the root and under `data`."""

    success: bool
    data: RecipeRow


class RecipePagination(Struct, rename={"total_pages": "totalPages"}):
    page: int
    limit: int
    total: int
    total_pages: int


class RecipeListData(Struct):
    recipes: list[RecipeRow]
    pagination: RecipePagination


class RecipeListResponse(Struct):
    """The list under `data` for the website, and at the root for the app."""

    success: bool
    data: RecipeListData
    recipes: list[RecipeRow]
    pagination: RecipePagination


class RecipeDeletionResponse(Struct):
    success: bool
    message: str


def recipe_row(recipe: RecipeJson) -> RecipeRow:
    """The row as parsed JSON, for a response that holds more than the row."""
    return cast("RecipeRow", orjson.loads(recipe.json))


def write_response(recipe: RecipeJson) -> EncodedJson:
    """The JSON of a RecipeWriteResponse."""
    return EncodedJson(f'{{"success":true,"data":{recipe.json},{recipe.json[1:]}')
