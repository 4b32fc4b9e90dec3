"""What USDA publishes, as one stream of rows after another.

| form | what it is |
|---|---|
| CSV | a zip with food.csv, food_nutrient.csv and what names categories and brands |
| JSON | a file, plain or in a zip: `{"FoundationFoods": [...]}`, `{"BrandedFoods": [...]}`, ... |

Nothing is held but the line, or the food, at hand and the small tables of names. Source: the
downloads of FoodData Central and the field descriptions that come with them.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from attrs import frozen

from cookcam.features.ingredients.importing import records
from cookcam.features.ingredients.importing.records import BadRow, Reader, Row

LARGEST_FOOD = 8 * 1024 * 1024
"""Characters of one food in JSON."""
LONGEST_FIELD = 1024 * 1024
CHUNK = 1024 * 1024
_BEFORE_FOODS = re.compile(r'\s*\{\s*"[A-Za-z]+"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


class BundleError(Exception):
    """The file is nothing that can be imported, in words for whoever named it."""


@frozen
class Line:
    """What stood at a place of a file: rows, or why they cannot be used.

    `number` is that of the line in CSV, that of the food in JSON; `read` counts bytes so far.
    """

    number: int
    rows: tuple[Row, ...]
    problem: str | None
    read: int


@frozen
class Part:
    """One file of a bundle: its name, its size in bytes, and its lines after the first `skip`."""

    name: str
    size: int
    lines: Callable[[int], Iterator[Line]]


@frozen
class Bundle:
    """The parts in the order in which they have to be read. `identity` tells one from another."""

    identity: str
    parts: tuple[Part, ...]


@contextmanager
def open_bundle(path: Path) -> Generator[Bundle]:
    """Raises BundleError for a file of another kind."""
    try:
        if not zipfile.is_zipfile(path):
            yield _one_json(path)
            return
        with zipfile.ZipFile(path) as archive:
            yield _archive(path, archive)
    except (OSError, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
        raise BundleError(f"{path.name} cannot be read: {error}") from error


def _one_json(path: Path) -> Bundle:
    with path.open("rb") as file:
        beginning = file.read(4096)
    if not _BEFORE_FOODS.match(beginning.decode("utf-8-sig", "replace")):
        raise BundleError(f"{path.name} is neither a zip nor the JSON of FoodData Central")
    size = path.stat().st_size
    identity = hashlib.sha256(f"{size}:".encode() + beginning).hexdigest()
    return Bundle(
        identity, (Part(path.name, size, lambda skip: _json_lines(path.open("rb"), skip)),)
    )


def _archive(path: Path, archive: zipfile.ZipFile) -> Bundle:
    files = {
        PurePosixPath(info.filename).name: info for info in archive.infolist() if info.file_size
    }
    described = sorted((name, info.CRC, info.file_size) for name, info in files.items())
    identity = hashlib.sha256(repr(described).encode()).hexdigest()
    if "food.csv" in files:
        if "food_nutrient.csv" not in files:
            raise BundleError(f"{path.name} has food.csv and no food_nutrient.csv")
        categories = _categories(archive, files)
        parts = [
            _csv_part(archive, files["food.csv"], lambda h: records.food_reader(h, categories)),
            _csv_part(archive, files["food_nutrient.csv"], records.nutrient_reader),
        ]
        if "branded_food.csv" in files:
            parts.append(_csv_part(archive, files["branded_food.csv"], records.brand_reader))
        return Bundle(identity, tuple(parts))
    found = [info for name, info in files.items() if name.endswith(".json")]
    if not found:
        raise BundleError(f"{path.name} holds neither food.csv nor a JSON file")
    return Bundle(
        identity,
        tuple(
            Part(
                PurePosixPath(info.filename).name,
                info.file_size,
                lambda skip, info=info: _json_lines(archive.open(info), skip),
            )
            for info in found
        ),
    )


def _categories(archive: zipfile.ZipFile, files: dict[str, zipfile.ZipInfo]) -> dict[str, str]:
    """The names of categories by what food.csv calls them."""
    named: dict[str, str] = {}
    for name, key, value in (
        ("wweia_food_category.csv", "wweia_food_category", "wweia_food_category_description"),
        ("food_category.csv", "id", "description"),
    ):
        if name not in files:
            continue
        with archive.open(files[name]) as raw:
            for row in csv.DictReader(io.TextIOWrapper(raw, "utf-8-sig", "replace", newline="")):
                if row.get(key) and row.get(value):
                    named[row[key].strip()] = row[value].strip()
    return named


def _csv_part(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, reader: Callable[[list[str]], Reader]
) -> Part:
    name = PurePosixPath(info.filename).name

    def lines(skip: int) -> Iterator[Line]:
        with archive.open(info) as raw:
            text = io.TextIOWrapper(raw, "utf-8-sig", "replace", newline="")
            yield from _csv_lines(name, raw, text, reader, skip)

    return Part(name, info.file_size, lines)


def _csv_lines(
    name: str,
    raw: object,
    text: io.TextIOWrapper,
    reader: Callable[[list[str]], Reader],
    skip: int,
) -> Iterator[Line]:
    csv.field_size_limit(LONGEST_FIELD)
    lines = csv.reader(text)
    header: list[str] = next(lines, list[str]())
    try:
        read = reader([field.strip() for field in header])
    except KeyError as missing:
        raise BundleError(f"{name} has no column {missing.args[0]}") from None
    width = len(header)
    tell = getattr(raw, "tell", lambda: 0)
    while True:
        try:
            fields = next(lines, None)
        except csv.Error as error:
            yield Line(lines.line_num, (), f"not CSV: {error}", tell())
            continue
        if fields is None:
            return
        number = lines.line_num
        if number <= skip or not fields:
            continue
        if len(fields) != width:
            yield Line(number, (), f"{len(fields)} fields where {width} belong", tell())
            continue
        try:
            row = read(fields)
        except BadRow as problem:
            yield Line(number, (), str(problem), tell())
        else:
            yield Line(number, () if row is None else (row,), None, tell())


def _json_lines(file: BinaryIO | object, skip: int) -> Iterator[Line]:
    """The foods of `{"AnyFoods": [food, ...]}`, one decoded at a time."""
    decoder = json.JSONDecoder()
    with io.TextIOWrapper(file, "utf-8-sig", "replace") as text:  # pyright: ignore
        buffer = text.read(CHUNK)
        beginning = _BEFORE_FOODS.match(buffer)
        if beginning is None:
            raise BundleError("the JSON does not begin with a list of foods")
        at, number, read = beginning.end(), 0, 0
        while True:
            at = _skip_separators(buffer, at)
            if at < len(buffer) and buffer[at] == "]":
                return
            try:
                food, end = decoder.raw_decode(buffer, at)
            except ValueError as error:
                more = text.read(CHUNK)
                if not more or len(buffer) - at > LARGEST_FOOD:
                    raise BundleError(f"food {number + 1} is not JSON: {error}") from None
                read += at
                buffer, at = buffer[at:] + more, 0
                continue
            number, at = number + 1, end
            if number <= skip:
                continue
            try:
                rows, problem = tuple(records.rows_of_json(food)), None
            except BadRow as bad:
                rows, problem = (), str(bad)
            yield Line(number, rows, problem, read + at)


def _skip_separators(buffer: str, at: int) -> int:
    found = _BETWEEN.match(buffer, at)
    return at if found is None else found.end()
