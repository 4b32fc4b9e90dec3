"""Request bodies of the generation routes."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct, to_builtins

from cookcam.errors import ValidationError
from cookcam.features.literals import rejected_field
from cookcam.features.recipes.catalogue.models import DIFFICULTIES
from cookcam.features.recipes.generation import parsing
from cookcam.features.recipes.generation.models import (
    DiverseRecipesInput,
    FullRecipeInput,
    PreviewPreferences,
    SelectedPreview,
    SuggestionPreferences,
)
from cookcam.features.recipes.generation.prompts import THEMES
from cookcam.http import DOCUMENTED_AS_REQUIRED, body_with

NO_INGREDIENTS = "Detected ingredients array is required"
NO_INGREDIENT_LIST = 'Ingredients list is required (as "ingredients" or "detectedIngredients")'
NO_INPUT = "Either sessionId or originalInput is required"
NO_PREFERENCES = "User preferences are required"

MAX_CONTEXT_LENGTH = 2000
MAX_PHRASE_LENGTH = 500
GOALS = ("calories", "protein", "lowCarb", "lowFat", "highFiber")
MINUTES = {"quick": 20, "medium": 35, "long": 60}
SKILLS = {"easy": "beginner", "medium": "intermediate", "hard": "advanced"}
MAX_EXCLUDED = 100

_TEXT: dict[str, Any] = {"type": "string", "maxLength": parsing.MAX_TEXT_LENGTH}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_INGREDIENTS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "pattern": r"\S", "maxLength": parsing.MAX_INGREDIENT_LENGTH},
    "minItems": 1,
    "maxItems": parsing.MAX_INGREDIENTS,
}
_TEXTS: dict[str, Any] = {
    "anyOf": [{"type": "array", "items": _TEXT, "maxItems": parsing.MAX_TEXTS}, _TEXT]
}
_NUMBER: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 100},
        {"type": "string", "pattern": r"^\s*0{0,6}(100|[1-9][0-9]?)\s*$"},
    ]
}
_TITLE: dict[str, Any] = {"type": "string", "maxLength": parsing.MAX_TITLE_LENGTH}
_PHRASE: dict[str, Any] = {"type": "string", "maxLength": MAX_PHRASE_LENGTH}
_PHRASES = {"anyOf": [{"type": "array", "items": _PHRASE, "maxItems": parsing.MAX_TEXTS}, _PHRASE]}
_TOTAL_MINUTES: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 10_080},
        {"type": "string", "pattern": r"^\s*([0-9]{1,4}|10080|100[0-7][0-9])\s*$"},
    ]
}
_CONTEXT: dict[str, Any] = {"type": "string", "maxLength": MAX_CONTEXT_LENGTH}

Ingredients = Annotated[
    Any, Meta(description="1 to 100 texts of 1 to 100 characters.", extra_json_schema=_INGREDIENTS)
]
Texts = Annotated[Any, Meta(description="Free texts.", extra_json_schema=_TEXTS)]
Text = Annotated[Any, Meta(extra_json_schema=_TEXT)]
Title = Annotated[Any, Meta(extra_json_schema={**_TITLE, "pattern": r"\S"})]
_SESSION: dict[str, Any] = {"type": "string", "maxLength": parsing.MAX_ID_LENGTH}
Session = Annotated[Any, Meta(extra_json_schema={**_SESSION, "pattern": r"\S"})]
Number = Annotated[Any, Meta(extra_json_schema=_NUMBER)]
Boolean = Annotated[Any, Meta(extra_json_schema={"type": "boolean"})]
Object = Annotated[Any, Meta(extra_json_schema={"type": "object"})]


class SuggestionsRequest(Struct, rename="camel"):
    """Ingredients and preferences. Time and skill are optional."""

    detected_ingredients: Annotated[Ingredients, DOCUMENTED_AS_REQUIRED] = None
    dietary_tags: Texts = None
    cuisine_preferences: Texts = None
    time_available: Text = None
    skill_level: Text = None

    def preferences(self) -> SuggestionPreferences:
        """Raises ValidationError."""
        return _suggestion_preferences(to_builtins(self))


class FullRecipeRequest(Struct, rename="camel"):
    """A title, and a session of `/recipes/suggestions` or its ingredients and preferences."""

    any_of: ClassVar = (
        body_with(sessionId={"type": "string", "minLength": 1}),
        body_with(originalInput={"not": {"type": "null"}}),
    )

    selected_title: Annotated[Title, DOCUMENTED_AS_REQUIRED] = None
    session_id: Text = None
    original_input: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "detectedIngredients": _INGREDIENTS,
                    "dietaryTags": _nullable(_TEXTS),
                    "cuisinePreferences": _nullable(_TEXTS),
                    "timeAvailable": _nullable(_TEXT),
                    "skillLevel": _nullable(_TEXT),
                },
                "required": ["detectedIngredients"],
            }
        ),
    ] = None

    def title(self) -> str:
        """Raises ValidationError."""
        return parsing.selected_title(self.selected_title)

    def session(self) -> str | None:
        """The session's id, if present. Raises ValidationError."""
        return parsing.text({"sessionId": self.session_id}, "sessionId") or None

    def source(self) -> FullRecipeInput:
        """The input without a session. Raises ValidationError."""
        data = parsing.mapping(self.original_input)
        if data is None:
            raise rejected_field(NO_INPUT, "originalInput")
        preferences = _suggestion_preferences(data)
        return FullRecipeInput(
            None, preferences.json(), preferences.ingredients, preferences.cuisines
        )


