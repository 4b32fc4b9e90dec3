"""Photographs, detected ingredients and stored scans."""

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

MIN_CONFIDENCE, MAX_CONFIDENCE = 0.5, 0.99
"""The range of `confidence` in responses."""


@frozen
class DetectedIngredient:
    """One kind of food. Unknown texts are empty; `confidence` is 0.5 to 0.99."""

    name: str
    variety: str
    quantity: str
    unit: str
    confidence: float
    category: Category


@frozen
class Picture:
    """A photograph prepared for the model, with size and hash of the original file.

    `began` is the time at which its processing began, in seconds of Trio's clock.
    """

    jpeg: bytes = field(repr=False)
    size: int
    sha256: str
    began: float


@frozen
class Analysis:
    """The 1 to 10 detected ingredients, and the duration of the analysis."""

    ingredients: list[DetectedIngredient]
    milliseconds: int

    @property
    def confidence_score(self) -> float:
        """The mean confidence of the ingredients."""
        total = sum(ingredient.confidence for ingredient in self.ingredients)
        return round(total / len(self.ingredients), 4)


@frozen
class ScanResult:
    """The result of one request; `scan_id` is None when nothing was stored."""

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
