"""The foods the stand-in knows: what kind they are, how much a person eats, what is in them.

Energy and macros are those of the sandbox's food catalogue (rounded from USDA FoodData Central),
for 100 g, and the grams are what the product takes `count` of `unit` for: the figures of a recipe
agree with the sum of its ingredients.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, cast

from attrs import frozen

Category = Literal[
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
]
Contains = Literal["meat", "fish", "egg", "dairy", "gluten", "nut", "honey"]


@frozen
class Food:
    """A food; `grams` a person, as `count` of `unit`. `kcal` and macros in g are for 100 g."""

    name: str
    category: Category
    kcal: int
    protein: float
    carbs: float
    fat: float
    grams: int
    count: float
    unit: str
    variety: str = ""
    contains: frozenset[Contains] = frozenset()


def _foods(
    category: Category,
    *rows: tuple[str, int, float, float, float, int, float, str, str, str],
) -> list[Food]:
    return [
        Food(
            name,
            category,
            kcal,
            protein,
            carbs,
            fat,
            grams,
            count,
            unit,
            variety,
            frozenset(cast("list[Contains]", contains.split())),
        )
        for name, kcal, protein, carbs, fat, grams, count, unit, variety, contains in rows
    ]


FOODS: Sequence[Food] = [
    *_foods(
        "vegetable",
        ("tomato", 18, 0.9, 3.9, 0.2, 120, 1, "pieces", "vine", ""),
        ("cherry tomato", 18, 0.9, 3.9, 0.2, 100, 100, "g", "red", ""),
        ("onion", 40, 1.1, 9.3, 0.1, 60, 0.5, "pieces", "yellow", ""),
        ("red onion", 40, 1.1, 9.3, 0.1, 60, 0.5, "pieces", "red", ""),
        ("scallion", 32, 1.8, 7.3, 0.2, 20, 20, "g", "", ""),
        ("garlic", 149, 6.4, 33, 0.5, 4, 1, "cloves", "", ""),
        ("bell pepper", 31, 1, 6, 0.3, 90, 90, "g", "red", ""),
        ("carrot", 41, 0.9, 9.6, 0.2, 100, 1, "pieces", "", ""),
        ("celery", 16, 0.7, 3, 0.2, 40, 40, "g", "", ""),
        ("potato", 77, 2, 17.5, 0.1, 180, 1, "pieces", "waxy", ""),
        ("sweet potato", 86, 1.6, 20, 0.1, 150, 150, "g", "orange", ""),
        ("broccoli", 34, 2.8, 6.6, 0.4, 91, 1, "cups", "", ""),
        ("cauliflower", 25, 1.9, 5, 0.3, 110, 110, "g", "", ""),
        ("spinach", 23, 2.9, 3.6, 0.4, 60, 2, "cups", "baby", ""),
        ("kale", 35, 2.9, 4.4, 1.5, 50, 50, "g", "curly", ""),
        ("zucchini", 17, 1.2, 3.1, 0.3, 110, 110, "g", "green", ""),
        ("eggplant", 25, 1, 5.9, 0.2, 120, 120, "g", "globe", ""),
        ("mushroom", 22, 3.1, 3.3, 0.3, 80, 1, "cups", "cremini", ""),
        ("cucumber", 15, 0.7, 3.6, 0.1, 90, 90, "g", "", ""),
        ("cabbage", 25, 1.3, 5.8, 0.1, 90, 1, "cups", "green", ""),
        ("green bean", 31, 1.8, 7, 0.2, 90, 90, "g", "", ""),
        ("pea", 81, 5.4, 14.5, 0.4, 70, 70, "g", "garden", ""),
        ("corn", 86, 3.3, 19, 1.4, 80, 80, "g", "sweet", ""),
        ("asparagus", 20, 2.2, 3.9, 0.1, 90, 90, "g", "green", ""),
        ("leek", 61, 1.5, 14, 0.3, 70, 70, "g", "", ""),
        ("pumpkin", 26, 1, 6.5, 0.1, 150, 150, "g", "", ""),
        ("ginger", 80, 1.8, 18, 0.8, 5, 1, "tsp", "fresh", ""),
        ("chili", 40, 1.9, 8.8, 0.4, 8, 8, "g", "red", ""),
        ("lettuce", 15, 1.4, 2.9, 0.2, 60, 60, "g", "romaine", ""),
    ),
    *_foods(
        "fruit",
        ("lemon", 29, 1.1, 9.3, 0.3, 50, 0.5, "pieces", "", ""),
        ("lime", 30, 0.7, 10.5, 0.2, 50, 0.5, "pieces", "", ""),
        ("apple", 52, 0.3, 13.8, 0.2, 90, 0.5, "pieces", "tart", ""),
        ("banana", 89, 1.1, 22.8, 0.3, 120, 1, "pieces", "ripe", ""),
        ("avocado", 160, 2, 8.5, 14.7, 100, 0.5, "pieces", "hass", ""),
        ("mango", 60, 0.8, 15, 0.4, 100, 100, "g", "ripe", ""),
        ("berry", 57, 0.7, 14, 0.3, 75, 75, "g", "mixed", ""),
    ),
    *_foods(
        "protein",
        ("chicken", 143, 22, 0, 6, 150, 5, "oz", "thigh", "meat"),
        ("chicken breast", 165, 31, 0, 3.6, 150, 5, "oz", "skinless", "meat"),
        ("turkey", 135, 24, 0, 4, 150, 5, "oz", "ground", "meat"),
        ("beef", 251, 18.4, 0, 19.1, 140, 5, "oz", "brisket", "meat"),
        ("ground beef", 240, 19, 0, 18, 125, 4, "oz", "lean", "meat"),
        ("pork", 202, 20, 0, 13, 140, 5, "oz", "loin", "meat"),
        ("bacon", 417, 13, 1, 40, 25, 25, "g", "smoked", "meat"),
        ("sausage", 346, 14.3, 0.7, 31.3, 90, 1, "pieces", "pork", "meat"),
        ("salmon", 208, 20, 0, 13, 140, 5, "oz", "fillet", "fish"),
        ("tuna", 116, 25, 0, 1, 80, 3, "oz", "canned", "fish"),
        ("cod", 82, 18, 0, 0.7, 150, 5, "oz", "fillet", "fish"),
        ("shrimp", 85, 20, 0, 0.5, 120, 4, "oz", "peeled", "fish"),
        ("egg", 143, 12.6, 0.7, 9.5, 100, 2, "whole", "large", "egg"),
        ("tofu", 76, 8, 1.9, 4.8, 120, 4, "oz", "soft", ""),
        ("chickpea", 164, 8.9, 27.4, 2.6, 120, 0.5, "cups", "cooked", ""),
        ("black bean", 132, 8.9, 24, 0.5, 120, 0.5, "cups", "cooked", ""),
        ("lentil", 352, 24.6, 63.4, 1.1, 60, 60, "g", "dry", ""),
        ("peanut", 567, 26, 16, 49, 20, 20, "g", "roasted", "nut"),
        ("walnut", 654, 15, 14, 65, 20, 20, "g", "halves", "nut"),
        ("almond", 579, 21, 22, 50, 20, 2, "tbsp", "flaked", "nut"),
    ),
    *_foods(
        "dairy",
        ("milk", 61, 3.2, 4.8, 3.3, 120, 0.5, "cups", "whole", "dairy"),
        ("butter", 717, 0.9, 0.1, 81, 10, 2, "tsp", "unsalted", "dairy"),
        ("cream", 198, 2.4, 4.6, 19.4, 40, 40, "g", "sour", "dairy"),
        ("yogurt", 61, 3.5, 4.7, 3.3, 80, 0.3, "cups", "plain", "dairy"),
        ("cheddar", 403, 23, 3, 33, 30, 1, "oz", "sharp", "dairy"),
        ("mozzarella", 280, 28, 3, 17, 40, 1.5, "oz", "fresh", "dairy"),
        ("parmesan", 431, 38, 4, 29, 15, 15, "g", "aged", "dairy"),
        ("feta", 264, 14, 4, 21, 35, 1.2, "oz", "brined", "dairy"),
        ("cheese", 380, 24, 3, 31, 30, 1, "oz", "mild", "dairy"),
    ),
    *_foods(
        "grain",
        ("rice", 360, 7, 79, 0.6, 75, 0.4, "cups", "long grain", ""),
        ("brown rice", 362, 7.5, 76, 2.7, 75, 0.4, "cups", "long grain", ""),
        ("pasta", 371, 13, 75, 1.5, 90, 3, "oz", "short", "gluten"),
        ("noodle", 360, 11, 72, 2, 85, 3, "oz", "wheat", "gluten"),
        ("quinoa", 368, 14, 64, 6, 60, 0.3, "cups", "white", ""),
        ("couscous", 376, 13, 77, 0.6, 65, 65, "g", "", "gluten"),
        ("bread", 265, 9, 49, 3.2, 70, 2, "slices", "country", "gluten"),
        ("tortilla", 218, 5.7, 44.6, 2.9, 60, 60, "g", "corn", ""),
        ("oat", 389, 17, 66, 7, 45, 0.5, "cups", "rolled", ""),
        ("flour", 364, 10, 76, 1, 30, 30, "g", "wheat", "gluten"),
    ),
    *_foods(
        "herb",
        ("basil", 23, 3.2, 2.7, 0.6, 4, 4, "g", "fresh", ""),
        ("parsley", 36, 3, 6.3, 0.8, 4, 1, "tbsp", "fresh", ""),
        ("cilantro", 23, 2.1, 3.7, 0.5, 4, 4, "g", "fresh", ""),
        ("thyme", 101, 5.6, 24, 1.7, 1, 0.5, "tsp", "dried", ""),
        ("rosemary", 131, 3.3, 21, 5.9, 1, 0.5, "tsp", "fresh", ""),
        ("mint", 44, 3.3, 8.4, 0.7, 4, 4, "g", "fresh", ""),
    ),
    *_foods(
        "spice",
        ("cumin", 375, 18, 44, 22, 2, 0.5, "tsp", "ground", ""),
        ("paprika", 282, 14, 54, 13, 2, 0.5, "tsp", "sweet", ""),
        ("curry powder", 325, 14, 56, 14, 3, 1, "tsp", "mild", ""),
        ("oregano", 265, 9, 69, 4, 1, 0.5, "tsp", "dried", ""),
        ("black pepper", 251, 10, 64, 3, 1, 0.25, "tsp", "ground", ""),
        ("salt", 0, 0, 0, 0, 2, 0.25, "tsp", "fine", ""),
    ),
    *_foods(
        "oil",
        ("olive oil", 884, 0, 0, 100, 10, 2, "tsp", "extra virgin", ""),
        ("vegetable oil", 884, 0, 0, 100, 10, 2, "tsp", "", ""),
        ("sesame oil", 884, 0, 0, 100, 4, 1, "tsp", "toasted", ""),
    ),
    *_foods(
        "condiment",
        ("soy sauce", 53, 8, 5, 0.6, 10, 2, "tsp", "", "gluten"),
        ("vinegar", 88, 0.5, 17, 0, 5, 1, "tsp", "balsamic", ""),
        ("mustard", 60, 3.7, 5.8, 3.3, 5, 1, "tsp", "dijon", ""),
        ("honey", 304, 0.3, 82, 0, 7, 1, "tsp", "", "honey"),
        ("tomato paste", 82, 4.3, 19, 0.5, 15, 1, "tbsp", "", ""),
        ("coconut milk", 197, 2, 2.8, 21, 100, 0.4, "cups", "canned", ""),
    ),
]

STAPLES = ("salt", "black pepper", "olive oil", "garlic", "onion")
"""What every kitchen has; the dishes season with these."""

_BY_NAME = {food.name: food for food in FOODS}


def named(name: str) -> Food:
    """The food a name means: the longest known one in it, else an unknown food of that name."""
    wanted = _singular(name)
    known = [food for food in FOODS if re.search(rf"\b{re.escape(food.name)}\b", wanted)]
    if known:
        return max(known, key=lambda food: len(food.name))
    return Food(name.strip().lower(), "other", 80, 3, 12, 2, 80, 0.5, "cups")


def mentioned(text: str) -> list[str]:
    """The known foods a text names, in its order, a longer name before the shorter within it."""
    lowered = _singular(text)
    found: dict[int, str] = {}
    for food in sorted(FOODS, key=lambda food: -len(food.name)):
        for match in re.finditer(rf"\b{re.escape(food.name)}\b", lowered):
            if not any(at <= match.start() < at + len(name) for at, name in found.items()):
                found[match.start()] = food.name
    return list(dict.fromkeys(found[at] for at in sorted(found)))


def staple(name: str) -> Food:
    return _BY_NAME[name]


def _singular(text: str) -> str:
    lowered = re.sub(r"\s+", " ", text.strip().lower())
    lowered = re.sub(r"\b(\w+)(oes)\b", r"\1o", lowered)
    lowered = re.sub(r"\b(\w{3,})ies\b", r"\1y", lowered)
    return re.sub(r"\b(\w{2,}[^su\W])s\b", r"\1", lowered)
