"""The food catalogue as it is stored, searched and matched with USDA's."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

MAX_QUERY_LENGTH = 100
"""Characters of a search (`spec/http-api-core.md` §8.1)."""

MAX_WORDS = 12
"""Words of a search that count; a name that long is found by its first ones."""

_WORD = re.compile(r"\d+\.\d+|[^\W_]+")


@frozen
class Ingredient:
    """A row of `ingredients`. Amounts are per 100 g; None is unknown, not nothing."""

    id: int
    name: str
    fdc_id: int | None
    category: str | None
    calories_per_100g: float | None
    protein_g_per_100g: float | None
    carbs_g_per_100g: float | None
    fat_g_per_100g: float | None
    fiber_g_per_100g: float | None
    sodium_mg_per_100g: float | None
    sugar_g_per_100g: float | None
    calcium_mg_per_100g: float | None
    iron_mg_per_100g: float | None
    vitamin_c_mg_per_100g: float | None
    potassium_mg_per_100g: float | None
    vitamin_d_mcg_per_100g: float | None
    vitamin_a_mcg_per_100g: float | None
    saturated_fat_g_per_100g: float | None
    trans_fat_g_per_100g: float | None
    cholesterol_mg_per_100g: float | None
    searchable_text: str
    tags: list[str]
    dietary_flags: list[str]
    usda_data_type: str | None
    usda_sync_date: datetime | None
    created_at: datetime
    updated_at: datetime


@frozen
class IngredientPage:
    """A slice of the catalogue; `total` counts all of it, or of its category."""

    ingredients: list[Ingredient]
    total: int


@frozen
class Phrase:
    """Words that a row's name has to hold, each as one of its forms (`tomato`, `tomatoes`)."""

    words: tuple[tuple[str, ...], ...]


@frozen
class Candidate:
    """A row that may be what the phrase number `phrase` means; its five amounts are known."""

    phrase: int
    id: int
    name: str
    usda_data_type: str | None
    calories: float
    protein: float
    carbs: float
    fat: float
    fiber: float | None
    sodium: float


@frozen
class UsdaMatch:
    """The food of FoodData Central that an ingredient was matched with."""

    fdc_id: int
    description: str
    data_type: str


@frozen
class Synced:
    """An ingredient after it took over USDA's numbers; `nutrition` is what was taken, by column."""

    ingredient: Ingredient
    match: UsdaMatch
    nutrition: Mapping[str, float]


def words_of(text: str) -> list[str]:
    """The words of a text as PostgreSQL's `simple` configuration has them, at most MOST_WORDS."""
    return _WORD.findall(unicodedata.normalize("NFC", text).lower())[:MAX_WORDS]


Json = dict[str, Any]
