"""Mapping of FoodData Central's nutrients to the columns of `ingredients`.

Ids are FDC's nutrient ids in order of preference: energy has three, total sugars two. FNDDS files
use the older three-digit nutrient numbers, which differ from all ids. Source: `nutrient.csv` in
USDA's downloads.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

COLUMNS: Mapping[str, tuple[int, ...]] = {
    "calories_per_100g": (1008, 2047, 2048),
    "protein_g_per_100g": (1003,),
    "carbs_g_per_100g": (1005,),
    "fat_g_per_100g": (1004,),
    "fiber_g_per_100g": (1079,),
    "sugar_g_per_100g": (1063, 2000),
    "sodium_mg_per_100g": (1093,),
    "calcium_mg_per_100g": (1087,),
    "iron_mg_per_100g": (1089,),
    "vitamin_c_mg_per_100g": (1162,),
    "potassium_mg_per_100g": (1092,),
    "vitamin_d_mcg_per_100g": (1114,),
    "vitamin_a_mcg_per_100g": (1106,),
    "saturated_fat_g_per_100g": (1258,),
    "trans_fat_g_per_100g": (1257,),
    "cholesterol_mg_per_100g": (1253,),
}

IDS = frozenset(nutrient for ids in COLUMNS.values() for nutrient in ids)

ID_OF_NUMBER: Mapping[int, int] = {
    208: 1008,
    957: 2047,
    958: 2048,
    203: 1003,
    205: 1005,
    204: 1004,
    291: 1079,
    269: 2000,
    307: 1093,
    301: 1087,
    303: 1089,
    401: 1162,
    306: 1092,
    328: 1114,
    320: 1106,
    606: 1258,
    605: 1257,
    601: 1253,
}
"""Older nutrient number → id."""

MAX_AMOUNT_OF_UNIT: Mapping[str, float] = {"g": 100.0, "mg": 100_000.0, "mcg": 1_000_000.0}
"""The largest plausible amount per 100 g by unit. Grams and milligrams cannot exceed the food's own
weight; the highest real value in micrograms, vitamin A in cod liver oil, is 30,000."""

MAX_AMOUNT_OF_COLUMN: Mapping[str, float] = {
    "calories_per_100g": 1_000.0,  # pure fat has 902 kcal; labels round per serving
    "sodium_mg_per_100g": 40_000.0,  # table salt is 39.3 % sodium
}

MAX_AMOUNTS: Mapping[int, float] = {
    nutrient: MAX_AMOUNT_OF_COLUMN.get(column)
    or MAX_AMOUNT_OF_UNIT[column.removesuffix("_per_100g").rpartition("_")[2]]
    for column, ids in COLUMNS.items()
    for nutrient in ids
}
"""The largest plausible amount per 100 g by nutrient id: larger values are errors of the source."""


def known_id(nutrient: int) -> int | None:
    """The nutrient's id, given its id or older number; None if no column uses it."""
    nutrient = ID_OF_NUMBER.get(nutrient, nutrient)
    return nutrient if nutrient in IDS else None


def is_amount(nutrient: int, amount: float) -> bool:
    """Whether the amount per 100 g is plausible for the nutrient id; False for NaN."""
    return math.isfinite(amount) and 0 <= amount <= MAX_AMOUNTS[nutrient]


def columns_of(amounts: Iterable[tuple[int, float]]) -> dict[str, float]:
    """Columns from `(nutrient, amount per 100 g)` pairs; implausible amounts are left out."""
    plausible = {
        nutrient: amount
        for number, amount in amounts
        if (nutrient := known_id(number)) is not None and is_amount(nutrient, amount)
    }
    columns: dict[str, float] = {}
    for column, ids in COLUMNS.items():
        amount = next((plausible[nutrient] for nutrient in ids if nutrient in plausible), None)
        if amount is not None:
            columns[column] = amount
    return columns
