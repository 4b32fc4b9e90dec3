"""The rows of a bundle: read from the text of a file, checked one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

from attrs import frozen

from cookcam.features.ingredients.nutrients import GREATEST_AMOUNT, is_amount, known_id

DATA_TYPES: Mapping[str, str] = {
    "foundation_food": "Foundation",
    "sr_legacy_food": "SR Legacy",
    "survey_fndds_food": "Survey (FNDDS)",
    "branded_food": "Branded",
    **{name: name for name in ("Foundation", "SR Legacy", "Survey (FNDDS)", "Branded")},
}
"""The kinds of food that are somebody's ingredient, by their names in CSV and JSON; the samples and
acquisitions behind them are not."""

LONGEST_NAME = 500
GREATEST_ID = 2**31 - 1


class BadRow(Exception):
    """Why a row cannot be used; the words never quote it."""


@frozen
class FoodRow:
    fdc_id: int
    name: str
    category: str | None
    data_type: str


@frozen
class NutrientRow:
    fdc_id: int
    nutrient: int
    amount: float


@frozen
class BrandRow:
    """What a branded food has besides: its brand, to be searched for, and its category."""

    fdc_id: int
    brand: str
    category: str | None


Row = FoodRow | NutrientRow | BrandRow
Table = Literal["food", "nutrient", "brand"]
Reader = Callable[[Sequence[str]], Row | None]
"""Reads the fields of a line; None for one that the catalogue has no use for."""


def food_reader(header: Sequence[str], categories: Mapping[str, str]) -> Reader:
    """Lines of food.csv. Raises BadRow from the reader, KeyError here for a missing column."""
    at_id, at_type, at_name = _places(header, "fdc_id", "data_type", "description")
    at_category = header.index("food_category_id") if "food_category_id" in header else None

    def read(fields: Sequence[str]) -> Row | None:
        data_type = DATA_TYPES.get(fields[at_type])
        if data_type is None:
            return None
        given = "" if at_category is None else fields[at_category].strip()
        return food_row(
            _id(fields[at_id]), fields[at_name], categories.get(given, _words(given)), data_type
        )

    return read


def nutrient_reader(header: Sequence[str]) -> Reader:
    """Lines of food_nutrient.csv."""
    at_id, at_nutrient, at_amount = _places(header, "fdc_id", "nutrient_id", "amount")

    def read(fields: Sequence[str]) -> Row | None:
        text = fields[at_nutrient]
        if not text.isdecimal():
            raise BadRow("nutrient_id is not a number")
        nutrient = known_id(int(text[:9]))
        if nutrient is None or not fields[at_amount]:
            return None
        return NutrientRow(_id(fields[at_id]), nutrient, _amount(fields[at_amount]))

    return read


def brand_reader(header: Sequence[str]) -> Reader:
    """Lines of branded_food.csv."""
    at_id, at_owner = _places(header, "fdc_id", "brand_owner")
    others = [header.index(name) for name in ("brand_name",) if name in header]
    at_category = (
        header.index("branded_food_category") if "branded_food_category" in header else None
    )

    def read(fields: Sequence[str]) -> Row | None:
        brand = " ".join(fields[place].strip() for place in (at_owner, *others)).strip()
        category = "" if at_category is None else fields[at_category].strip()
        return BrandRow(_id(fields[at_id]), _clean(brand)[:LONGEST_NAME], _words(category))

    return read


def rows_of_json(food: object) -> list[Row]:
    """The rows of one food of the JSON form. Raises BadRow."""
    if not isinstance(food, dict):
        raise BadRow("the food is not an object")
    known = cast("dict[str, Any]", food)
    data_type = DATA_TYPES.get(str(known.get("dataType")))
    if data_type is None:
        return []
    fdc_id, name = known.get("fdcId"), known.get("description")
    if not isinstance(fdc_id, int) or not isinstance(name, str):
        raise BadRow("fdcId or description is missing")
    rows: list[Row] = [food_row(_id(str(fdc_id)), name, _category(known), data_type)]
    brand = " ".join(str(known[key]) for key in ("brandOwner", "brandName") if known.get(key))
    if brand:
        rows.append(BrandRow(fdc_id, _clean(brand)[:LONGEST_NAME], None))
    nutrients: object = known.get("foodNutrients")
    for entry in cast("list[object]", nutrients) if isinstance(nutrients, list) else []:
        row = _nutrient_of_json(fdc_id, entry)
        if row is not None:
            rows.append(row)
    return rows


def food_row(fdc_id: int, name: str, category: str | None, data_type: str) -> FoodRow:
    """Raises BadRow."""
    plain = _clean(name)
    if not plain:
        raise BadRow("description is empty")
    if len(plain) > LONGEST_NAME:
        raise BadRow(f"description is longer than {LONGEST_NAME} characters")
    return FoodRow(fdc_id, plain, category, data_type)


def _nutrient_of_json(fdc_id: int, entry: object) -> NutrientRow | None:
    if not isinstance(entry, dict):
        raise BadRow("a nutrient is not an object")
    known = cast("dict[str, Any]", entry)
    nutrient: object = known.get("nutrient")
    number: object = (
        cast("dict[str, object]", nutrient).get("id") if isinstance(nutrient, dict) else None
    )
    amount: object = known.get("amount")
    nutrient_id = known_id(number) if isinstance(number, int) else None
    if nutrient_id is None or amount is None:
        return None
    return NutrientRow(fdc_id, nutrient_id, _amount(str(amount)))


def _category(known: dict[str, Any]) -> str | None:
    for key, inner in (
        ("foodCategory", "description"),
        ("wweiaFoodCategory", "wweiaFoodCategoryDescription"),
    ):
        value: object = known.get(key)
        if isinstance(value, dict):
            value = cast("dict[str, object]", value).get(inner)
        if isinstance(value, str) and value.strip():
            return _words(value)
    return _words(str(known.get("brandedFoodCategory") or ""))


def _places(header: Sequence[str], *names: str) -> tuple[int, ...]:
    missing = [name for name in names if name not in header]
    if missing:
        raise KeyError(", ".join(missing))
    return tuple(header.index(name) for name in names)


def _id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise BadRow("fdc_id is not a number")
    number = int(text)
    if not 0 < number <= GREATEST_ID:
        raise BadRow("fdc_id is out of range")
    return number


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        raise BadRow("amount is not a number") from None
    if not is_amount(amount):
        raise BadRow(f"amount is not from 0 to {GREATEST_AMOUNT:.0f}")
    return amount


def _words(text: str) -> str | None:
    """A category in words; a number that no table explains is none."""
    plain = _clean(text)
    return plain[:200] if plain and not plain.isdecimal() else None


def _clean(text: str) -> str:
    return " ".join(text.replace("\0", " ").split())
