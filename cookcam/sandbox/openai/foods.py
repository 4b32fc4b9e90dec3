"""Foods of the fake model (`foods.csv`): a portion and its nutrients.

Energy and macros are those of the sandbox's food catalogue (rounded from USDA FoodData Central),
for 100 g, and the grams are what the server takes `count` of `unit` for: the figures of a recipe
agree with the sum of its ingredients.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from importlib.resources import files

from attrs import frozen


@frozen
class Food:
    """A food; a portion is `grams`, or `count` of `unit`. `kcal` and macros in g are for 100 g."""

    name: str
    category: str
    kcal: float
    protein: float
    carbs: float
    fat: float
    grams: int
    count: float
    unit: str
    variety: str = ""
    contains: frozenset[str] = frozenset()


def _food(row: dict[str, str]) -> Food:
    return Food(
        name=row["name"],
        category=row["category"],
        kcal=float(row["kcal"]),
        protein=float(row["protein"]),
        carbs=float(row["carbs"]),
        fat=float(row["fat"]),
        grams=int(row["grams"]),
        count=float(row["count"]),
        unit=row["unit"],
        variety=row["variety"],
        contains=frozenset(row["contains"].split()),
    )


FOODS: Sequence[Food] = [
    _food(row)
    for row in csv.DictReader(
        files("cookcam.sandbox.openai").joinpath("foods.csv").read_text("utf-8").splitlines()
    )
]

STAPLES = ("salt", "black pepper", "olive oil", "garlic", "onion")
"""Seasonings that the recipes add to the ingredients of the request."""

_BY_NAME = {food.name: food for food in FOODS}


def staple(name: str) -> Food:
    return _BY_NAME[name]


def named(name: str) -> Food:
    """The food with the longest name in `name`, else an unknown food of that name."""
    matching = mentioned(name)
    if matching:
        return _BY_NAME[max(matching, key=len)]
    return Food(name.strip().lower(), "other", 80, 3, 12, 2, 80, 0.5, "cups")


def mentioned(text: str) -> list[str]:
    """Names of the foods in a text, in its order; "cherry tomato" is not "tomato" too."""
    alternatives = "|".join(re.escape(name) for name in sorted(_BY_NAME, key=len, reverse=True))
    return list(dict.fromkeys(re.findall(rf"\b(?:{alternatives})\b", _singular(text))))


def _singular(text: str) -> str:
    lowered = re.sub(r"\s+", " ", text.strip().lower())
    lowered = re.sub(r"\b(\w+)(oes)\b", r"\1o", lowered)
    lowered = re.sub(r"\b(\w{3,})ies\b", r"\1y", lowered)
    return re.sub(r"\b(\w{2,}[^su\W])s\b", r"\1", lowered)
