"""Inputs and results of the generation services, and the rows of generation sessions."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from cookcam.features.food.nutrition.models import Amounts, SmartNutrition
from cookcam.features.recipes.catalogue.models import Difficulty, Recipe, RecipeJson
from cookcam.features.recipes.generation.contracts import FullRecipe, Level
from cookcam.features.recipes.generation.prompts import STAPLES

STORED_LEVELS: dict[Level, Difficulty] = {
    "Beginner": "easy",
    "Intermediate": "medium",
    "Advanced": "hard",
}


@frozen
class Deadlines:
    """Seconds for a whole request, and for its calls of the model: the rest is for storing."""

    request_seconds: float

    @property
    def model_seconds(self) -> float:
        return self.request_seconds * 0.95


@frozen
class SuggestionPreferences:
    """Preferences for suggestions: free texts, as clients send them."""

    ingredients: list[str]
    diet: list[str]
    cuisines: list[str]
    time: str
    skill: str

    def json(self) -> dict[str, Any]:
        """The form that is stored and sent to the model."""
        return {
            "detectedIngredients": self.ingredients,
            "dietaryTags": self.diet,
            "cuisinePreferences": self.cuisines,
            "timeAvailable": self.time,
            "skillLevel": self.skill,
            "assumedStaples": list(STAPLES),
        }


@frozen
class FullRecipeInput:
    """Input of a full recipe: `data` for the prompt, and the parts that are stored."""

    session_id: str | None
    data: dict[str, Any]
    ingredients: list[str]
    cuisines: list[str]
    disliked: tuple[str, ...] = ()
    quota_consumed: bool = False
    """Whether the session consumed quota when it began."""


@frozen
class DiverseRecipesInput:
    """Input of three complete recipes; `data` for the prompt holds every field of the request."""

    ingredients: list[str]
    diet: list[str]
    disliked: tuple[str, ...]
    data: dict[str, Any] = field(repr=False)


@frozen
class PreviewPreferences:
    """Preferences for previews: free texts except for the numbers."""

    servings: int = 2
    cuisines: list[str] = field(factory=list[str])
    diet: list[str] = field(factory=list[str])
    appliances: list[str] = field(factory=list[str])
    time: str = ""
    skill: str = ""
    meal_prep: bool = False
    portions: int | None = None
    meal: str = ""
    exclude: list[str] = field(factory=list[str])
    disliked: list[str] = field(factory=list[str])

    def json(self) -> dict[str, Any]:
        """The form that is stored and sent to the model."""
        return {
            "servingSize": self.servings,
            "cuisinePreferences": self.cuisines,
            "dietaryTags": self.diet,
            "selectedAppliances": self.appliances,
            "timeAvailable": self.time,
            "skillLevel": self.skill,
            "mealPrepEnabled": self.meal_prep,
            "mealPrepPortions": self.portions,
            "mealType": self.meal,
            "excludeRecipes": self.exclude,
            "dislikedIngredients": self.disliked,
        }


@frozen
class RecipeSession:
    """A row of `recipe_sessions`."""

    id: UUID
    input_data: dict[str, Any]


@frozen
class CookingSession:
    """The columns of `cooking_sessions` that are read again."""

    session_id: str
    original_ingredients: list[str]
    user_preferences: dict[str, Any]


@frozen
class RecipePreviewRow:
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


@frozen
class SelectedPreview:
    """The preview to write in detail, from its stored row or from the request."""

    id: str
    title: str
    description: str = ""
    minutes: int = 30
    difficulty: str = "easy"
    cuisine: str = ""
    ingredients: list[str] = field(factory=list[str])
    appeal: list[str] = field(factory=list[str])

    @classmethod
    def of(cls, row: RecipePreviewRow) -> SelectedPreview:
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

    def json(self) -> dict[str, Any]:
        """The form that is sent to the model."""
        return {
            "title": self.title,
            "description": self.description,
            "estimatedTime": self.minutes,
            "difficulty": self.difficulty,
            "cuisineType": self.cuisine,
            "mainIngredients": self.ingredients,
            "appealFactors": self.appeal,
        }


@frozen
class SuggestionsResult:
    """`session_id` is None when the session could not be stored."""

    session_id: UUID | None
    suggestions: list[dict[str, Any]]
    xp_awarded: int


@frozen
class FullRecipeResult:
    recipe_id: UUID
    recipe: FullRecipe
    stored: RecipeJson
    xp_awarded: int


@frozen
class SmartNutritionRecipeResult:
    """`estimate` is the model's own estimate for one serving."""

    stored: RecipeJson
    smart: SmartNutrition
    estimate: Amounts


@frozen
class DiverseRecipesResult:
    recipes: list[dict[str, Any]]
    analysis: dict[str, Any]
    stored: list[RecipeJson]


@frozen
class PreviewsResult:
    session_id: str
    previews: list[RecipePreviewRow]
    xp_awarded: int


@frozen
class DetailedRecipeResult:
    recipe: Recipe
    stored: RecipeJson
    xp_awarded: int


@frozen
class VariationsResult:
    original: RecipeJson
    variations: list[dict[str, Any]]
