"""What the generation routes read, and the wishes that it means."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.features.literals import rejected_field
from cookcam.features.recipes.catalogue.models import DIFFICULTIES
from cookcam.features.recipes.generation import reading
from cookcam.features.recipes.generation.models import (
    Brief,
    ChosenPreview,
    Ideas,
    MenuWishes,
    Preferences,
)
from cookcam.features.recipes.generation.prompts import THEMES
from cookcam.features.recipes.generation.two_steps import preview_required
from cookcam.http import DOCUMENTED_AS_REQUIRED, body_with

NO_INGREDIENTS = "Detected ingredients array is required"
NO_MENU_INGREDIENTS = 'Ingredients list is required (as "ingredients" or "detectedIngredients")'
NO_TITLE = "Selected recipe title is required"
NO_INPUT = "Either sessionId or originalInput is required"
NO_PREFERENCES = "User preferences are required"
NO_SESSION = "Session ID is required"

MAX_ID_LENGTH = 128
MAX_CONTEXT_LENGTH = 2000
MAX_PHRASE_LENGTH = 500
GOALS = ("calories", "protein", "lowCarb", "lowFat", "highFiber")
MINUTES = {"quick": 20, "medium": 35, "long": 60}
SKILLS = {"easy": "beginner", "medium": "intermediate", "hard": "advanced"}
MAX_EXCLUDED = 100

_WORDS: dict[str, Any] = {"type": "string", "maxLength": reading.MAX_TEXT_LENGTH}


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


_FOODS: dict[str, Any] = {
    "type": "array",
    "items": {"type": "string", "pattern": r"\S", "maxLength": reading.MAX_INGREDIENT_LENGTH},
    "minItems": 1,
    "maxItems": reading.MAX_INGREDIENTS,
}
_SOME_WORDS: dict[str, Any] = {
    "anyOf": [{"type": "array", "items": _WORDS, "maxItems": reading.MAX_TEXTS}, _WORDS]
}
_NUMBER: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 1, "maximum": 100},
        {"type": "string", "pattern": r"^\s*0{0,6}(100|[1-9][0-9]?)\s*$"},
    ]
}
_TITLES: dict[str, Any] = {"type": "string", "maxLength": reading.MAX_TITLE_LENGTH}
_PHRASE: dict[str, Any] = {"type": "string", "maxLength": MAX_PHRASE_LENGTH}
_PHRASES = {"anyOf": [{"type": "array", "items": _PHRASE, "maxItems": reading.MAX_TEXTS}, _PHRASE]}
_TOTAL_MINUTES: dict[str, Any] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 10_080},
        {"type": "string", "pattern": r"^\s*([0-9]{1,4}|10080|100[0-7][0-9])\s*$"},
    ]
}
_CONTEXT: dict[str, Any] = {"type": "string", "maxLength": MAX_CONTEXT_LENGTH}

Foods = Annotated[
    Any, Meta(description="1 to 100 texts of 1 to 100 characters.", extra_json_schema=_FOODS)
]
Texts = Annotated[Any, Meta(description="Free texts.", extra_json_schema=_SOME_WORDS)]
Text = Annotated[Any, Meta(extra_json_schema=_WORDS)]
Title = Annotated[
    Any,
    Meta(
        extra_json_schema={
            "type": "string",
            "pattern": r"\S",
            "maxLength": reading.MAX_TITLE_LENGTH,
        }
    ),
]
Session = Annotated[
    Any, Meta(extra_json_schema={"type": "string", "pattern": r"\S", "maxLength": MAX_ID_LENGTH})
]
Number = Annotated[Any, Meta(extra_json_schema=_NUMBER)]
YesNo = Annotated[Any, Meta(extra_json_schema={"type": "boolean"})]
Object = Annotated[Any, Meta(extra_json_schema={"type": "object"})]


class SuggestionsRequest(Struct, rename="camel"):
    """Ingredients and wishes. Time and skill may be left open."""

    detected_ingredients: Annotated[Foods, DOCUMENTED_AS_REQUIRED] = None
    dietary_tags: Texts = None
    cuisine_preferences: Texts = None
    time_available: Text = None
    skill_level: Text = None

    def ideas(self) -> Ideas:
        """Raises ValidationError."""
        return _ideas(
            {
                "detectedIngredients": self.detected_ingredients,
                "dietaryTags": self.dietary_tags,
                "cuisinePreferences": self.cuisine_preferences,
                "timeAvailable": self.time_available,
                "skillLevel": self.skill_level,
            }
        )


class FullRecipeRequest(Struct, rename="camel"):
    """A title, and what it is from: a session of `/recipes/suggestions`, or the same wishes."""

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
                    "detectedIngredients": _FOODS,
                    "dietaryTags": _nullable(_SOME_WORDS),
                    "cuisinePreferences": _nullable(_SOME_WORDS),
                    "timeAvailable": _nullable(_WORDS),
                    "skillLevel": _nullable(_WORDS),
                },
                "required": ["detectedIngredients"],
            }
        ),
    ] = None

    def title(self) -> str:
        """Raises ValidationError."""
        return reading.title(self.selected_title, NO_TITLE)

    def session(self) -> str | None:
        """None where there is none. Raises ValidationError."""
        return reading.text({"sessionId": self.session_id}, "sessionId") or None

    def brief(self) -> Brief:
        """Without a session. Raises ValidationError."""
        body_with = reading.mapping(self.original_input)
        if body_with is None:
            raise rejected_field(NO_INPUT, "originalInput")
        ideas = _ideas(body_with)
        return Brief(None, ideas.json(), ideas.ingredients, ideas.cuisines)


class SmartNutritionRecipeRequest(Struct, rename="camel"):
    """A title, and a session of `/recipes/suggestions` or `/recipes/generate-previews`."""

    selected_title: Annotated[Title, DOCUMENTED_AS_REQUIRED] = None
    session_id: Annotated[Session, DOCUMENTED_AS_REQUIRED] = None

    def session(self) -> str:
        """Raises ValidationError."""
        return _session(self.session_id)

    def title(self) -> str:
        """Raises ValidationError."""
        return reading.title(self.selected_title, NO_TITLE)


class GeneratedRecipesRequest(Struct, rename="camel"):
    """Ingredients under either name, and wishes: `preferences`, or the other keys."""

    any_of: ClassVar = (
        body_with(ingredients={"type": "array"}),
        body_with(detectedIngredients={"type": "array"}),
    )

    ingredients: Foods = None
    detected_ingredients: Foods = None
    preferences: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "skillLevel": _nullable(_WORDS),
                    "dietaryRestrictions": _nullable(_SOME_WORDS),
                    "cuisinePreferences": _nullable(_SOME_WORDS),
                    "availableTime": {
                        "anyOf": [
                            {"type": "integer", "minimum": 1, "maximum": 10_080},
                            _WORDS,
                            {"type": "null"},
                        ]
                    },
                    "kitchenEquipment": _nullable(_SOME_WORDS),
                    "dislikedIngredients": _nullable(_SOME_WORDS),
                    "preferredCookingMethods": _nullable(_SOME_WORDS),
                    "spiceLevel": _nullable(_WORDS),
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
    meal_prep_enabled: YesNo = None
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
    context: Annotated[
        Any, Meta(extra_json_schema={"type": "string", "maxLength": MAX_CONTEXT_LENGTH})
    ] = None

    def wishes(self) -> MenuWishes:
        """Raises ValidationError."""
        foods = self.ingredients if self.ingredients is not None else self.detected_ingredients
        known = reading.ingredients(foods, NO_MENU_INGREDIENTS, "ingredients")
        preferences = reading.mapping(self.preferences)
        if preferences is None and self.preferences is not None:
            raise ValidationError.of("preferences", "must be an object")
        wishes = self._top_level()  # checked even where it does not count
        if preferences is not None:
            wishes = _preferences(preferences)
        own = {"mealType": self.meal_type, "recipeType": self.recipe_type}
        data = {
            **wishes,
            "ingredients": known,
            "mealType": reading.text(own, "mealType") or reading.text(own, "recipeType"),
            "nutritionGoals": _goals(self.nutrition_goals),
            "context": reading.text({"context": self.context}, "context", "", MAX_CONTEXT_LENGTH),
        }
        disliked = reading.texts(
            {"dislikedIngredients": self.disliked_ingredients}, "dislikedIngredients"
        )
        avoided = list(dict.fromkeys([*wishes.get("dislikedIngredients", []), *disliked]))
        data["dislikedIngredients"] = avoided
        return MenuWishes(known, wishes["dietaryRestrictions"], tuple(avoided), data)

    def _top_level(self) -> dict[str, Any]:
        body_with = {
            "dietaryTags": self.dietary_tags,
            "cuisinePreferences": self.cuisine_preferences,
            "timeAvailable": self.time_available,
            "skillLevel": self.skill_level,
            "servingSize": self.serving_size,
            "mealPrepEnabled": self.meal_prep_enabled,
            "mealPrepPortions": self.meal_prep_portions,
            "selectedAppliances": self.selected_appliances,
        }
        prepares = reading.yes(body_with, "mealPrepEnabled")
        portions = reading.whole(body_with, "mealPrepPortions", 4, 1, 100)
        return {
            "dietaryRestrictions": reading.texts(body_with, "dietaryTags"),
            "cuisinePreferences": reading.texts(body_with, "cuisinePreferences"),
            "availableTime": MINUTES.get(reading.text(body_with, "timeAvailable").lower()),
            "skillLevel": SKILLS.get(reading.text(body_with, "skillLevel").lower()),
            "servingSize": reading.whole(body_with, "servingSize", 2, 1, 100),
            "mealPrepPortions": portions if prepares else None,
            "kitchenEquipment": reading.texts(body_with, "selectedAppliances", ("oven", "stove")),
        }


class RecipePreviewsRequest(Struct, rename="camel"):
    """Ingredients and preferences; `sessionId` to go on with the previews of an earlier call."""

    detected_ingredients: Annotated[Foods, DOCUMENTED_AS_REQUIRED] = None
    user_preferences: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "servingSize": _nullable(_NUMBER),
                    "cuisinePreferences": _nullable(_SOME_WORDS),
                    "dietaryTags": _nullable(_SOME_WORDS),
                    "selectedAppliances": _nullable(_SOME_WORDS),
                    "dislikedIngredients": _nullable(_SOME_WORDS),
                    "timeAvailable": _nullable(_WORDS),
                    "skillLevel": _nullable(_WORDS),
                    "mealType": _nullable(_WORDS),
                    "mealPrepEnabled": {"type": ["boolean", "null"]},
                    "mealPrepPortions": _nullable(_NUMBER),
                    "excludeRecipes": _nullable(
                        {
                            "anyOf": [
                                {"type": "array", "items": _TITLES, "maxItems": MAX_EXCLUDED},
                                _TITLES,
                            ]
                        }
                    ),
                }
            }
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    session_id: Annotated[
        Any, Meta(extra_json_schema={"type": "string", "maxLength": MAX_ID_LENGTH})
    ] = None

    def ingredients(self) -> list[str]:
        """Raises ValidationError."""
        return reading.ingredients(self.detected_ingredients, NO_INGREDIENTS)

    def preferences(self) -> Preferences:
        """Raises ValidationError."""
        body_with = reading.mapping(self.user_preferences)
        if body_with is None:
            raise rejected_field(NO_PREFERENCES, "userPreferences")
        return Preferences(
            servings=reading.whole(body_with, "servingSize", 2, 1, 100) or 2,
            cuisines=reading.texts(body_with, "cuisinePreferences"),
            diet=reading.texts(body_with, "dietaryTags"),
            appliances=reading.texts(body_with, "selectedAppliances"),
            time=reading.text(body_with, "timeAvailable"),
            skill=reading.text(body_with, "skillLevel"),
            meal_prep=reading.yes(body_with, "mealPrepEnabled"),
            portions=reading.whole(body_with, "mealPrepPortions", None, 1, 100),
            meal=reading.text(body_with, "mealType"),
            exclude=reading.texts(
                body_with, "excludeRecipes", most=MAX_EXCLUDED, longest=reading.MAX_TITLE_LENGTH
            ),
            disliked=reading.texts(body_with, "dislikedIngredients"),
        )

    def session(self) -> str | None:
        """None where there is none. Raises ValidationError."""
        return _session(self.session_id) if self.session_id not in (None, "") else None


class DetailedRecipeRequest(Struct, rename="camel"):
    """One of the previews, as it was received, and the session it is from."""

    selected_preview: Annotated[
        Object,
        Meta(
            extra_json_schema={
                "properties": {
                    "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH},
                    "title": _nullable(_TITLES),
                    "description": _nullable(_CONTEXT),
                    "estimatedTime": _nullable(_TOTAL_MINUTES),
                    "difficulty": _nullable(_WORDS),
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

    def chosen(self) -> ChosenPreview:
        """Only the id has to be there: of a preview that is known the rest is known as well.

        What a model wrote and a client sends back has wider bounds than what people type. Raises
        ValidationError.
        """
        body_with = reading.mapping(self.selected_preview)
        if body_with is None or not isinstance(body_with.get("id"), str) or not body_with["id"]:
            raise preview_required()
        difficulty = reading.text(body_with, "difficulty").lower()
        return ChosenPreview(
            reading.text(body_with, "id", most=MAX_ID_LENGTH),
            reading.text(body_with, "title", most=reading.MAX_TITLE_LENGTH),
            reading.text(body_with, "description", most=MAX_CONTEXT_LENGTH),
            reading.whole(body_with, "estimatedTime", 30, 0, 10_080) or 30,
            DIFFICULTIES.get(difficulty, "easy"),
            reading.text(body_with, "cuisineType", most=MAX_PHRASE_LENGTH),
            reading.texts(body_with, "mainIngredients", longest=MAX_PHRASE_LENGTH),
            reading.texts(body_with, "appealFactors", longest=MAX_PHRASE_LENGTH),
        )

    def session(self) -> str:
        """Raises ValidationError."""
        return _session(self.session_id)


class RecipeVariationsRequest(Struct):
    """How many variations."""

    count: Annotated[
        Any, Meta(extra_json_schema={"type": "integer", "minimum": 1, "maximum": len(THEMES)})
    ] = None

    def wanted(self) -> int:
        """Raises ValidationError."""
        if isinstance(self.count, str):
            raise ValidationError.of("count", "must be a number")
        return reading.whole({"count": self.count}, "count", 3, 1, len(THEMES)) or 3


def _session(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise rejected_field(NO_SESSION, "sessionId")
    if len(value) > MAX_ID_LENGTH:
        raise ValidationError.of("sessionId", f"must have at most {MAX_ID_LENGTH} characters")
    return value


def _ideas(body_with: dict[str, Any]) -> Ideas:
    return Ideas(
        reading.ingredients(body_with.get("detectedIngredients"), NO_INGREDIENTS),
        reading.texts(body_with, "dietaryTags", ("NONE",)),
        reading.texts(body_with, "cuisinePreferences", ("SURPRISE_ME",)),
        reading.text(body_with, "timeAvailable", "FLEXIBLE"),
        reading.text(body_with, "skillLevel", "SURPRISE_ME"),
    )


def _preferences(body_with: dict[str, Any]) -> dict[str, Any]:
    """The known keys of 9.4's `preferences`, and what the other form of the request may say."""
    minutes = body_with.get("availableTime")
    return {
        "skillLevel": reading.text(body_with, "skillLevel"),
        "dietaryRestrictions": reading.texts(body_with, "dietaryRestrictions"),
        "cuisinePreferences": reading.texts(body_with, "cuisinePreferences"),
        "availableTime": reading.text(body_with, "availableTime")
        if isinstance(minutes, str)
        else reading.whole(body_with, "availableTime", None, 1, 10_080),
        "kitchenEquipment": reading.texts(body_with, "kitchenEquipment"),
        "dislikedIngredients": reading.texts(body_with, "dislikedIngredients"),
        "preferredCookingMethods": reading.texts(body_with, "preferredCookingMethods"),
        "spiceLevel": reading.text(body_with, "spiceLevel"),
        "servingSize": reading.whole(body_with, "servingSize", 2, 1, 100),
        "mealPrepPortions": reading.whole(body_with, "mealPrepPortions", None, 1, 100),
    }


def _goals(value: object) -> dict[str, Any]:
    """The known goals: numbers, or whether."""
    body_with = reading.mapping(value)
    if body_with is None and value is not None:
        raise ValidationError.of("nutritionGoals", "must be an object")
    goals = {
        name: body_with[name] for name in GOALS if body_with and body_with.get(name) is not None
    }
    for name, goal in goals.items():
        if not isinstance(goal, bool | int | float):
            raise ValidationError.of(f"nutritionGoals.{name}", "must be a number, true or false")
    return goals
