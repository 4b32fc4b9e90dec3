"""Parses free-form request fields: limits are enforced, values are never altered to fit.

Unknown texts are accepted as preferences like any other; null counts as absent. All functions raise
ValidationError.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from cookcam.errors import ValidationError
from cookcam.features.literals import rejected_field

MAX_INGREDIENTS, MAX_INGREDIENT_LENGTH = 100, 100
MAX_TEXTS, MAX_TEXT_LENGTH = 50, 100
MAX_TITLE_LENGTH = 200
MAX_ID_LENGTH = 128


def ingredients(value: object, error: str, field: str = "detectedIngredients") -> list[str]:
    """1 to 100 ingredients of 1 to 100 characters; `error` is the text for a missing list."""
    if not isinstance(value, list) or not value:
        raise rejected_field(error, field)
    items = cast("list[object]", value)
    if len(items) > MAX_INGREDIENTS:
        raise rejected_field(f"Too many ingredients (max {MAX_INGREDIENTS})", field)
    for item in items:
        if not isinstance(item, str) or not item.strip() or len(item) > MAX_INGREDIENT_LENGTH:
            raise rejected_field("Each ingredient must be a text of 1 to 100 characters", field)
    return [item.strip() for item in cast("list[str]", items)]


def selected_title(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise rejected_field("Selected recipe title is required", "selectedTitle")
    if len(value) > MAX_TITLE_LENGTH:
        raise rejected_field(
            f"Title must be at most {MAX_TITLE_LENGTH} characters", "selectedTitle"
        )
    return value.strip()


def session_id(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise rejected_field("Session ID is required", "sessionId")
    if len(value) > MAX_ID_LENGTH:
        raise ValidationError.of("sessionId", f"must have at most {MAX_ID_LENGTH} characters")
    return value


def text(
    data: Mapping[str, Any], field: str, default: str = "", max_length: int = MAX_TEXT_LENGTH
) -> str:
    value = data.get(field)
    if value is None:
        return default
    if not isinstance(value, str) or len(value) > max_length:
        raise ValidationError.of(field, f"must be a text of at most {max_length} characters")
    return value.strip()


def texts(
    data: Mapping[str, Any],
    field: str,
    default: tuple[str, ...] = (),
    *,
    max_items: int = MAX_TEXTS,
    max_length: int = MAX_TEXT_LENGTH,
) -> list[str]:
    """A list of texts; a single text counts as a list of one. Empty texts are left out."""
    value = data.get(field)
    if value is None:
        return list(default)
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    if len(items) > max_items or not all(
        isinstance(i, str) and len(i) <= max_length for i in items
    ):
        raise ValidationError.of(
            field,
            f"must be an array of at most {max_items} texts of at most {max_length} characters",
        )
    return [item.strip() for item in cast("list[str]", items) if item.strip()]


def integer(
    data: Mapping[str, Any], field: str, default: int | None, minimum: int, maximum: int
) -> int | None:
    """A whole number, which may be written as a text."""
    value = data.get(field)
    if value is None:
        return default
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError.of(field, "must be a number")
    if not minimum <= value <= maximum or value != int(value):
        raise ValidationError.of(field, f"must be a whole number from {minimum} to {maximum}")
    return int(value)


def boolean(data: Mapping[str, Any], field: str) -> bool:
    value = data.get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValidationError.of(field, "must be true or false")
    return value


def mapping(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None


def preview_required() -> ValidationError:
    return rejected_field("Selected preview recipe is required", "selectedPreview")
