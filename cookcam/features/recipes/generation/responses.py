"""Response bodies of the generation routes: recipes as the model wrote them, and stored rows."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict, cast
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType

from cookcam.features.food.nutrition.responses import MacroNutrients, SmartNutritionResult
from cookcam.features.recipes.catalogue.responses import (
    Energy,
    Grams,
    IngredientAnalysis,
    Milligrams,
    RecipeIngredient,
    RecipeRow,
    RecipeStep,
    recipe_row,
)
from cookcam.features.recipes.generation.contracts import Difficulty, Level, as_json
from cookcam.features.recipes.generation.models import (
    DetailedRecipeResult,
    DiverseRecipesResult,
    FullRecipeResult,
    PreviewsResult,
    RecipePreviewRow,
    SmartNutritionRecipeResult,
    SuggestionsResult,
    VariationsResult,
)
from cookcam.features.recipes.generation.rows import detailed_recipe_json
from cookcam.http.responses import response_from

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


class SuggestionsResponse(Struct):
    suggestions: list[RecipeSuggestion]
    xp_awarded: int
    message: str
    session_id: UUID | UnsetType = UNSET

    @classmethod
    def of(cls, result: SuggestionsResult) -> SuggestionsResponse:
        return cls(
            cast("list[RecipeSuggestion]", result.suggestions),
            result.xp_awarded,
            "Here are three ideas for you",
            UNSET if result.session_id is None else result.session_id,
        )


class FullRecipeResponse(Struct):
    recipe_id: UUID
    full_recipe: FullRecipe
    stored_recipe: RecipeRow
    xp_awarded: int
    message: str

    @classmethod
    def of(cls, result: FullRecipeResult) -> FullRecipeResponse:
        return cls(
            result.recipe_id,
            as_json(result.recipe),
            recipe_row(result.stored),
            result.xp_awarded,
            "Your recipe is ready",
        )


class NutritionComparison(Struct):
    ai_estimate: EstimatedMacros
    database_calculated: MacroNutrients


class SmartNutritionRecipe(
    RecipeRow,
    kw_only=True,
    rename={
        "smart_nutrition": "smartNutrition",
        "nutrition_comparison": "nutritionComparison",
    },
):
    smart_nutrition: SmartNutritionResult
    nutrition_comparison: NutritionComparison


class SmartNutritionRecipeResponse(Struct):
    success: bool
    recipe: SmartNutritionRecipe

    @classmethod
    def of(cls, result: SmartNutritionRecipeResult) -> SmartNutritionRecipeResponse:
        estimate = result.estimate
        recipe = {
            **cast("dict[str, Any]", recipe_row(result.stored)),
            "smartNutrition": SmartNutritionResult.of(result.smart),
            "nutritionComparison": NutritionComparison(
                {
                    "calories": estimate.calories,
                    "protein": estimate.protein,
                    "carbs": estimate.carbs,
                    "fat": estimate.fat,
                },
                MacroNutrients.of(result.smart.per_serving),
            ),
        }
        return cls(True, cast("SmartNutritionRecipe", recipe))


class GeneratedRecipesData(Struct, rename="camel"):
    recipes: list[GeneratedRecipe]
    ingredient_analysis: IngredientAnalysis
    stored_recipes: list[RecipeRow]


class GeneratedRecipesResponse(Struct):
    success: bool
    message: str
    data: GeneratedRecipesData

    @classmethod
    def of(cls, result: DiverseRecipesResult) -> GeneratedRecipesResponse:
        stored = [recipe_row(view) for view in result.stored]
        data = GeneratedRecipesData(
            cast("list[GeneratedRecipe]", result.recipes),
            cast("IngredientAnalysis", result.analysis),
            stored,
        )
        return cls(True, f"{len(stored)} recipes for you", data)


class RecipePreview(Struct, rename="camel"):
    id: str
    title: str
    description: str
    estimated_time: int
    difficulty: str
    cuisine_type: str
    main_ingredients: list[str]
    appeal_factors: list[str]

    @classmethod
    def of(cls, row: RecipePreviewRow) -> RecipePreview:
        return response_from(cls, row, id=row.preview_id, description=row.description or "")


class RecipePreviewsData(Struct, rename="camel"):
    session_id: str
    previews: list[RecipePreview]
    stored_previews: list[RecipePreviewRow]


class RecipePreviewsResponse(Struct):
    success: bool
    message: str
    data: RecipePreviewsData
    xp_awarded: int

    @classmethod
    def of(cls, result: PreviewsResult) -> RecipePreviewsResponse:
        rows = result.previews
        data = RecipePreviewsData(
            result.session_id,
            [RecipePreview.of(row) for row in rows],
            rows,
        )
        return cls(True, f"{len(rows)} recipe previews for you", data, result.xp_awarded)


class DetailedRecipeData(Struct):
    recipe: DetailedRecipe
    stored_recipe: RecipeRow
    session_completed: bool


class DetailedRecipeResponse(Struct):
    success: bool
    message: str
    data: DetailedRecipeData
    xp_awarded: int

    @classmethod
    def of(cls, result: DetailedRecipeResult) -> DetailedRecipeResponse:
        recipe = cast("DetailedRecipe", detailed_recipe_json(result.recipe))
        data = DetailedRecipeData(recipe, recipe_row(result.stored), True)
        return cls(True, "Your recipe is ready", data, result.xp_awarded)


class RecipeVariationsData(Struct):
    original: RecipeRow
    variations: list[GeneratedRecipe]


class RecipeVariationsResponse(Struct):
    success: bool
    data: RecipeVariationsData
    message: str

    @classmethod
    def of(cls, result: VariationsResult) -> RecipeVariationsResponse:
        variations = cast("list[GeneratedRecipe]", result.variations)
        data = RecipeVariationsData(recipe_row(result.original), variations)
        return cls(True, data, f"{len(result.variations)} variations for you")
