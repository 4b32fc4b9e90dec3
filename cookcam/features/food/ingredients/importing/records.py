"""The rows of a bundle: read from the text of a file, checked one by one, gathered for COPY."""

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
"""The kinds of food that are somebody's ingredient, by their names in CSV and JSON; the samples and
acquisitions behind them are not."""

NUTRIENTS = tuple(sorted(IDS))
"""The nutrients of a row of amounts, in its order."""

MAX_NAME_LENGTH = 500
UNKNOWN_DATE = "-infinity"
_DATE = re.compile(
    r"(?P<y>\d{4})-(?P<m>\d\d?)-(?P<d>\d\d?)|(?P<m2>\d\d?)/(?P<d2>\d\d?)/(?P<y2>\d{4})"
)
_UNDECODED = re.compile("[\udc80-\udcff]")
"""Bytes that were not UTF-8, as the error handler `surrogateescape` leaves them."""
GREATEST_ID = 2**31 - 1

_PLACES = {nutrient: place for place, nutrient in enumerate(NUTRIENTS)}
_PLACE_OF_TEXT = {
    str(name): _PLACES[nutrient]
    for name, nutrient in (*((known, known) for known in IDS), *ID_OF_NUMBER.items())
}
_AMOUNTS_REMEMBERED = 10_000
"""Texts of amounts per nutrient."""


class BadRow(Exception):
    """Why a row cannot be used; the words never quote it."""


