"""Request bodies and queries of the nutrition routes."""

from __future__ import annotations

from typing import Annotated, Any, cast

from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.features.food.nutrition.models import Item
from cookcam.features.food.nutrition.quantities import GREATEST
from cookcam.features.food.nutrition.service import MAX_ITEMS
from cookcam.features.literals import rejected_field
from cookcam.http import DOCUMENTED_AS_REQUIRED

NO_INGREDIENTS = "Ingredients array is required"
MAX_NAME_LENGTH, MAX_QUANTITY_LENGTH = 200, 100
MIN_SERVINGS, MAX_SERVINGS = 0.01, 100  # dividing by less may overflow


_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "pattern": r"\S", "maxLength": MAX_NAME_LENGTH},
        "quantity": {"type": ["string", "number", "null"], "maxLength": MAX_QUANTITY_LENGTH},
        "unit": {"type": ["string", "null"], "maxLength": MAX_QUANTITY_LENGTH},
    },
    "required": ["item"],
}


class SmartNutritionRequest(Struct):
    """At most 100 ingredients; `unit` takes precedence over a unit in `quantity`."""

    ingredients: Annotated[
        Any,
        Meta(
            description="Objects {item, quantity, unit?}.",
            extra_json_schema={
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_ITEMS,
                "items": _ITEM,
            },
        ),
        DOCUMENTED_AS_REQUIRED,
    ] = None
    servings: Annotated[float, Meta(ge=MIN_SERVINGS, le=MAX_SERVINGS)] = 2

    def items(self) -> list[Item]:
        """Raises ValidationError."""
        value: object = self.ingredients
        entries = cast("list[object]", value) if isinstance(value, list) else []
        if not entries:
            raise rejected_field(NO_INGREDIENTS, "ingredients")
        if len(entries) > MAX_ITEMS:
            raise rejected_field(f"Too many ingredients (max {MAX_ITEMS})", "ingredients")
        return [_item(entry) for entry in entries]


class SaveNutritionRequest(Struct):
    servings: Annotated[int, Meta(ge=1, le=MAX_SERVINGS)] = 1


class ServingsFilter(Struct):
    servings: Annotated[int, Meta(ge=1, le=MAX_SERVINGS)] = 1


def _item(entry: object) -> Item:
    data = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    name, quantity, unit = data.get("item"), data.get("quantity"), data.get("unit")
    if isinstance(quantity, int | float) and not isinstance(quantity, bool):
        quantity = f"{min(max(float(quantity), 0.0), GREATEST):f}"
    if not isinstance(name, str) or not name.strip() or len(name) > MAX_NAME_LENGTH:
        raise _invalid(f"item must be a text of 1 to {MAX_NAME_LENGTH} characters")
    texts = ["" if text is None else text for text in (quantity, unit)]
    if not all(isinstance(text, str) and len(text) <= MAX_QUANTITY_LENGTH for text in texts):
        raise _invalid(f"quantity and unit must be texts of up to {MAX_QUANTITY_LENGTH} characters")
    return Item(name.strip(), str(texts[0]), str(texts[1]))


def _invalid(rule: str) -> ValidationError:
    return ValidationError.of("ingredients", rule)
