"""Contracts with the model: the shape and the settings of every kind of completion.

The JSON keys are those of the HTTP API, so a valid completion can be returned unchanged. Limits of
the database are limits here too, so that every valid completion can be stored.
"""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar, cast

from attrs import frozen

from cookcam.integrations.openai.json_schema import Shapes, described

S = TypeVar("S")

Level = Literal["Beginner", "Intermediate", "Advanced"]
Difficulty = Literal["easy", "medium", "hard"]

MAX_TITLE_LENGTH = 200
MAX_MINUTES = 10_080
MAX_SERVINGS = 100


def _minutes(about: str, name: str | None = None) -> Any:
    return described(about, name=name, minimum=0, maximum=MAX_MINUTES)


def _servings() -> Any:
    return described("people it serves", minimum=1, maximum=MAX_SERVINGS)


@frozen
class Suggestion:
    """A suggestion: title and one sentence."""

    title: str = described("appetising, at most 55 characters, no emoji")
    cuisine: str = described("one word")
    total_minutes: int = _minutes("from the first cut to the table", "totalTimeMinutes")
    difficulty: Level = described("for the person's skill")
    teaser: str = described("one sentence of at most 18 words", name="oneSentenceTeaser")


@frozen
class Suggestions:
    recipes: list[Suggestion] = described("the best three ideas", min_items=3, max_items=3)


@frozen
class Macros:
    """Grams in one serving."""

    protein_g: float = described("grams", minimum=0)
    carbs_g: float = described("grams", minimum=0)
    fat_g: float = described("grams", minimum=0)


@frozen
class PantryItem:
    item: str = described("the ingredient")
    quantity: str = described("metric and US measure, such as 250 g (1 1/4 cups)")
    from_pantry: bool = described("true for an assumed staple", name="fromPantry")


@frozen
class TaughtStep:
    order: int = described("from 1", minimum=1)
    instruction: str = described("what to do, with amounts, heat and time")
    technique: str | None = described("the technique it teaches")
    pro_tip: str | None = described("what a professional would add", name="proTip")


@frozen
class FullRecipe:
    title: str = described("the selected title")
    cuisine: str = described("one or two words")
    servings: int = _servings()
    total_minutes: int = _minutes("from the first cut to the table", "totalTimeMinutes")
    difficulty: Level = described("for the person's skill")
    calories: float = described("of one serving", name="caloriesPerServing", minimum=0)
    macros: Macros = described("of one serving")
    ingredients: list[PantryItem] = described("everything needed", min_items=1, max_items=60)
    steps: list[TaughtStep] = described("in order, at most 8", min_items=1, max_items=8)
    finishing_tip: str | None = described("the last touch", name="finishingTip")
    caption: str = described("to share with friends, one hashtag", name="socialCaption")


@frozen
class UsedIngredient:
    name: str = described("the ingredient")
    amount: str = described("a number or fraction")
    unit: str = described("unit of the amount; empty for none")
    notes: str | None = described("preparation or a substitute")
    source: Literal["scanned", "pantry", "optional"] = described("where it comes from")


@frozen
class Step:
    """A step with everything that a beginner has to know."""

    step: int = described("from 1", minimum=1)
    instruction: str = described("what to do, amounts repeated")
    time: float | None = described("minutes", minimum=0, maximum=MAX_MINUTES)
    temperature: str | None = described("heat, in words or degrees C and F")
    tips: str | None = described("what to see, hear and feel; what to do if it goes wrong")
    technique: str | None = described("its name")
    equipment: str | None = described("what to use, and what instead")
    safety: str | None = described("what to watch out for")


@frozen
class RecipeFacts:
    prep_time: int = _minutes("minutes", "prepTime")
    cook_time: int = _minutes("minutes", "cookTime")
    total_time: int = _minutes("minutes", "totalTime")
    servings: int = _servings()
    difficulty: Difficulty = described("for the person's skill")
    cuisine: str = described("the cuisine it is authentic to", name="cuisineType")
    diet: list[str] = described("diets it keeps", name="dietaryTags", max_items=20)
    skill: str = described("the skill it needs", name="skillLevel")
    method: str = described("the cooking method", name="cookingMethod")


@frozen
class Nutrients:
    """Nutrients of one serving: kcal, grams; sodium in milligrams."""

    calories: float = described("kcal", minimum=0)
    protein: float = described("grams", minimum=0)
    carbohydrates: float = described("grams", minimum=0)
    fat: float = described("grams", minimum=0)
    fiber: float = described("grams", minimum=0)
    sodium: float = described("milligrams", minimum=0)
    sugar: float = described("grams", minimum=0)


