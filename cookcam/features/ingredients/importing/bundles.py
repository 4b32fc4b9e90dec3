"""What USDA publishes, as one stretch of rows after another.

| form | what it is |
|---|---|
| CSV | a zip with food.csv, food_nutrient.csv and what names categories and brands |
| JSON | a file, plain or in a zip: `{"FoundationFoods": [...]}`, `{"BrandedFoods": [...]}`, ... |

Nothing is held but the stretch at hand and the small tables of names. Source: the
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
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from attrs import define, field, frozen

from cookcam.features.ingredients.importing import records
from cookcam.features.ingredients.importing.records import BadRow, Gathered, Reader

LARGEST_FOOD = 8 * 1024 * 1024
"""Characters of one food in JSON."""
LONGEST_FIELD = 1024 * 1024
CHUNK = 1024 * 1024
AT_A_TIME = 1000
"""Lines between two looks at how much a stretch holds."""
MOST_LINES = 1_000_000
"""Lines of a stretch, however little they hold."""
_BEFORE_FOODS = re.compile(r'\s*\{\s*"[A-Za-z]+"\s*:\s*\[')
_BETWEEN = re.compile(r"[\s,]*")


class BundleError(Exception):
    """The file is nothing that can be imported, in words for whoever named it."""


class _CsvLines(Iterator[list[str]], Protocol):
    """What `csv.reader` gives."""

    @property
    def line_num(self) -> int: ...


@define
class Stretch:
    """Some lines of a file that follow one another: what they hold, and why some are of no use.

    `last` and the numbers of `problems` are those of lines in CSV, of foods in JSON; `read` counts
    the bytes of the file so far.
    """

    last: int
    lines: int = 0
    read: int = 0
    gathered: Gathered = field(factory=Gathered)
    problems: list[tuple[int, str]] = field(factory=list[tuple[int, str]])

    def is_full(self, rows: int) -> bool:
        held = self.gathered
        return (
            len(held.foods) + len(held.brands) + len(held.amounts) >= rows
            or len(self.problems) >= rows
            or self.lines >= MOST_LINES
        )


@frozen
class Part:
    """One file of a bundle: its name and its size in bytes.

    `stretches(after, rows)` reads what follows line `after`, so many rows at a time; a stretch may
    hold up to `AT_A_TIME` lines more.
    """

    name: str
    size: int
    stretches: Callable[[int, int], Iterator[Stretch]]


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
        identity,
        (
            Part(
                path.name,
                size,
                lambda after, rows: _json_stretches(path.open("rb"), after, rows),
            ),
        ),
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
            _csv_part(archive, files["food.csv"], lambda h: records.food_reader(h, categories))
        ]
        if "branded_food.csv" in files:
            parts.append(_csv_part(archive, files["branded_food.csv"], records.brand_reader))
        parts.append(_csv_part(archive, files["food_nutrient.csv"], records.nutrient_reader))
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
                lambda after, rows, info=info: _json_stretches(archive.open(info), after, rows),
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
                    named[row[key].strip()] = records.clean(row[value])
    return named


def _csv_part(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, reader: Callable[[list[str]], Reader]
) -> Part:
    name = PurePosixPath(info.filename).name

    def stretches(after: int, rows: int) -> Iterator[Stretch]:
        with archive.open(info) as raw:
            text = io.TextIOWrapper(raw, "utf-8-sig", "replace", newline="")
            for stretch in _csv_stretches(name, text, reader, after, rows):
                stretch.read = raw.tell()
                yield stretch

    return Part(name, info.file_size, stretches)


def _csv_stretches(
    name: str,
    text: io.TextIOWrapper,
    reader: Callable[[list[str]], Reader],
    after: int,
    rows: int,
) -> Iterator[Stretch]:
    csv.field_size_limit(LONGEST_FIELD)
    lines = csv.reader(text)
    header: list[str] = next(lines, list[str]())
    try:
        read = reader([field.strip() for field in header])
    except KeyError as missing:
        raise BundleError(f"{name} has no column {missing.args[0]}") from None
    _skip_lines(lines, after)
    while True:
        stretch = Stretch(lines.line_num)
        while not stretch.is_full(rows) and _read_lines(lines, len(header), read, stretch, rows):
            stretch.last = lines.line_num
        if not stretch.lines:
            return
        yield stretch


def _read_lines(lines: _CsvLines, width: int, read: Reader, stretch: Stretch, rows: int) -> bool:
    """Reads some lines more; False when there was none left."""
    gathered, problems, found = stretch.gathered, stretch.problems, 0
    try:
        for fields in islice(lines, min(rows, AT_A_TIME)):
            found += 1
            if len(fields) != width:
                if fields:
                    problems.append((lines.line_num, f"{len(fields)} fields where {width} belong"))
                continue
            try:
                read(fields, gathered)
            except BadRow as problem:
                problems.append((lines.line_num, str(problem)))
    except csv.Error as error:
        found += 1
        problems.append((lines.line_num, f"not CSV: {error}"))
    stretch.lines += found
    return found > 0


def _skip_lines(lines: _CsvLines, after: int) -> None:
    while lines.line_num < after:
        with suppress(csv.Error):  # told when it was read
            if next(lines, None) is None:
                return


def _json_stretches(file: IO[bytes], after: int, rows: int) -> Iterator[Stretch]:
    stretch = Stretch(after)
    for number, food, read in _foods(file):
        if number <= after:
            continue
        stretch.last, stretch.read = number, read
        stretch.lines += 1
        try:
            records.read_json(food, stretch.gathered)
        except BadRow as problem:
            stretch.problems.append((number, str(problem)))
        if stretch.is_full(rows):
            yield stretch
            stretch = Stretch(number, read=read)
    if stretch.lines:
        yield stretch


def _foods(file: IO[bytes]) -> Iterator[tuple[int, object, int]]:
    """The foods of `{"AnyFoods": [food, ...]}`, one decoded at a time: number, food, bytes read."""
    decoder = json.JSONDecoder()
    with io.TextIOWrapper(file, "utf-8-sig", "replace") as text:
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
            yield number, food, read + at


def _skip_separators(buffer: str, at: int) -> int:
    found = _BETWEEN.match(buffer, at)
    return at if found is None else found.end()
