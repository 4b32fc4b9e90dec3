"""The ingredient catalogue: rows, searches, and matches with USDA foods."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import frozen

MAX_QUERY_LENGTH = 100
"""Characters of a search text."""


@frozen
class IngredientRow:
    """A row of `ingredients`. Amounts are per 100 g; None means unknown, not zero."""

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
class Phrase:
    """Words that a row's name must contain, each in one of its forms (`tomato`, `tomatoes`)."""

    words: tuple[tuple[str, ...], ...]


@frozen
class Candidate:
    """A row that contains the words of phrase number `phrase`; its five amounts are known."""

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
    """The food of FoodData Central that matches an ingredient."""

    fdc_id: int
    description: str
    data_type: str


@frozen
class UsdaSyncResult:
    """An ingredient after the update with USDA's amounts; `nutrition`: the updated columns."""

    ingredient: IngredientRow
    match: UsdaMatch
    nutrition: Mapping[str, float]


Json = dict[str, Any]
