"""Request bodies of the scan routes."""

from __future__ import annotations

from typing import Annotated, Any, cast

from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.features.food.scans.models import (
    CATEGORIES,
    MAX_CONFIDENCE,
    MIN_CONFIDENCE,
    DetectedIngredient,
)
from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED
from cookcam.images.encoding import BASE64_IMAGE
from cookcam.text import VISIBLE_PATTERN, clean_line

MAX_ITEMS = 100
MAX_TEXT_LENGTH = 100
INVALID_LIST = "Valid ingredients array is required"
NO_FILE = "No image file provided"
NO_DATA = "No image data provided"


_OPTIONAL_TEXT = {"type": ["string", "null"], "maxLength": MAX_TEXT_LENGTH}
_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": MAX_TEXT_LENGTH, "pattern": VISIBLE_PATTERN},
        "variety": _OPTIONAL_TEXT,
        "quantity": {"type": ["string", "number", "null"], "maxLength": MAX_TEXT_LENGTH},
        "unit": _OPTIONAL_TEXT,
        "confidence": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
        "category": {"enum": ["", None, *CATEGORIES]},
    },
    "required": ["name"],
}


class AnalyzeRequest(Struct):
    """A photograph in JSON.

    Some clients send `detected_ingredients`; it is validated and ignored. The prepared image is
    stored with the scan only if `store_image` is true.
    """

    image_data: Annotated[Any, BASE64_IMAGE, DOCUMENTED_AS_REQUIRED] = None
    detected_ingredients: Annotated[
        Any, Meta(extra_json_schema={"type": "array", "maxItems": MAX_ITEMS})
    ] = None
    store_image: bool = False

    def text(self, missing: str = NO_DATA) -> str:
        """The base64 text of the image. Raises ValidationError, with `missing` if there is none."""
        detected = self.detected_ingredients
        if detected is not None and not isinstance(detected, list):
            raise rejected_field("Detected ingredients must be an array", "detected_ingredients")
        if detected is not None and len(cast("list[object]", detected)) > MAX_ITEMS:
            raise rejected_field(f"Too many ingredients (max {MAX_ITEMS})", "detected_ingredients")
        if not isinstance(self.image_data, str) or not self.image_data.strip():
            raise no_image(missing, "image_data must be base64 text of an image")
        return self.image_data


class ScanCorrectionRequest(Struct):
    """The actual ingredients on the photograph."""

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
        items: object = self.ingredients
        if not isinstance(items, list) or len(cast("list[object]", items)) > MAX_ITEMS:
            raise _invalid(f"must be an array of at most {MAX_ITEMS} ingredients")
        return [_ingredient(item) for item in cast("list[object]", items)]


def no_image(error: str, reason: str) -> ValidationError:
    """A 400 whose `error` is the endpoint's text."""
    return ValidationError(reason, error=error, details={"reason": reason})


def _ingredient(item: object) -> DetectedIngredient:
    if not isinstance(item, dict):
        raise _invalid("each ingredient must be an object")
    data = cast("dict[str, Any]", item)
    name = clean_line(_text(data, "name")).lower()
    if not name:
        raise _invalid("each ingredient needs a name of 1 to 100 characters")
    category = "other" if data.get("category") in (None, "") else data["category"]
    if category not in CATEGORIES:
        raise _invalid("category must be one of " + ", ".join(CATEGORIES))
    return DetectedIngredient(
        name=name,
        variety=clean_line(_text(data, "variety")),
        quantity=clean_line(_text(data, "quantity")),
        unit=clean_line(_text(data, "unit")).lower(),
        confidence=_confidence(data.get("confidence")),
        category=category,
    )


def _text(data: dict[str, Any], name: str) -> str:
    """A text of at most 100 characters. Some clients send quantities as numbers."""
    value = data.get(name)
    if value is None:
        return ""
    if name == "quantity" and isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:g}"
    if not isinstance(value, str) or len(value) > MAX_TEXT_LENGTH:
        raise _invalid(f"{name} must be a text of at most {MAX_TEXT_LENGTH} characters")
    return value


def _confidence(value: object) -> float:
    """The confidence, limited to the stored range. An ingredient without one gets the maximum."""
    if value is None:
        return MAX_CONFIDENCE
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise _invalid("confidence must be a number from 0 to 1")
    return min(MAX_CONFIDENCE, max(MIN_CONFIDENCE, float(value)))


def _invalid(rule: str) -> ValidationError:
    return ValidationError(
        f"ingredients: {rule}", error=INVALID_LIST, details={"field": "ingredients", "rule": rule}
    )
