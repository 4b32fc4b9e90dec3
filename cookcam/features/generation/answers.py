"""What the generation routes answer with. Recipes of the model are as in `spec/http-api-core.md`
§9.1; rows have both spellings, as everywhere."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, NotRequired, TypedDict, cast
from uuid import UUID

from attrs import asdict
from msgspec import UNSET, Meta, Struct, UnsetType

from cookcam.features.generation.contracts import Difficulty, Level, wire
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
from cookcam.features.recipes.answers import (
    Energy,
    Grams,
    IngredientAnalysis,
    Milligrams,
    RecipeAnswer,
    RecipeIngredient,
    RecipeStep,
)

Minutes = Annotated[int, Meta(description="minutes")]


class RecipeSuggestion(TypedDict):
    """A teaser of a recipe."""

    title: str
    cuisine: str
    totalTimeMinutes: Minutes
    difficulty: Level
    oneSentenceTeaser: str


class ServingMacros(TypedDict):
    """Of one serving."""

    protein_g: Grams
    carbs_g: Grams
    fat_g: Grams


class FullRecipeIngredient(TypedDict):
    """`fromPantry` is true for a staple that the caller is assumed to have."""

    item: str
    quantity: str
    fromPantry: bool


class FullRecipeStep(TypedDict):
    """`order` counts from 1."""

    order: int
    instruction: str
    technique: NotRequired[str]
    proTip: NotRequired[str]


class FullRecipe(TypedDict):
    """The full recipe of a suggestion."""

    title: str
    cuisine: str
    servings: int
    totalTimeMinutes: Minutes
    difficulty: Level
    caloriesPerServing: Energy
    macros: ServingMacros
    ingredients: list[FullRecipeIngredient]
    steps: list[FullRecipeStep]
    finishingTip: NotRequired[str]
    socialCaption: str


class GeneratedRecipeIngredient(TypedDict):
    """`unit` is empty for none; `source` says where the ingredient comes from."""

    name: str
    amount: str
    unit: str
    notes: NotRequired[str]
    source: Literal["scanned", "pantry", "optional"]


class GeneratedRecipeStep(TypedDict):
    """`step` counts from 1; `time` is in minutes."""

    step: int
    instruction: str
    time: NotRequired[float]
    temperature: NotRequired[str]
    tips: NotRequired[str]
    technique: NotRequired[str]
    equipment: NotRequired[str]
    safety: NotRequired[str]


class GeneratedRecipeMetadata(TypedDict):
    """About a generated recipe."""

    prepTime: Minutes
    cookTime: Minutes
    totalTime: Minutes
    servings: int
    difficulty: Difficulty
    cuisineType: str
    dietaryTags: list[str]
    skillLevel: str
    cookingMethod: str


class GeneratedNutrition(TypedDict):
    """The model's estimate for one serving."""

    calories: Energy
    protein: Grams
    carbohydrates: Grams
    fat: Grams
    fiber: Grams
    sodium: Milligrams
    sugar: Grams


class GeneratedRecipe(TypedDict):
    """A complete recipe. Ingredients used and skipped are of those that the caller gave."""

    title: str
    description: str
    ingredients: list[GeneratedRecipeIngredient]
    instructions: list[GeneratedRecipeStep]
    metadata: GeneratedRecipeMetadata
    nutrition: GeneratedNutrition
    tips: list[str]
    variations: NotRequired[list[str]]
    storage: NotRequired[str]
    pairing: NotRequired[list[str]]
    ingredientsUsed: list[str]
    ingredientsSkipped: list[str]
    skipReason: NotRequired[str]


class NutritionEstimate(TypedDict):
    """The model's estimate for one serving; grams are texts such as `12.5g`."""

    calories: Energy
    protein: str
    carbs: str
    fat: str


class DetailedRecipe(TypedDict):
    """The recipe of a preview."""

    id: str
    title: str
    description: str
    prepTime: Minutes
    cookTime: Minutes
    totalTime: Minutes
    difficulty: str
    servings: int
    cuisineType: str
    dietaryTags: list[str]
    ingredients: list[RecipeIngredient]
    instructions: list[RecipeStep]
    tips: list[str]
    nutritionEstimate: NotRequired[NutritionEstimate]


class EstimatedMacros(TypedDict):
    """The model's estimate for one serving."""

    calories: Energy
    protein: Grams
    carbs: Grams
    fat: Grams


class SuggestionsAnswer(Struct):
    suggestions: list[RecipeSuggestion]
    xp_awarded: int
    message: str
    session_id: UUID | UnsetType = UNSET

    @classmethod
    def of(cls, suggested: Suggested) -> SuggestionsAnswer:
        return cls(
            cast("list[RecipeSuggestion]", suggested.suggestions),
            suggested.xp_awarded,
            "Here are three ideas for you",
            UNSET if suggested.session_id is None else suggested.session_id,
        )


class FullAnswer(Struct):
    recipe_id: UUID
    full_recipe: FullRecipe
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
    ai_estimate: EstimatedMacros
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
    recipes: list[GeneratedRecipe]
    ingredient_analysis: IngredientAnalysis
    stored_recipes: list[RecipeAnswer]


class MenuAnswer(Struct):
    success: bool
    message: str
    data: MenuData

    @classmethod
    def of(cls, composed: Composed) -> MenuAnswer:
        stored = [RecipeAnswer.of(shown) for shown in composed.stored]
        data = MenuData(
            cast("list[GeneratedRecipe]", composed.recipes),
            cast("IngredientAnalysis", composed.analysis),
            stored,
        )
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
    recipe: DetailedRecipe
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
        recipe = cast("DetailedRecipe", detailed_of(stored.recipe))
        data = DetailedData(recipe, RecipeAnswer.of(stored), True)
        return cls(True, "Your recipe is ready", data, detailed.xp_awarded)


class VariationsData(Struct):
    original: RecipeAnswer
    variations: list[GeneratedRecipe]


class VariationsAnswer(Struct):
    success: bool
    data: VariationsData
    message: str

    @classmethod
    def of(cls, varied: Varied) -> VariationsAnswer:
        variations = cast("list[GeneratedRecipe]", varied.variations)
        data = VariationsData(RecipeAnswer.of(varied.original), variations)
        return cls(True, data, f"{len(varied.variations)} variations for you")
