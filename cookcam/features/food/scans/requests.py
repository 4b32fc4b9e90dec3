"""What the scan routes read: a photograph as bytes or as text, and a correction."""

from __future__ import annotations

from typing import Annotated, Any, cast

from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.features.food.scans.models import (
    CATEGORIES,
    LEAST_SURE,
    MAX_CONFIDENCE,
    DetectedIngredient,
)
from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED
from cookcam.images.encoding import BASE64_PATTERN
from cookcam.text import clean_line

MAX_ITEMS = 100
MAX_TEXT_LENGTH = 100
INVALID_LIST = "Valid ingredients array is required"
NO_FILE = "No image file provided"
NO_DATA = "No image data provided"


_WORDS = {"type": ["string", "null"], "maxLength": MAX_TEXT_LENGTH}
_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": MAX_TEXT_LENGTH, "pattern": r"\S"},
        "variety": _WORDS,
        "quantity": {"type": ["string", "number", "null"], "maxLength": MAX_TEXT_LENGTH},
        "unit": _WORDS,
        "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "category": {"enum": ["", None, *CATEGORIES]},
    },
    "required": ["name"],
}


class AnalyzeRequest(Struct):
    """A photograph in JSON.

    `detected_ingredients` is what some clients send along; it is checked and not used.
    `store_image: true` keeps the prepared image with the scan; without it none is kept.
    """

    image_data: Annotated[
        Any,
        Meta(
            description="JPEG, PNG, WebP, HEIC or AVIF up to 10 MB as base64, bare or a data URL.",
            extra_json_schema={
                "type": "string",
                "contentEncoding": "base64",
                "pattern": BASE64_PATTERN,
            },
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    detected_ingredients: Annotated[
        Any, Meta(extra_json_schema={"type": "array", "maxItems": MAX_ITEMS})
    ] = None
    store_image: bool = False

    def text(self, otherwise: str = NO_DATA) -> str:
        """The text of the image. Raises ValidationError, with the literal `otherwise` if none."""
        given = self.detected_ingredients
        if given is not None and not isinstance(given, list):
            raise rejected_field("Detected ingredients must be an array", "detected_ingredients")
        if given is not None and len(cast("list[object]", given)) > MAX_ITEMS:
            raise rejected_field(f"Too many ingredients (max {MAX_ITEMS})", "detected_ingredients")
        if not isinstance(self.image_data, str) or not self.image_data.strip():
            raise no_image(otherwise, "image_data must be base64 text of an image")
        return self.image_data


class ScanCorrectionRequest(Struct):
    """The ingredients that are really on the photograph."""

    ingredients: Annotated[
        Any,
        Meta(
            description="Objects {name, variety?, quantity?, unit?, confidence?, category?}.",
            extra_json_schema={"type": "array", "maxItems": MAX_ITEMS, "items": _ITEM},
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None

    def checked(self) -> list[DetectedIngredient]:
        """Raises ValidationError."""
        given: object = self.ingredients
        if not isinstance(given, list) or len(cast("list[object]", given)) > MAX_ITEMS:
            raise _invalid(f"must be an array of at most {MAX_ITEMS} ingredients")
        return [_ingredient(item) for item in cast("list[object]", given)]


def no_image(literal: str, reason: str) -> ValidationError:
    """A 400 in the words of the endpoint."""
    return ValidationError(reason, error=literal, details={"reason": reason})


def _ingredient(item: object) -> DetectedIngredient:
    if not isinstance(item, dict):
        raise _invalid("each ingredient must be an object")
    given = cast("dict[str, Any]", item)
    name = clean_line(_text(given, "name")).lower()
    if not name:
        raise _invalid("each ingredient needs a name of 1 to 100 characters")
    category = "other" if given.get("category") in (None, "") else given["category"]
    if category not in CATEGORIES:
        raise _invalid("category must be one of " + ", ".join(CATEGORIES))
    return DetectedIngredient(
        name=name,
        variety=clean_line(_text(given, "variety")),
        quantity=clean_line(_text(given, "quantity")),
        unit=clean_line(_text(given, "unit")).lower(),
        confidence=_confidence(given.get("confidence")),
        category=category,
    )


def _text(given: dict[str, Any], name: str) -> str:
    """A text of at most 100 characters; a number, as some clients write quantities, as its text."""
    value = given.get(name)
    if value is None:
        return ""
    if name == "quantity" and isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:g}"
    if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH:
        raise _invalid(f"{name} must be a text of at most {MAX_TEXT_LENGTH} characters")
    return value


def _confidence(value: object) -> float:
    """What somebody says is there without saying how sure they are, is there."""
    if value is None:
        return MAX_CONFIDENCE
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _invalid("confidence must be a number from 0 to 1")
    return min(MAX_CONFIDENCE, max(LEAST_SURE, float(value)))


def _invalid(rule: str) -> ValidationError:
    return ValidationError(
        f"ingredients: {rule}", error=INVALID_LIST, details={"field": "ingredients", "rule": rule}
    )