class SmartNutritionRecipeRequest(Struct, rename="camel"):
    """A title, and a session of `/recipes/suggestions` or `/recipes/generate-previews`."""

    selected_title: Annotated[Title, DOCUMENTED_AS_REQUIRED] = None
    session_id: Annotated[Session, DOCUMENTED_AS_REQUIRED] = None

    def session(self) -> str:
        """Raises ValidationError."""
        return parsing.session_id(self.session_id)

    def title(self) -> str:
        """Raises ValidationError."""
        return parsing.selected_title(self.selected_title)


class GeneratedRecipesRequest(Struct, rename="camel"):
    """Ingredients under either name; preferences in `preferences` or in the other keys."""

    any_of: ClassVar = (
        body_with(ingredients={"type": "array"}),
        body_with(detectedIngredients={"type": "array"}),
    )

    ingredients: Ingredients = None
    detected_ingredients: Ingredients = None
    preferences: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "skillLevel": _nullable(_TEXT),
                    "dietaryRestrictions": _nullable(_TEXTS),
                    "cuisinePreferences": _nullable(_TEXTS),
                    "availableTime": {
                        "anyOf": [
                            {"type": "integer", "minimum": 1, "maximum": 10_080},
                            _TEXT,
                            {"type": "null"},
                        ]
                    },
                    "kitchenEquipment": _nullable(_TEXTS),
                    "dislikedIngredients": _nullable(_TEXTS),
                    "preferredCookingMethods": _nullable(_TEXTS),
                    "spiceLevel": _nullable(_TEXT),
                    "servingSize": _nullable(_NUMBER),
                    "mealPrepPortions": _nullable(_NUMBER),
                }
            }
        ),
    ] = None
    dietary_tags: Texts = None
    cuisine_preferences: Texts = None
    time_available: Text = None
    skill_level: Text = None
    serving_size: Number = None
    meal_prep_enabled: Boolean = None
    meal_prep_portions: Number = None
    selected_appliances: Texts = None
    disliked_ingredients: Texts = None
    meal_type: Text = None
    recipe_type: Text = None
    nutrition_goals: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {name: {"type": ["boolean", "number", "null"]} for name in GOALS}
            }
        ),
    ] = None
    context: Annotated[Any, Meta(extra_json_schema=_CONTEXT)] = None

    def recipes_input(self) -> DiverseRecipesInput:
        """The validated input. Raises ValidationError."""
        listed = self.ingredients if self.ingredients is not None else self.detected_ingredients
        ingredients = parsing.ingredients(listed, NO_INGREDIENT_LIST, "ingredients")
        nested = parsing.mapping(self.preferences)
        if nested is None and self.preferences is not None:
            raise ValidationError.of("preferences", "must be an object")
        preferences = self._top_level()  # validated even when `preferences` replaces it
        if nested is not None:
            preferences = _nested_preferences(nested)
        texts = to_builtins(self)
        disliked = dict.fromkeys(
            [
                *preferences.get("dislikedIngredients", []),
                *parsing.texts(texts, "dislikedIngredients"),
            ]
        )
        data = {
            **preferences,
            "ingredients": ingredients,
            "mealType": parsing.text(texts, "mealType") or parsing.text(texts, "recipeType"),
            "nutritionGoals": _goals(self.nutrition_goals),
            "context": parsing.text(texts, "context", max_length=MAX_CONTEXT_LENGTH),
            "dislikedIngredients": list(disliked),
        }
        return DiverseRecipesInput(
            ingredients, preferences["dietaryRestrictions"], tuple(disliked), data
        )

    def _top_level(self) -> dict[str, Any]:
        data = to_builtins(self)
        meal_prep = parsing.boolean(data, "mealPrepEnabled")
        portions = parsing.integer(data, "mealPrepPortions", 4, 1, 100)
        return {
            "dietaryRestrictions": parsing.texts(data, "dietaryTags"),
            "cuisinePreferences": parsing.texts(data, "cuisinePreferences"),
            "availableTime": MINUTES.get(parsing.text(data, "timeAvailable").lower()),
            "skillLevel": SKILLS.get(parsing.text(data, "skillLevel").lower()),
            "servingSize": parsing.integer(data, "servingSize", 2, 1, 100),
            "mealPrepPortions": portions if meal_prep else None,
            "kitchenEquipment": parsing.texts(data, "selectedAppliances", ("oven", "stove")),
        }