@frozen
class GeneratedRecipe:
    """A complete recipe, as in `DIVERSE_RECIPES` and `VARIATION`."""

    title: str = described("appetising, at most 80 characters")
    description: str = described("one or two sentences")
    ingredients: list[UsedIngredient] = described("everything needed", min_items=1, max_items=60)
    instructions: list[Step] = described("in order", min_items=1, max_items=20)
    metadata: RecipeFacts = described("about the dish")
    nutrition: Nutrients = described("of one serving")
    tips: list[str] = described("for the whole dish", max_items=20)
    variations: list[str] | None = described("other ways to make it", max_items=20)
    storage: str | None = described("how to keep what is left")
    pairing: list[str] | None = described("what goes with it", max_items=20)
    used: list[str] = described("of the person's ingredients", name="ingredientsUsed")
    skipped: list[str] = described("of the person's ingredients", name="ingredientsSkipped")
    skip_reason: str | None = described("why those were left out", name="skipReason")


@frozen
class IngredientAnalysis:
    total: int = described("ingredients the person has", name="totalScanned", minimum=0)
    groups: list[list[str]] = described("that go well together", name="compatibilityGroups")
    staples: list[str] = described("staples the dishes use", name="pantryStaplesUsed")


@frozen
class DiverseRecipes:
    recipes: list[GeneratedRecipe] = described(
        "three completely different dishes", min_items=3, max_items=3
    )
    analysis: IngredientAnalysis = described("of the ingredients", name="ingredientAnalysis")


@frozen
class Preview:
    title: str = described("appetising, at most 80 characters")
    description: str = described("one or two sentences")
    minutes: int = _minutes("in all", "estimatedTime")
    difficulty: Difficulty = described("for the person's skill")
    cuisine: str = described("the cuisine", name="cuisineType")
    ingredients: list[str] = described("the main ones", name="mainIngredients", max_items=30)
    appeal: list[str] = described("short phrases", name="appealFactors", min_items=2, max_items=3)


@frozen
class Previews:
    recipes: list[Preview] = described("three diverse dishes", min_items=3, max_items=3)


@frozen
class SourcedIngredient:
    name: str = described("the ingredient")
    amount: str = described("an exact number or fraction")
    unit: str = described("unit of the amount; empty for none")
    source: Literal["detected", "pantry", "store"] = described("where it comes from")


@frozen
class Estimate:
    """The model's estimate for one serving: kcal and grams."""

    calories: float = described("kcal", minimum=0)
    protein: float = described("grams", minimum=0)
    carbs: float = described("grams", minimum=0)
    fat: float = described("grams", minimum=0)


@frozen
class DetailedRecipe:
    title: str = described("that of the chosen preview")
    description: str = described("one or two sentences")
    prep_time: int = _minutes("minutes before the heat", "prepTime")
    cook_time: int = _minutes("minutes of heat", "cookTime")
    total_time: int = _minutes("minutes in all", "totalTime")
    difficulty: Difficulty = described("for the person's skill")
    servings: int = _servings()
    cuisine: str = described("the cuisine", name="cuisineType")
    diet: list[str] = described("diets it keeps", name="dietaryTags", max_items=20)
    ingredients: list[SourcedIngredient] = described("exact measures", min_items=1, max_items=60)
    instructions: list[Step] = described("6 to 12 steps, in order", min_items=1, max_items=20)
    tips: list[str] = described("for the whole dish", max_items=20)
    nutrition: Estimate | None = described(
        "of one serving; null if it cannot be estimated", name="nutritionEstimate"
    )


@frozen
class Contract(Generic[S]):
    """One kind of completion: its shape and the settings of the model.

    `items` is the list whose elements are reported while the completion is streamed; `item_kind`
    is the name of their progress event.
    """

    name: str
    shape: type[S]
    items: str
    temperature: float
    max_tokens: int
    item_kind: str


SUGGESTIONS = Contract("recipe_suggestions", Suggestions, "recipes", 0.7, 1000, "suggestion")
FULL_RECIPE = Contract("full_recipe", FullRecipe, "steps", 0.7, 2000, "step")
DIVERSE_RECIPES = Contract("diverse_recipes", DiverseRecipes, "recipes", 0.8, 8000, "recipe")
PREVIEWS = Contract("recipe_previews", Previews, "recipes", 0.7, 2000, "preview")
DETAILED_RECIPE = Contract("detailed_recipe", DetailedRecipe, "instructions", 0.6, 2500, "step")
VARIATION = Contract("recipe_variation", GeneratedRecipe, "instructions", 0.8, 2500, "step")

_SHAPES = Shapes()


def as_json(value: Any) -> Any:
    """A completion, or a part of it, as JSON-ready data without null fields."""
    return _without_nulls(_SHAPES.write(value))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {key: _without_nulls(item) for key, item in fields.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in cast("list[Any]", value)]
    return value
