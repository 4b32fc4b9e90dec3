"""What is on a photograph, decided by its bytes: the same picture always shows the same food."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from random import Random
from typing import Any

from cookcam.sandbox.openai.pantry import FOODS, Food


def detected(images: Sequence[str], most: int = 6) -> list[dict[str, Any]]:
    """Three to `most` foods, the surest first. `images` are data URLs."""
    seen = sha256("".join(images).encode()).digest()
    random = Random(int.from_bytes(seen[:8], "big"))  # noqa: S311 # not for secrets
    shown = [food for food in FOODS if food.category in ("vegetable", "fruit", "protein", "dairy")]
    foods = random.sample(shown, random.randint(3, most))
    sure = sorted((round(random.uniform(0.55, 0.98), 2) for _ in foods), reverse=True)
    return [_item(food, confidence) for food, confidence in zip(foods, sure, strict=True)]


def _item(food: Food, confidence: float) -> dict[str, Any]:
    return {
        "name": food.name,
        "variety": food.variety,
        "quantity": f"{food.count * 2:g}",
        "unit": food.unit,
        "confidence": confidence,
        "category": food.category,
    }
