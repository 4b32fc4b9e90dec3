"""Converts quantities of foods to grams, and grams to nutrients. Pure functions.

The weight of a volume depends on the food.
"""

from __future__ import annotations

from collections.abc import Mapping

from cookcam.features.food.ingredients.names import stems
from cookcam.features.food.nutrition.models import Amounts, Match, Part
from cookcam.features.food.nutrition.quantities import Quantity
from cookcam.features.food.nutrition.units import UNITS, Kind, unit_of

UNKNOWN_UNIT = 100.0
"""Grams of one unknown unit."""

CUP = 240.0
OIL_DENSITY = 0.92  # g/ml

CUP_GRAMS: Mapping[str, float] = {
    **dict.fromkeys(("milk", "water", "broth", "stock", "juice", "wine"), 240.0),
    **dict.fromkeys(("oil", "butter"), 220.0),
    **dict.fromkeys(("flour", "powder", "sugar", "salt"), 200.0),
    **dict.fromkeys(("rice", "quinoa", "grain", "pasta"), 185.0),
    **dict.fromkeys(("onion", "carrot", "pepper", "vegetable"), 150.0),
    "spinach": 30.0,
    "arugula": 20.0,
    "parsley": 60.0,
    "mushroom": 70.0,
    "broccoli": 91.0,
    "cabbage": 89.0,
    "cheddar": 113.0,
    "oat": 81.0,
    "almond": 143.0,
    "walnut": 117.0,
    "blueberry": 148.0,
    "strawberry": 152.0,
    "honey": 339.0,
}
"""Grams per cup: typical weights of the raw or dry food, cut as usual."""
PIECE_GRAMS: Mapping[str, float] = {
    "apple": 180.0,
    "banana": 120.0,
    "orange": 150.0,
    "tomato": 120.0,
    "onion": 110.0,
    "potato": 200.0,
    "egg": 50.0,
    "avocado": 200.0,
}
PIECE = 100.0
_COUNTED = frozenset({"clove", "slice", "sprig", "stalk", "stick"})
"""Units that may be part of a name when the quantity is a bare number."""


def grams_of(quantity: Quantity, name: str) -> float:
    """The weight of `quantity` of the food `name`, in grams."""
    unit = quantity.unit
    words = stems(name)
    if unit.kind is Kind.VOLUME:
        return quantity.amount * _volume_grams(unit.name, unit.size, words)
    if unit.of_food:
        counted = next((word for word in reversed(words) if word in _COUNTED), None)
        if counted is not None:  # "2 garlic cloves": the name has the unit
            return quantity.amount * unit.size * UNITS[counted].size
        return quantity.amount * unit.size * _last_known(words, PIECE_GRAMS, PIECE)
    return quantity.amount * unit.size


def plain_grams(quantity: float, unit: str | None) -> float:
    """The weight of a linked ingredient in grams.

    A millilitre counts as a gram; units without a defined weight or volume count as UNKNOWN_UNIT.
    """
    parsed = unit_of(unit or "")
    if parsed is None or parsed.kind not in (Kind.MASS, Kind.VOLUME) or parsed.name in _UNWEIGHED:
        return quantity * UNKNOWN_UNIT
    return quantity * parsed.size


def matched_part(name: str, quantity: Quantity, match: Match) -> Part:
    """A matched ingredient with its weight and nutrients."""
    grams = grams_of(quantity, name)
    return Part(
        input_name=name,
        matched_name=match.name,
        confidence=match.confidence,
        quantity=quantity.amount,
        unit=quantity.unit.name,
        grams=grams,
        amounts=match.per_100g.times(grams / 100),
    )


_UNWEIGHED = frozenset({"stick", "handful", "bunch", "sprig", "stalk", "splash"})
"""Mass and volume units of unknown size; linked ingredients have no name to estimate it from."""


def _volume_grams(unit: str, millilitres: float, words: list[str]) -> float:
    cup = _last_known(words, CUP_GRAMS, CUP)
    if unit == "cup":
        return cup
    return millilitres * (OIL_DENSITY if "oil" in words else cup / CUP)


def _last_known(words: list[str], table: Mapping[str, float], default: float) -> float:
    """The entry of the last word that the table has: the head of a written name is its end."""
    return next((table[word] for word in reversed(words) if word in table), default)


def rounded(amounts: Amounts) -> Amounts:
    """Round to one decimal, the precision of totals in responses."""
    return Amounts(
        round(amounts.calories, 1),
        round(amounts.protein, 1),
        round(amounts.carbs, 1),
        round(amounts.fat, 1),
        round(amounts.fiber, 1),
        round(amounts.sodium, 1),
    )
