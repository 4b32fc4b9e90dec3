"""Reads and validates the rows of USDA's files and collects them for COPY."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any, cast

from attrs import define, field

from cookcam.features.food.ingredients.nutrients import (
    ID_OF_NUMBER,
    IDS,
    MAX_AMOUNTS,
    is_amount,
    known_id,
)

DATA_TYPES: Mapping[str, str] = {
    "foundation_food": "Foundation",
    "sr_legacy_food": "SR Legacy",
    "survey_fndds_food": "Survey (FNDDS)",
    "branded_food": "Branded",
    **{name: name for name in ("Foundation", "SR Legacy", "Survey (FNDDS)", "Branded")},
}
"""The imported types of food, by their names in CSV and JSON."""

NUTRIENTS = tuple(sorted(IDS))
"""The columns of a row of amounts."""

MAX_NAME_LENGTH = 500
UNKNOWN_DATE = "-infinity"
_DATE = re.compile(
    r"(?P<y>\d{4})-(?P<m>\d\d?)-(?P<d>\d\d?)|(?P<m2>\d\d?)/(?P<d2>\d\d?)/(?P<y2>\d{4})"
)
_UNDECODED = re.compile("[\udc80-\udcff]")
"""Bytes that are not UTF-8, as decoded by the error handler `surrogateescape`."""
GREATEST_ID = 2**31 - 1

_PLACES = {nutrient: place for place, nutrient in enumerate(NUTRIENTS)}
_PLACE_OF_TEXT = {
    str(name): _PLACES[nutrient]
    for name, nutrient in (*((nutrient, nutrient) for nutrient in IDS), *ID_OF_NUMBER.items())
}
_MAX_CACHED_AMOUNTS = 10_000
"""Validated texts cached per nutrient."""


class BadRow(Exception):
    """A row is unusable. The message gives the reason and never quotes the row."""


@define
class CollectedRows:
    """Rows read so far: lines of COPY's text format, and amounts by food.

    Amounts are stored as the text that COPY reads, in the order of `NUTRIENTS`. The lines of one
    food are close to each other, so most foods have a single row of amounts when written.

    `other_types` counts foods of the types that are not imported.
    """

    other_types: int = 0
    foods: list[str] = field(factory=list[str])
    brands: list[str] = field(factory=list[str])
    amounts: dict[str, list[str | None]] = field(factory=dict[str, list[str | None]])

    def add_food(
        self, fdc_id: int, name: str, category: str | None, data_type: str, published: str
    ) -> None:
        """Raises BadRow."""
        plain = clean(decoded(name, "description"))
        if not plain:
            raise BadRow("description is empty")
        if len(plain) > MAX_NAME_LENGTH:
            raise BadRow(f"description is longer than {MAX_NAME_LENGTH} characters")
        self.foods.append(_line((str(fdc_id), plain, category, data_type, _date(published))))

    def add_brand(
        self, fdc_id: int, brand: str, category: str | None, gtin: str, modified: str
    ) -> None:
        """Add the brand (for searches), category, product number and version date of a food."""
        self.brands.append(
            _line(
                (
                    str(fdc_id),
                    clean(brand)[:MAX_NAME_LENGTH],
                    category,
                    _gtin(gtin),
                    _date(modified),
                )
            )
        )

    def amounts_of(self, fdc_id: int) -> list[str | None]:
        return self.amounts.setdefault(str(fdc_id), [None] * len(NUTRIENTS))

    def lines_of_amounts(self) -> Iterable[str]:
        for fdc_id, values in self.amounts.items():
            columns = [r"\N" if value is None else value for value in values]
            yield "\t".join((fdc_id, *columns)) + "\n"


Reader = Callable[[Sequence[str], CollectedRows], None]
"""Reads the fields of a line; skips lines that the catalogue does not use."""


def food_reader(header: Sequence[str], categories: Mapping[str, str]) -> Reader:
    """A reader of food.csv, which raises BadRow. Raises KeyError for a missing column."""
    at_id, at_type, at_name = _places(header, "fdc_id", "data_type", "description")
    at_category = _optional_place(header, "food_category_id")
    at_published = _optional_place(header, "publication_date")

    def read(fields: Sequence[str], collected: CollectedRows) -> None:
        data_type = DATA_TYPES.get(fields[at_type])
        if data_type is None:
            collected.other_types += 1
            return
        text = "" if at_category is None else decoded(fields[at_category], "category").strip()
        category = categories.get(text) or _category_name(text)
        published = "" if at_published is None else fields[at_published]
        collected.add_food(_id(fields[at_id]), fields[at_name], category, data_type, published)

    return read


def nutrient_reader(header: Sequence[str]) -> Reader:
    """A reader of food_nutrient.csv.

    The file has millions of lines, so validated amounts are cached by their text.
    """
    at_id, at_nutrient, at_amount = _places(header, "fdc_id", "nutrient_id", "amount")
    validated: list[dict[str, str]] = [{} for _ in NUTRIENTS]

    def read(fields: Sequence[str], collected: CollectedRows) -> None:
        place = _PLACE_OF_TEXT.get(fields[at_nutrient])
        if place is None:
            place = _place(fields[at_nutrient])
        text = fields[at_amount]
        if place is None or not text:
            return
        values = collected.amounts.get(fields[at_id])
        if values is None:
            values = collected.amounts_of(_id(fields[at_id]))
        cached = validated[place]
        amount = cached.get(text)
        if amount is None:
            amount = _amount(place, text)
            if len(cached) >= _MAX_CACHED_AMOUNTS:
                cached.clear()
            cached[text] = amount
        previous = values[place]
        values[place] = amount if previous is None else _greater(previous, amount)

    return read


def brand_reader(header: Sequence[str]) -> Reader:
    """A reader of branded_food.csv."""
    at_id, at_owner = _places(header, "fdc_id", "brand_owner")
    others = [header.index(name) for name in ("brand_name",) if name in header]
    at_category = _optional_place(header, "branded_food_category")
    at_gtin = _optional_place(header, "gtin_upc")
    at_modified = _optional_place(header, "modified_date")

    def read(fields: Sequence[str], collected: CollectedRows) -> None:
        brand = decoded(
            " ".join(fields[place].strip() for place in (at_owner, *others)).strip(), "brand"
        )
        category = "" if at_category is None else decoded(fields[at_category], "category").strip()
        gtin = "" if at_gtin is None else fields[at_gtin]
        modified = "" if at_modified is None else fields[at_modified]
        collected.add_brand(_id(fields[at_id]), brand, _category_name(category), gtin, modified)

    return read


def read_json(food: object, collected: CollectedRows) -> list[str]:
    """Add one food in JSON; returns the reasons why its brand or some amounts were left out.

    Raises BadRow and adds nothing when the food itself is unusable.
    """
    if not isinstance(food, dict):
        raise BadRow("the food is not an object")
    fields = cast("dict[str, Any]", food)
    data_type = DATA_TYPES.get(str(fields.get("dataType")))
    if data_type is None:
        collected.other_types += 1
        return []
    number, name = fields.get("fdcId"), fields.get("description")
    if not isinstance(number, int) or not isinstance(name, str):
        raise BadRow("fdcId or description is missing")
    fdc_id = _id(str(number))
    nutrients: object = fields.get("foodNutrients")
    if not isinstance(nutrients, list | None):
        raise BadRow("foodNutrients is not a list")
    amounts: list[tuple[int, str]] = []
    rejected: list[str] = []
    brand = " ".join(str(fields[key]) for key in ("brandOwner", "brandName") if fields.get(key))
    try:
        decoded(brand, "brand")
    except BadRow as problem:
        rejected.append(str(problem))
        brand = ""
    for entry in cast("list[object]", nutrients or []):
        try:
            amount_at = _amount_of_json(entry)
        except BadRow as problem:
            rejected.append(str(problem))
        else:
            amounts += [amount_at] if amount_at else []
    published, modified = (str(fields.get(key)) for key in ("publicationDate", "modifiedDate"))
    collected.add_food(fdc_id, name, _category(fields), data_type, published)
    gtin = str(fields.get("gtinUpc") or "")
    if brand or gtin:
        collected.add_brand(fdc_id, brand, None, gtin, modified)
    values = collected.amounts_of(fdc_id)
    for place, amount in amounts:
        previous = values[place]
        values[place] = amount if previous is None else _greater(previous, amount)
    return rejected


def _amount_of_json(entry: object) -> tuple[int, str] | None:
    if not isinstance(entry, dict):
        raise BadRow("a nutrient is not an object")
    fields = cast("dict[str, Any]", entry)
    nutrient: object = fields.get("nutrient")
    number: object = (
        cast("dict[str, object]", nutrient).get("id") if isinstance(nutrient, dict) else None
    )
    amount: object = fields.get("amount")
    nutrient_id = known_id(number) if isinstance(number, int) else None
    if nutrient_id is None or amount is None:
        return None
    place = _PLACES[nutrient_id]
    return place, _amount(place, str(amount))


def _category(fields: dict[str, Any]) -> str | None:
    for key, inner in (
        ("foodCategory", "description"),
        ("wweiaFoodCategory", "wweiaFoodCategoryDescription"),
    ):
        value: object = fields.get(key)
        if isinstance(value, dict):
            value = cast("dict[str, object]", value).get(inner)
        if isinstance(value, str) and value.strip():
            return _category_name(decoded(value, "category"))
    return _category_name(decoded(str(fields.get("brandedFoodCategory") or ""), "category"))


def _places(header: Sequence[str], *names: str) -> tuple[int, ...]:
    missing = [name for name in names if name not in header]
    if missing:
        raise KeyError(", ".join(missing))
    return tuple(header.index(name) for name in names)


def _optional_place(header: Sequence[str], name: str) -> int | None:
    return header.index(name) if name in header else None


def _gtin(text: str) -> str | None:
    """A product number without leading zeros, so that its 12 to 14 digit forms are equal.

    None when it is not a number.
    """
    digits = text.strip().lstrip("0")
    return digits if digits.isascii() and digits.isdecimal() and len(digits) <= 14 else None


def _date(text: str) -> str:
    """A date in PostgreSQL's format, from `2024-10-31` (CSV) or `10/31/2024` (JSON)."""
    match = _DATE.fullmatch(text.strip())
    if match is None:
        return UNKNOWN_DATE
    year, month, day = (int(match[name] or match[f"{name}2"]) for name in "ymd")
    try:
        return date(year, month, day).isoformat()
    except ValueError:
        return UNKNOWN_DATE


