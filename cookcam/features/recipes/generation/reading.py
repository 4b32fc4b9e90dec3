"""Reads what clients write as wishes: free text with bounds, and nothing rewritten to fit them.

Unknown words are wishes like others (`spec/client-contract.md` §12.4); null is not said (R7). All
of these raise ValidationError.
"""

from __future__ import annotations

import re
from typing import Any, cast

from cookcam.errors import ValidationError
from cookcam.features.literals import rejected_field

MAX_INGREDIENTS, MAX_INGREDIENT_LENGTH = 100, 100
MAX_TEXTS, MAX_TEXT_LENGTH = 50, 100
MAX_TITLE_LENGTH = 200


def ingredients(value: object, literal: str, field: str = "detectedIngredients") -> list[str]:
    """1 to 100 ingredients of 1 to 100 characters; `literal` is the refusal of anything else."""
    if not isinstance(value, list) or not value:
        raise rejected_field(literal, field)
    given = cast("list[object]", value)
    if len(given) > MAX_INGREDIENTS:
        raise rejected_field(f"Too many ingredients (max {MAX_INGREDIENTS})", field)
    for item in given:
        if not isinstance(item, str) or not item.strip() or len(item) > MAX_INGREDIENT_LENGTH:
            raise rejected_field("Each ingredient must be a text of 1 to 100 characters", field)
    return [item.strip() for item in cast("list[str]", given)]


def title(value: object, literal: str, field: str = "selectedTitle") -> str:
    if not isinstance(value, str) or not value.strip():
        raise rejected_field(literal, field)
    if len(value) > MAX_TITLE_LENGTH:
        raise rejected_field(f"Title must be at most {MAX_TITLE_LENGTH} characters", field)
    return value.strip()


def text(
    given: dict[str, Any], field: str, otherwise: str = "", most: int = MAX_TEXT_LENGTH
) -> str:
    value = given.get(field)
    if value is None:
        return otherwise
    if not isinstance(value, str) or len(value) > most:
        raise ValidationError.of(field, f"must be a text of at most {most} characters")
    return value.strip()


def texts(
    given: dict[str, Any],
    field: str,
    otherwise: tuple[str, ...] = (),
    *,
    most: int = MAX_TEXTS,
    longest: int = MAX_TEXT_LENGTH,
) -> list[str]:
    value = given.get(field)
    if value is None:
        return list(otherwise)
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    if len(items) > most or not all(isinstance(i, str) and len(i) <= longest for i in items):
        raise ValidationError.of(
            field, f"must be an array of at most {most} texts of at most {longest} characters"
        )
    return [item.strip() for item in cast("list[str]", items) if item.strip()]


def whole(
    given: dict[str, Any], field: str, otherwise: int | None, lowest: int, highest: int
) -> int | None:
    value = given.get(field)
    if value is None:
        return otherwise
    if isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValidationError.of(field, "must be a number")
    if not lowest <= value <= highest or value != int(value):
        raise ValidationError.of(field, f"must be a whole number from {lowest} to {highest}")
    return int(value)


def yes(given: dict[str, Any], field: str) -> bool:
    value = given.get(field)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValidationError.of(field, "must be true or false")
    return value


def mapping(value: object) -> dict[str, Any] | None:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else None
