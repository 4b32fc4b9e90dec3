"""Shapes for the tests, modelled on the recipe and scan contracts."""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from cookcam.integrations.openai.json_schema import described


@frozen
class Suggestion:
    title: str = described("at most 55 characters")
    cuisine: str = described("one word")
    total_minutes: int = described("in all", name="totalTimeMinutes", minimum=1, maximum=600)
    difficulty: Literal["Beginner", "Intermediate", "Advanced"] = described("for whom")
    teaser: str = described("at most 18 words", name="oneSentenceTeaser")


@frozen
class Suggestions:
    recipes: list[Suggestion] = described("three ideas", min_items=3, max_items=3)


@frozen
class Macros:
    protein_g: float = described("grams", minimum=0)
    carbs_g: float = described("grams", minimum=0)
    fat_g: float = described("grams", minimum=0)


@frozen
class Ingredient:
    item: str = described("what")
    quantity: str = described("how much")
    from_pantry: bool = described("assumed staple", name="fromPantry")


@frozen
class Step:
    order: int = described("from 1", minimum=1)
    instruction: str = described("what to do")
    technique: str | None = described("its name")
    pro_tip: str | None = described("a trick", name="proTip")


@frozen
class FullRecipe:
    title: str = described("as selected")
    cuisine: str = described("one word")
    servings: int = described("people", minimum=1)
    total_minutes: int = described("in all", name="totalTimeMinutes", minimum=1)
    difficulty: str = described("for whom")
    calories: float = described("of one serving", name="caloriesPerServing", minimum=0)
    macros: Macros = described("of one serving")
    ingredients: list[Ingredient] = described("all of them", min_items=1)
    steps: tuple[Step, ...] = described("at most eight", min_items=1, max_items=8)
    finishing_tip: str | None = described("last words", name="finishingTip")
    social_caption: str = described("to share", name="socialCaption")


@frozen
class Detected:
    name: str = described("lower case")
    variety: str = described("cut or kind, else empty")
    quantity: str = described("a number")
    unit: str = described("lower case")
    confidence: float = described("0 to 1", minimum=0, maximum=1)
    category: Literal[
        "vegetable",
        "fruit",
        "protein",
        "dairy",
        "grain",
        "herb",
        "spice",
        "oil",
        "condiment",
        "other",
    ] = described("kind of food")


@frozen
class Photograph:
    ingredients: list[Detected] = described("what is seen", max_items=10)