def _id(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise BadRow("fdc_id is not a number")
    number = int(text)
    if not 0 < number <= GREATEST_ID:
        raise BadRow("fdc_id is out of range")
    return number


def _place(text: str) -> int | None:
    """The column of a nutrient, given its id or older number as text."""
    if not text.isdecimal():
        raise BadRow("nutrient_id is not a number")
    nutrient = known_id(int(text[:9]))
    return None if nutrient is None else _PLACES[nutrient]


def _amount(place: int, text: str) -> str:
    """Validate an amount and return it in PostgreSQL's format."""
    nutrient = NUTRIENTS[place]
    try:
        amount = float(text)
    except ValueError:
        raise BadRow(f"the amount of nutrient {nutrient} is not a number") from None
    if not is_amount(nutrient, amount):
        raise BadRow(
            f"the amount of nutrient {nutrient} is not from 0 to {MAX_AMOUNTS[nutrient]:.0f}"
        )
    return repr(amount)


def _greater(one: str, other: str) -> str:
    return max(one, other, key=float)


def _category_name(text: str) -> str | None:
    """A category's name; None for a number that no category table resolves."""
    plain = clean(text)
    return plain[:200] if plain and not plain.isdecimal() else None


def decoded(text: str, what: str) -> str:
    """Return `text`. Raises BadRow if it contains bytes that are not UTF-8."""
    if not text.isascii() and _UNDECODED.search(text):
        raise BadRow(f"{what} is not UTF-8")
    return text


def clean(text: str) -> str:
    """Collapse white space and NUL characters, which PostgreSQL cannot store."""
    return " ".join(text.replace("\0", " ").split())


def _line(values: Iterable[str | None]) -> str:
    """A row in COPY's text format. Values must not contain tabs or line breaks; see `clean`."""
    written = [r"\N" if value is None else value.replace("\\", r"\\") for value in values]
    return "\t".join(written) + "\n"
