"""From a quantity of a food to grams, and from grams to what is in them.

Pure. A measure of volume weighs what the food weighs that fills it. Source of the weights:
`spec/http-api-core.md` §9.10, §9.12.
"""

from __future__ import annotations

from collections.abc import Mapping

from cookcam.features.food.ingredients.names import stems
from cookcam.features.food.nutrition.models import Amounts, Match, Part
from cookcam.features.food.nutrition.quantities import Quantity
from cookcam.features.food.nutrition.units import UNITS, Kind, unit_of

UNKNOWN_UNIT = 100.0
"""Grams of one of a unit that nobody knows."""

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
"""Grams of a cup. From spinach on: typical weights raw or dry, sliced, chopped or shredded where
that is usual."""
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
"""Units that stand in a name where the quantity is a bare number."""


def grams_of(quantity: Quantity, name: str) -> float:
    """What `quantity` of the food `name` weighs, in grams."""
    unit = quantity.unit
    words = stems(name)
    if unit.kind is Kind.VOLUME:
        return quantity.amount * _volume_grams(unit.name, unit.size, words)
    if unit.of_food:
        counted = next((word for word in reversed(words) if word in _COUNTED), None)
        if counted is not None:  # two large garlic cloves are no two heads of garlic
            return quantity.amount * unit.size * UNITS[counted].size
        return quantity.amount * unit.size * _of(words, PIECE_GRAMS, PIECE)
    return quantity.amount * unit.size


def plain_grams(quantity: float, unit: str | None) -> float:
    """What a linked ingredient of a recipe weighs: weights and volumes by their size, a millilitre
    a gram, everything else UNKNOWN_UNIT."""
    known = unit_of(unit or "")
    if known is None or known.kind not in (Kind.MASS, Kind.VOLUME) or known.name in _UNWEIGHED:
        return quantity * UNKNOWN_UNIT
    return quantity * known.size


def weighed(name: str, quantity: Quantity, match: Match) -> Part:
    """An ingredient with its amounts."""
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
"""Units of the longer table whose size is a guess; a linked ingredient has no name to guess by."""


def _volume_grams(unit: str, millilitres: float, words: list[str]) -> float:
    cup = _of(words, CUP_GRAMS, CUP)
    if unit == "cup":
        return cup
    return millilitres * (OIL_DENSITY if "oil" in words else cup / CUP)


def _of(words: list[str], table: Mapping[str, float], otherwise: float) -> float:
    """Of the last word that the table knows: the head of what people write is its end."""
    return next((table[word] for word in reversed(words) if word in table), otherwise)


def rounded(amounts: Amounts) -> Amounts:
    """One decimal, as totals are shown."""
    return Amounts(
        round(amounts.calories, 1),
        round(amounts.protein, 1),
        round(amounts.carbs, 1),
        round(amounts.fat, 1),
        round(amounts.fiber, 1),
        round(amounts.sodium, 1),
    )
