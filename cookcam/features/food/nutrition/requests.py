"""What the nutrition routes read."""

from __future__ import annotations

from typing import Annotated, Any, cast

from msgspec import Meta, Struct

from cookcam.errors import ValidationError
from cookcam.features.food.nutrition.models import Item
from cookcam.features.food.nutrition.quantities import GREATEST
from cookcam.features.food.nutrition.service import MOST_ITEMS
from cookcam.features.literals import refused
from cookcam.http import WANTED

NO_INGREDIENTS = "Ingredients array is required"
LONGEST_NAME, LONGEST_QUANTITY = 200, 100
FEWEST_SERVINGS, MOST_SERVINGS = 0.01, 100  # what is divided by less may have no number


_ITEM: dict[str, Any] = {
    "type": "object",
    "properties": {
        "item": {"type": "string", "pattern": r"\S", "maxLength": LONGEST_NAME},
        "quantity": {"type": ["string", "number", "null"], "maxLength": LONGEST_QUANTITY},
        "unit": {"type": ["string", "null"], "maxLength": LONGEST_QUANTITY},
    },
    "required": ["item"],
}


class SmartNutritionRequest(Struct):
    """At most 100 ingredients; `unit` wins over a unit in `quantity`."""

    ingredients: Annotated[
        Any,
        Meta(
            description="Objects {item, quantity, unit?}.",
            extra_json_schema={
                "type": "array",
                "minItems": 1,
                "maxItems": MOST_ITEMS,
                "items": _ITEM,
            },
        ),
        WANTED,
    ] = None
    servings: Annotated[float, Meta(ge=FEWEST_SERVINGS, le=MOST_SERVINGS)] = 2

    def items(self) -> list[Item]:
        """Raises ValidationError."""
        value: object = self.ingredients
        given = cast("list[object]", value) if isinstance(value, list) else []
        if not given:
            raise refused(NO_INGREDIENTS, "ingredients")
        if len(given) > MOST_ITEMS:
            raise refused(f"Too many ingredients (max {MOST_ITEMS})", "ingredients")
        return [_item(entry) for entry in given]


class SaveNutritionRequest(Struct):
    servings: Annotated[int, Meta(ge=1, le=MOST_SERVINGS)] = 1


class ServingsFilter(Struct):
    servings: Annotated[int, Meta(ge=1, le=MOST_SERVINGS)] = 1


def _item(entry: object) -> Item:
    known = cast("dict[str, object]", entry) if isinstance(entry, dict) else {}
    name, quantity, unit = known.get("item"), known.get("quantity"), known.get("unit")
    if isinstance(quantity, int | float) and not isinstance(quantity, bool):
        quantity = f"{min(max(float(quantity), 0.0), GREATEST):f}"
    if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
        raise _refused(f"item must be a text of 1 to {LONGEST_NAME} characters")
    texts = ["" if text is None else text for text in (quantity, unit)]
    if not all(isinstance(text, str) and len(text) <= LONGEST_QUANTITY for text in texts):
        raise _refused(f"quantity and unit must be texts of up to {LONGEST_QUANTITY} characters")
    return Item(name.strip(), str(texts[0]), str(texts[1]))


def _refused(rule: str) -> ValidationError:
    return ValidationError.of("ingredients", rule)
