"""What is asked of the generation, and what comes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from attrs import field, frozen

from cookcam.features.food.nutrition.models import Amounts, SmartNutrition
from cookcam.features.recipes.catalogue.models import Difficulty, ShownRecipe
from cookcam.features.recipes.generation.contracts import FullRecipe, Level

ASSUMED = ["salt", "black pepper", "olive oil", "water"]

STORED_LEVELS: dict[Level, Difficulty] = {
    "Beginner": "easy",
    "Intermediate": "medium",
    "Advanced": "hard",
}


@frozen
class Deadlines:
    """Seconds. `whole` bounds a request with everything in it, `model` the asking of the model:
    what it says must still be stored."""

    whole: float

    @property
    def model(self) -> float:
        return self.whole * 0.95


@frozen
class Ideas:
    """The wishes of 9.2: free text, as clients write it."""

    ingredients: list[str]
    diet: list[str]
    cuisines: list[str]
    time: str
    skill: str

    def json(self) -> dict[str, Any]:
        """As it is stored, and as the model gets it."""
        return {
            "detectedIngredients": self.ingredients,
            "dietaryTags": self.diet,
            "cuisinePreferences": self.cuisines,
            "timeAvailable": self.time,
            "skillLevel": self.skill,
            "assumedStaples": ASSUMED,
        }


@frozen
class Brief:
    """What a full recipe is made from: `data` for the model, and the parts that are stored."""

    session_id: str | None
    data: dict[str, Any]
    ingredients: list[str]
    cuisines: list[str]
    disliked: tuple[str, ...] = ()
    counted: bool = False
    """Whether the session was counted against the quota when it began."""


@frozen
class MenuWishes:
    """The wishes of 9.4: `data` has all that was said."""

    ingredients: list[str]
    diet: list[str]
    disliked: tuple[str, ...]
    data: dict[str, Any] = field(repr=False)


@frozen
class Preferences:
    """The wishes of 9.5, free text but for the numbers (`spec/client-contract.md` §12.4)."""

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
        """As it is stored, and as the model gets it."""
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
    """A row of `cooking_sessions`, as far as it is needed again."""

    session_id: str
    original_ingredients: list[str]
    user_preferences: dict[str, Any]


@frozen
class StoredPreview:
    """A row of `recipe_previews`."""

    id: UUID
    preview_id: str
    session_id: str
    user_id: UUID
    title: str
    description: str | None
    estimated_time: int
    difficulty: Difficulty
    cuisine_type: str
    main_ingredients: list[str]
    appeal_factors: list[str]
    selected_for_details: bool
    created_at: datetime


@frozen
class ChosenPreview:
    """A preview as step 2 gets it: from the row, or as the client says it was."""

    id: str
    title: str
    description: str = ""
    minutes: int = 30
    difficulty: str = "easy"
    cuisine: str = ""
    ingredients: list[str] = field(factory=list[str])
    appeal: list[str] = field(factory=list[str])

    def json(self) -> dict[str, Any]:
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
class Suggested:
    """`session_id` is None where the session could not be stored."""

    session_id: UUID | None
    suggestions: list[dict[str, Any]]
    xp_awarded: int


@frozen
class Completed:
    """The outcome of 9.3."""

    recipe: FullRecipe
    stored: ShownRecipe
    xp_awarded: int


@frozen
class Weighed:
    """The outcome of 9.7; `estimate` is the model's, of one serving."""

    stored: ShownRecipe
    smart: SmartNutrition
    estimate: Amounts


@frozen
class Composed:
    """The outcome of 9.4."""

    recipes: list[dict[str, Any]]
    analysis: dict[str, Any]
    stored: list[ShownRecipe]


@frozen
class Previewed:
    """The outcome of 9.5."""

    session_id: str
    previews: list[StoredPreview]
    xp_awarded: int


@frozen
class Detailed:
    """The outcome of 9.6."""

    stored: ShownRecipe
    xp_awarded: int


@frozen
class Varied:
    """The outcome of 9.8."""

    original: ShownRecipe
    variations: list[dict[str, Any]]