class RecipePreviewsRequest(Struct, rename="camel"):
    """Ingredients and preferences; `sessionId` continues the session of an earlier call."""

    detected_ingredients: Annotated[Ingredients, DOCUMENTED_AS_REQUIRED] = None
    user_preferences: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "servingSize": _nullable(_NUMBER),
                    "cuisinePreferences": _nullable(_TEXTS),
                    "dietaryTags": _nullable(_TEXTS),
                    "selectedAppliances": _nullable(_TEXTS),
                    "dislikedIngredients": _nullable(_TEXTS),
                    "timeAvailable": _nullable(_TEXT),
                    "skillLevel": _nullable(_TEXT),
                    "mealType": _nullable(_TEXT),
                    "mealPrepEnabled": {"type": ["boolean", "null"]},
                    "mealPrepPortions": _nullable(_NUMBER),
                    "excludeRecipes": _nullable(
                        {
                            "anyOf": [
                                {"type": "array", "items": _TITLE, "maxItems": MAX_EXCLUDED},
                                _TITLE,
                            ]
                        }
                    ),
                }
            }
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    session_id: Annotated[Any, Meta(extra_json_schema=_SESSION)] = None

    def ingredients(self) -> list[str]:
        """Raises ValidationError."""
        return parsing.ingredients(self.detected_ingredients, NO_INGREDIENTS)

    def preferences(self) -> PreviewPreferences:
        """Raises ValidationError."""
        data = parsing.mapping(self.user_preferences)
        if data is None:
            raise rejected_field(NO_PREFERENCES, "userPreferences")
        return PreviewPreferences(
            servings=parsing.integer(data, "servingSize", 2, 1, 100) or 2,
            cuisines=parsing.texts(data, "cuisinePreferences"),
            diet=parsing.texts(data, "dietaryTags"),
            appliances=parsing.texts(data, "selectedAppliances"),
            time=parsing.text(data, "timeAvailable"),
            skill=parsing.text(data, "skillLevel"),
            meal_prep=parsing.boolean(data, "mealPrepEnabled"),
            portions=parsing.integer(data, "mealPrepPortions", None, 1, 100),
            meal=parsing.text(data, "mealType"),
            exclude=parsing.texts(
                data, "excludeRecipes", max_items=MAX_EXCLUDED, max_length=parsing.MAX_TITLE_LENGTH
            ),
            disliked=parsing.texts(data, "dislikedIngredients"),
        )

    def session(self) -> str | None:
        """The session's id, if present. Raises ValidationError."""
        return None if self.session_id in (None, "") else parsing.session_id(self.session_id)


