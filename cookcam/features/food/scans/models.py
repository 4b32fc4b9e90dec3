"""Photographs, what is seen on them, and what is kept of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

from attrs import field, frozen

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

CATEGORIES: tuple[Category, ...] = get_args(Category)

LEAST_SURE, MAX_CONFIDENCE = 0.5, 0.99
"""The range of confidence on the wire (`spec/http-api-core.md` §10)."""


@frozen
class DetectedIngredient:
    """One kind of food; texts that are not known are empty, `confidence` is 0.5 to 0.99."""

    name: str
    variety: str
    quantity: str
    unit: str
    confidence: float
    category: Category


@frozen
class Picture:
    """A photograph made ready for the model, and what is to be known of the file it came in.

    `began` is when the work on it began, on the run's clock in seconds.
    """

    jpeg: bytes = field(repr=False)
    size: int
    sha256: str
    began: float


@frozen
class Analysis:
    """What was seen: 1 to 10 ingredients, and how long the seeing took."""

    ingredients: list[DetectedIngredient]
    milliseconds: int

    @property
    def confidence_score(self) -> float:
        """The mean over the ingredients."""
        total = sum(ingredient.confidence for ingredient in self.ingredients)
        return round(total / len(self.ingredients), 4)


@frozen
class ScanResult:
    """The outcome of one request; `scan_id` is None where nothing was stored."""

    scan_id: UUID | None
    ingredients: list[DetectedIngredient]
    confidence_score: float
    xp_awarded: int


@frozen
class Scan:
    """A row of `ingredient_scans`. `image_url` is an object key of the bucket `scans`, if any."""

    id: UUID
    user_id: UUID
    detected_ingredients: list[dict[str, Any]]
    corrected: bool
    image_url: str | None
    confidence_score: float | None
    scan_metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