@define
class Gathered:
    """Rows read so far: lines of COPY's text format, and amounts by food.

    Amounts are kept as the text that COPY reads, in the order of `NUTRIENTS`: a food's lines are
    next to each other, or at least near, so most foods are one row by the time they are written.

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
        """What a branded food has besides: its brand, to be searched for, its category, and which
        version of which product it is."""
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
            known = [r"\N" if value is None else value for value in values]
            yield "\t".join((fdc_id, *known)) + "\n"


Reader = Callable[[Sequence[str], Gathered], None]
"""Reads the fields of a line; adds nothing for one that the catalogue has no use for."""


def food_reader(header: Sequence[str], categories: Mapping[str, str]) -> Reader:
    """Lines of food.csv. Raises BadRow from the reader, KeyError here for a missing column."""
    at_id, at_type, at_name = _places(header, "fdc_id", "data_type", "description")
    at_category = _optional_place(header, "food_category_id")
    at_published = _optional_place(header, "publication_date")

    def read(fields: Sequence[str], gathered: Gathered) -> None:
        data_type = DATA_TYPES.get(fields[at_type])
        if data_type is None:
            gathered.other_types += 1
            return
        given = "" if at_category is None else decoded(fields[at_category], "category").strip()
        category = categories.get(given) or _words(given)
        published = "" if at_published is None else fields[at_published]
        gathered.add_food(_id(fields[at_id]), fields[at_name], category, data_type, published)

    return read


def nutrient_reader(header: Sequence[str]) -> Reader:
    """Lines of food_nutrient.csv.

    There are millions, so what a number means is looked up by its text before it is computed.
    """
    at_id, at_nutrient, at_amount = _places(header, "fdc_id", "nutrient_id", "amount")
    checked: list[dict[str, str]] = [{} for _ in NUTRIENTS]

    def read(fields: Sequence[str], gathered: Gathered) -> None:
        place = _PLACE_OF_TEXT.get(fields[at_nutrient])
        if place is None:
            place = _place(fields[at_nutrient])
        given = fields[at_amount]
        if place is None or not given:
            return
        values = gathered.amounts.get(fields[at_id])
        if values is None:
            values = gathered.amounts_of(_id(fields[at_id]))
        checked_here = checked[place]
        amount = checked_here.get(given)
        if amount is None:
            amount = _amount(place, given)
            if len(checked_here) >= _AMOUNTS_REMEMBERED:
                checked_here.clear()
            checked_here[given] = amount
        known = values[place]
        values[place] = amount if known is None else _greater(known, amount)

    return read


def brand_reader(header: Sequence[str]) -> Reader:
    """Lines of branded_food.csv."""
    at_id, at_owner = _places(header, "fdc_id", "brand_owner")
    others = [header.index(name) for name in ("brand_name",) if name in header]
    at_category = _optional_place(header, "branded_food_category")
    at_gtin = _optional_place(header, "gtin_upc")
    at_modified = _optional_place(header, "modified_date")

    def read(fields: Sequence[str], gathered: Gathered) -> None:
        brand = decoded(
            " ".join(fields[place].strip() for place in (at_owner, *others)).strip(), "brand"
        )
        category = "" if at_category is None else decoded(fields[at_category], "category").strip()
        gtin = "" if at_gtin is None else fields[at_gtin]
        modified = "" if at_modified is None else fields[at_modified]
        gathered.add_brand(_id(fields[at_id]), brand, _words(category), gtin, modified)

    return read


def read_json(food: object, gathered: Gathered) -> list[str]:
    """Adds one food of the JSON form; returns why its brand or some of its amounts are left out.

    Raises BadRow, and has then added nothing.
    """
    if not isinstance(food, dict):
        raise BadRow("the food is not an object")
    known = cast("dict[str, Any]", food)
    data_type = DATA_TYPES.get(str(known.get("dataType")))
    if data_type is None:
        gathered.other_types += 1
        return []
    given, name = known.get("fdcId"), known.get("description")
    if not isinstance(given, int) or not isinstance(name, str):
        raise BadRow("fdcId or description is missing")
    fdc_id = _id(str(given))
    nutrients: object = known.get("foodNutrients")
    if not isinstance(nutrients, list | None):
        raise BadRow("foodNutrients is not a list")
    amounts: list[tuple[int, str]] = []
    refused: list[str] = []
    brand = " ".join(str(known[key]) for key in ("brandOwner", "brandName") if known.get(key))
    try:
        decoded(brand, "brand")
    except BadRow as problem:
        refused.append(str(problem))
        brand = ""
    for entry in cast("list[object]", nutrients or []):
        try:
            found = _amount_of_json(entry)
        except BadRow as problem:
            refused.append(str(problem))
        else:
            amounts += [found] if found else []
    published, modified = (str(known.get(key)) for key in ("publicationDate", "modifiedDate"))
    gathered.add_food(fdc_id, name, _category(known), data_type, published)
    gtin = str(known.get("gtinUpc") or "")
    if brand or gtin:
        gathered.add_brand(fdc_id, brand, None, gtin, modified)
    values = gathered.amounts_of(fdc_id)
    for place, amount in amounts:
        before = values[place]
        values[place] = amount if before is None else _greater(before, amount)
    return refused


def _amount_of_json(entry: object) -> tuple[int, str] | None:
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
    place = _PLACES[nutrient_id]
    return place, _amount(place, str(amount))


def _category(known: dict[str, Any]) -> str | None:
    for key, inner in (
        ("foodCategory", "description"),
        ("wweiaFoodCategory", "wweiaFoodCategoryDescription"),
    ):
        value: object = known.get(key)
        if isinstance(value, dict):
            value = cast("dict[str, object]", value).get(inner)
        if isinstance(value, str) and value.strip():
            return _words(decoded(value, "category"))
    return _words(decoded(str(known.get("brandedFoodCategory") or ""), "category"))


def _places(header: Sequence[str], *names: str) -> tuple[int, ...]:
    missing = [name for name in names if name not in header]
    if missing:
        raise KeyError(", ".join(missing))
    return tuple(header.index(name) for name in names)


def _optional_place(header: Sequence[str], name: str) -> int | None:
    return header.index(name) if name in header else None


def _gtin(text: str) -> str | None:
    """A product's number without leading zeros, so that its 12 to 14 digit forms are equal; None
    where it is no number."""
    digits = text.strip().lstrip("0")
    return digits if digits.isascii() and digits.isdecimal() and len(digits) <= 14 else None


def _date(text: str) -> str:
    """A date as PostgreSQL reads it, from `2024-10-31` (CSV) or `10/31/2024` (JSON)."""
    found = _DATE.fullmatch(text.strip())
    if found is None:
        return UNKNOWN_DATE
    year, month, day = (int(found[name] or found[f"{name}2"]) for name in "ymd")
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
    """Where the amounts of a nutrient belong, however its number is written."""
    if not text.isdecimal():
        raise BadRow("nutrient_id is not a number")
    nutrient = known_id(int(text[:9]))
    return None if nutrient is None else _PLACES[nutrient]


def _amount(place: int, text: str) -> str:
    """The amount as PostgreSQL reads it."""
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


def _words(text: str) -> str | None:
    """A category in words; a number that no table explains is none."""
    plain = clean(text)
    return plain[:200] if plain and not plain.isdecimal() else None


def decoded(text: str, what: str) -> str:
    """The same text. Raises BadRow where bytes of it were not UTF-8."""
    if not text.isascii() and _UNDECODED.search(text):
        raise BadRow(f"{what} is not UTF-8")
    return text


def clean(text: str) -> str:
    """The text on one line, without what PostgreSQL cannot store."""
    return " ".join(text.replace("\0", " ").split())


def _line(values: Iterable[str | None]) -> str:
    """A row in the text format of COPY; `clean` has left no tab and no line break in any value."""
    written = [r"\N" if value is None else value.replace("\\", r"\\") for value in values]
    return "\t".join(written) + "\n"