class DetailedRecipeRequest(Struct, rename="camel"):
    """A preview as the client received it, and its session."""

    selected_preview: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "id": {"type": "string", "minLength": 1, "maxLength": parsing.MAX_ID_LENGTH},
                    "title": _nullable(_TITLE),
                    "description": _nullable(_CONTEXT),
                    "estimatedTime": _nullable(_TOTAL_MINUTES),
                    "difficulty": _nullable(_TEXT),
                    "cuisineType": _nullable(_PHRASE),
                    "mainIngredients": _nullable(_PHRASES),
                    "appealFactors": _nullable(_PHRASES),
                },
                "required": ["id"],
            }
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    session_id: Annotated[Session, DOCUMENTED_AS_REQUIRED] = None

    def selected(self) -> SelectedPreview:
        """The preview; only its id is required, since stored previews replace the rest.

        Texts that the model wrote may be longer than typed ones. Raises ValidationError.
        """
        data = parsing.mapping(self.selected_preview)
        if data is None or not isinstance(data.get("id"), str) or not data["id"]:
            raise parsing.preview_required()
        difficulty = parsing.text(data, "difficulty").lower()
        return SelectedPreview(
            parsing.text(data, "id", max_length=parsing.MAX_ID_LENGTH),
            parsing.text(data, "title", max_length=parsing.MAX_TITLE_LENGTH),
            parsing.text(data, "description", max_length=MAX_CONTEXT_LENGTH),
            parsing.integer(data, "estimatedTime", 30, 0, 10_080) or 30,
            DIFFICULTIES.get(difficulty, "easy"),
            parsing.text(data, "cuisineType", max_length=MAX_PHRASE_LENGTH),
            parsing.texts(data, "mainIngredients", max_length=MAX_PHRASE_LENGTH),
            parsing.texts(data, "appealFactors", max_length=MAX_PHRASE_LENGTH),
        )

    def session(self) -> str:
        """Raises ValidationError."""
        return parsing.session_id(self.session_id)


class RecipeVariationsRequest(Struct):
    """How many variations."""

    count: Annotated[
        Any, Meta(extra_json_schema={"type": "integer", "minimum": 1, "maximum": len(THEMES)})
    ] = None

    def number(self) -> int:
        """Raises ValidationError."""
        if isinstance(self.count, str):
            raise ValidationError.of("count", "must be a number")
        return parsing.integer({"count": self.count}, "count", 3, 1, len(THEMES)) or 3


def _suggestion_preferences(data: dict[str, Any]) -> SuggestionPreferences:
    return SuggestionPreferences(
        parsing.ingredients(data.get("detectedIngredients"), NO_INGREDIENTS),
        parsing.texts(data, "dietaryTags", ("NONE",)),
        parsing.texts(data, "cuisinePreferences", ("SURPRISE_ME",)),
        parsing.text(data, "timeAvailable", "FLEXIBLE"),
        parsing.text(data, "skillLevel", "SURPRISE_ME"),
    )


def _nested_preferences(data: dict[str, Any]) -> dict[str, Any]:
    """Validate the supported keys of the `preferences` object of `/recipes/generate`."""
    minutes = data.get("availableTime")
    return {
        "skillLevel": parsing.text(data, "skillLevel"),
        "dietaryRestrictions": parsing.texts(data, "dietaryRestrictions"),
        "cuisinePreferences": parsing.texts(data, "cuisinePreferences"),
        "availableTime": parsing.text(data, "availableTime")
        if isinstance(minutes, str)
        else parsing.integer(data, "availableTime", None, 1, 10_080),
        "kitchenEquipment": parsing.texts(data, "kitchenEquipment"),
        "dislikedIngredients": parsing.texts(data, "dislikedIngredients"),
        "preferredCookingMethods": parsing.texts(data, "preferredCookingMethods"),
        "spiceLevel": parsing.text(data, "spiceLevel"),
        "servingSize": parsing.integer(data, "servingSize", 2, 1, 100),
        "mealPrepPortions": parsing.integer(data, "mealPrepPortions", None, 1, 100),
    }


def _goals(value: object) -> dict[str, Any]:
    """Validate the supported nutrition goals: numbers or booleans."""
    data = parsing.mapping(value)
    if data is None and value is not None:
        raise ValidationError.of("nutritionGoals", "must be an object")
    goals = {name: data[name] for name in GOALS if data and data.get(name) is not None}
    for name, goal in goals.items():
        if not isinstance(goal, bool | int | float):
            raise ValidationError.of(f"nutritionGoals.{name}", "must be a number, true or false")
    return goals
