"""Reads USDA's published files in batches of rows.

| format | content |
|---|---|
| CSV | a zip with food.csv, food_nutrient.csv and tables of categories and brands |
| JSON | a file, plain or in a zip: `{"FoundationFoods": [...]}`, `{"BrandedFoods": [...]}`, ... |

Only the current batch and the small tables of names are in memory. Source: the downloads of
FoodData Central and their field descriptions.
"""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from attrs import define, field, frozen

from cookcam.features.food.ingredients.importing import records
from cookcam.features.food.ingredients.importing.csv_rows import CsvRows, WrongWidth
from cookcam.features.food.ingredients.importing.records import BadRow, CollectedRows, Reader

MAX_FOOD_BYTES = 8 * 1024 * 1024
"""Maximum characters of one food in JSON."""
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Maximum bytes of a CSV line. The longest real ones, of branded foods, have about 10 KB."""
MAX_CATEGORY_LENGTH = 200
MAX_COMPRESSION_RATIO = 200
"""USDA's downloads unpack to about ten times their size, a decompression bomb to a thousand."""
MIN_BOMB_SIZE = 64 * 1024 * 1024
"""Smaller files are unpacked at any compression ratio."""
CHUNK = 1024 * 1024
CHECK_INTERVAL = 1000
"""Lines between two checks of the size of a batch."""
MAX_LINES = 1_000_000
"""Maximum lines of a batch, even if few rows were collected."""
_BEFORE_FOODS = re.compile(r'\s*\{\s*"[A-Za-z]+"\s*:\s*\[')
_BEFORE_MORE_FOODS = re.compile(r'\]\s*,\s*"[A-Za-z]+"\s*:\s*\[')
_AFTER_FOODS = re.compile(r"\]\s*\}\s*")
_BETWEEN = re.compile(r"[\s,]*")

_READABLE_METHODS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
)
_METHOD_NAMES = {9: "Deflate64", 93: "Zstandard", 95: "XZ", 98: "PPMd"}
"""Names of unsupported compression methods: PKWARE's APPNOTE, 4.4.5."""
_ENCRYPTED = 0x1
"""Bit of the general purpose flags: PKWARE's APPNOTE, 4.4.4."""
_READ_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)
"""The exceptions of `zipfile` and the decompressors for damaged archives."""


class BundleError(Exception):
    """The file cannot be imported; the message names the file and the reason."""


@define
class Batch:
    """Consecutive lines of a file: their rows, and the reasons why some are unusable.

    `last` and the numbers in `problems` count lines in CSV and foods in JSON. `read` counts the
    bytes of the file so far, `wrong_width` the rows with too few or too many fields.
    """

    last: int
    lines: int = 0
    wrong_width: int = 0
    read: int = 0
    collected: CollectedRows = field(factory=CollectedRows)
    problems: list[tuple[int, str]] = field(factory=list[tuple[int, str]])

    def is_full(self, rows: int) -> bool:
        held = self.collected
        return (
            len(held.foods) + len(held.brands) + len(held.amounts) >= rows
            or len(self.problems) >= rows
            or self.lines >= MAX_LINES
        )


@frozen
class Part:
    """One file of a bundle: its name and its size in bytes.

    `batches(after, rows)` reads the lines after line `after` in batches of `rows` rows; a batch may
    exceed that by up to `CHECK_INTERVAL` lines.
    """

    name: str
    size: int
    batches: Callable[[int, int], Iterator[Batch]]


@frozen
class Bundle:
    """The parts of a bundle in reading order; `identity` distinguishes bundles.

    `problems` are the unusable rows of the category tables: file, line, reason.
    """

    identity: str
    parts: tuple[Part, ...]
    problems: tuple[tuple[str, int, str], ...] = ()


@contextmanager
def open_bundle(path: Path) -> Generator[Bundle]:
    """Raises BundleError for another kind of file, and for an unreadable archive."""
    where = printable(path.name)
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
        archive = zipfile.ZipFile(path) if zipfile.is_zipfile(path) else None
    except _READ_ERRORS as error:
        raise BundleError(f"{where} cannot be read: {error}") from error
    if archive is None:
        yield _one_json(path, where, beginning)
        return
    with archive:
        yield _archive(path, where, archive)


def _one_json(path: Path, where: str, beginning: bytes) -> Bundle:
    if not beginning:
        raise BundleError(f"{where} is empty")
    if beginning.startswith(b"PK\x03\x04"):
        raise BundleError(
            f"{where} is a zip whose end is missing: it was not downloaded completely"
        )
    _check_encoding(beginning, where)
    if not _BEFORE_FOODS.match(beginning.decode("utf-8-sig", "replace")):
        raise BundleError(f"{where} is neither a zip nor the JSON of FoodData Central")
    size = path.stat().st_size
    identity = hashlib.sha256(f"{size}:".encode() + beginning).hexdigest()
    open_file = partial(path.open, "rb")
    return Bundle(identity, (Part(where, size, partial(_json_stretches, open_file, where)),))


@frozen
class _Member:
    """A file in an archive; `path` is its path there."""

    archive: zipfile.ZipFile
    archive_name: str
    info: zipfile.ZipInfo
    path: PurePosixPath

    @property
    def base(self) -> str:
        return self.path.name

    @property
    def where(self) -> str:
        return f"{printable(str(self.path))} in {self.archive_name}"

    def open(self) -> IO[bytes]:
        return self.archive.open(self.info)

    def check(self) -> None:
        """Raises BundleError for a file that `zipfile` cannot unpack."""
        if self.info.flag_bits & _ENCRYPTED:
            raise BundleError(f"{self.where} is encrypted")
        method = self.info.compress_type
        if method not in _READABLE_METHODS:
            name = _METHOD_NAMES.get(method, f"method {method}")
            raise BundleError(
                f"{self.where} is compressed with {name}, which cannot be read:"
                " unpack the archive and compress it again with Deflate"
            )


def _archive(path: Path, where: str, archive: zipfile.ZipFile) -> Bundle:
    """All downloads in an archive: each folder with a food.csv, and each JSON file."""
    folders: dict[PurePosixPath, dict[str, _Member]] = {}
    for info in archive.infolist():
        member = _Member(
            archive, where, info, PurePosixPath(info.filename.replace("\\", "/").lstrip("/"))
        )
        if info.filename.endswith("/") or _is_metadata(member.path):
            continue
        folder = folders.setdefault(member.path.parent, {})
        if member.base in folder:
            raise BundleError(f"{member.where} is there twice")
        folder[member.base] = member
    members = [member for folder in folders.values() for member in folder.values()]
    described = sorted((str(m.path), m.info.CRC, m.info.file_size) for m in members)
    identity = hashlib.sha256(repr(described).encode("utf-8", "replace")).hexdigest()
    downloads = [folder for folder in folders.values() if "food.csv" in folder]
    documents = [member for member in members if member.base.lower().endswith(".json")]
    if not downloads and not documents:
        raise BundleError(f"{where} holds neither food.csv nor a JSON file")
    used = [folder[name] for folder in downloads for name in _TABLES if name in folder] + documents
    unpacked = sum(member.info.file_size for member in used)
    if unpacked > max(MIN_BOMB_SIZE, MAX_COMPRESSION_RATIO * path.stat().st_size):
        raise BundleError(f"{where} unpacks to more than {MAX_COMPRESSION_RATIO} times its size")
    for member in used:
        member.check()
    bases = [member.base for member in used]

    def name_of(member: _Member) -> str:
        return printable(str(member.path) if bases.count(member.base) > 1 else member.base)

    foods: list[Part] = []
    brands: list[Part] = []
    amounts: list[Part] = []
    problems: list[tuple[str, int, str]] = []
    for folder in downloads:
        if "food_nutrient.csv" not in folder:
            raise BundleError(f"{folder['food.csv'].where} has no food_nutrient.csv beside it")
        categories: dict[str, str] = {}
        for table, key, value in _CATEGORY_TABLES:
            if table in folder:
                unusable = _read_categories(folder[table], key, value, categories)
                problems += [(name_of(folder[table]), line, why) for line, why in unusable]
        food_reader = partial(records.food_reader, categories=categories)
        foods.append(_csv_part(folder["food.csv"], name_of, food_reader))
        if "branded_food.csv" in folder:
            brands.append(_csv_part(folder["branded_food.csv"], name_of, records.brand_reader))
        amounts.append(_csv_part(folder["food_nutrient.csv"], name_of, records.nutrient_reader))
    parsed: list[Part] = []
    for member in documents:
        with _open_text(member.open, member.where) as (_, text):
            if not _BEFORE_FOODS.match(text.read(4096)):
                raise BundleError(f"{member.where} does not begin with a list of foods")
        parsed.append(
            Part(
                name_of(member),
                member.info.file_size,
                partial(_json_stretches, member.open, member.where),
            )
        )
    return Bundle(identity, (*foods, *brands, *amounts, *parsed), tuple(problems))


_CATEGORY_TABLES = (
    ("wweia_food_category.csv", "wweia_food_category", "wweia_food_category_description"),
    ("food_category.csv", "id", "description"),
)
"""Tables of category names: the file, its key and its name columns."""
_TABLES = (
    *(table for table, _, _ in _CATEGORY_TABLES),
    "food.csv",
    "branded_food.csv",
    "food_nutrient.csv",
)


def _is_metadata(path: PurePosixPath) -> bool:
    """Whether a file was added by the operating system: resource forks, .DS_Store, Thumbs.db."""
    return path.name.startswith(".") or "__MACOSX" in path.parts or path.name == "Thumbs.db"


def _read_categories(
    member: _Member, key: str, value: str, categories: dict[str, str]
) -> list[tuple[int, str]]:
    """Add category names under their ids in food.csv; returns the unusable rows."""
    problems: list[tuple[int, str]] = []
    with _open_text(member.open, member.where, MAX_LINE_BYTES) as (_, text):
        rows = CsvRows(text)
        header = _read_header(rows, member.where, key)
        if key not in header or value not in header:
            return [(1, f"no column {key if key not in header else value}")]
        at_key, at_value = header.index(key), header.index(value)
        while True:
            try:
                fields = rows.next_row()
                if fields is None:
                    return problems
                if fields and fields[at_key] and fields[at_value]:
                    category = records.decoded(fields[at_value], value)
                    if len(category) > MAX_CATEGORY_LENGTH:
                        raise BadRow(f"{value} is longer than {MAX_CATEGORY_LENGTH} characters")
                    categories[fields[at_key].strip()] = records.clean(category)
            except BadRow as problem:
                problems.append((rows.line, str(problem)))


class _CheckedFile(io.RawIOBase):
    """The bytes of a bundle's file.

    Reading raises BundleError for damaged data and for a line of more than `max_line` bytes.
    """

    def __init__(self, file: IO[bytes], where: str, max_line: int | None) -> None:
        self._file, self._where, self._max_line = file, where, max_line
        self._line_bytes = 0
        self.bytes_read = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        try:
            data = self._file.read(len(buffer))
        except _READ_ERRORS as error:
            raise BundleError(f"{self._where} is damaged: {error}") from error
        buffer[: len(data)] = data
        self.bytes_read += len(data)
        if self._max_line is not None:
            end = max(data.rfind(b"\n"), data.rfind(b"\r"))
            self._line_bytes = self._line_bytes + len(data) if end < 0 else len(data) - end
            if self._line_bytes > self._max_line:
                raise BundleError(f"{self._where} has a line of more than {self._max_line} bytes")
        return len(data)


@contextmanager
def _open_text(
    open_file: Callable[[], IO[bytes]], where: str, max_line: int | None = None
) -> Generator[tuple[_CheckedFile, io.TextIOWrapper]]:
    """The text of a file; bytes that are not UTF-8 become lone surrogates."""
    try:
        opened = open_file()
    except _READ_ERRORS as error:
        raise BundleError(f"{where} cannot be read: {error}") from error
    with opened:
        checked = _CheckedFile(opened, where, max_line)
        buffered = io.BufferedReader(checked, 64 * 1024)
        _check_encoding(buffered.peek(2), where)
        with io.TextIOWrapper(buffered, "utf-8-sig", "surrogateescape", newline="") as text:
            yield checked, text


def _check_encoding(beginning: bytes, where: str) -> None:
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BundleError(f"{where} is UTF-16; FoodData Central publishes UTF-8")


def printable(name: str) -> str:
    """A file's name for messages and JSON, without invalid bytes and control characters."""
    text = name.encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "?" for character in text)


def _csv_part(
    member: _Member, name_of: Callable[[_Member], str], reader: Callable[[list[str]], Reader]
) -> Part:
    return Part(name_of(member), member.info.file_size, partial(_csv_stretches, member, reader))


def _csv_stretches(
    member: _Member, reader: Callable[[list[str]], Reader], after: int, rows: int
) -> Iterator[Batch]:
    with _open_text(member.open, member.where, MAX_LINE_BYTES) as (file, text):
        lines = CsvRows(text)
        header = _read_header(lines, member.where, "fdc_id")
        try:
            read = reader(header)
        except KeyError as missing:
            raise BundleError(
                f"{member.where}: {member.base} has no column {missing.args[0]}"
            ) from None
        lines.skip_to(after)
        batch, more = Batch(lines.line), True
        try:
            while more:
                batch = Batch(lines.line)
                while more and not batch.is_full(rows):
                    more = _read_rows(lines, read, batch, min(rows, CHECK_INTERVAL))
                batch.read = file.bytes_read
                if batch.lines:
                    yield batch
        except BundleError:
            if batch.lines:
                yield batch  # the rows before the damage
            raise


def _read_header(rows: CsvRows, where: str, key: str) -> list[str]:
    """Read the first row. Raises BundleError without one."""
    try:
        header = rows.next_row()
    except BadRow as problem:
        raise BundleError(f"{where}: the header is {problem}") from None
    if not header:
        raise BundleError(f"{where} is empty")
    header = [name.strip() for name in header]
    rows.expect(len(header), header.index(key) if key in header else 0)
    return header


def _read_rows(rows: CsvRows, read: Reader, batch: Batch, count: int) -> bool:
    """Read up to `count` more rows. Returns False at the end of the file."""
    for _ in range(count):
        try:
            fields = rows.next_row()
            if fields is None:
                return False
            if not fields:
                continue
            read(fields, batch.collected)
        except BadRow as problem:
            batch.wrong_width += isinstance(problem, WrongWidth)
            batch.problems.append((rows.line, str(problem)))
        batch.last = rows.line
        batch.lines += 1
    return True


def _json_stretches(
    open_file: Callable[[], IO[bytes]], where: str, after: int, rows: int
) -> Iterator[Batch]:
    batch = Batch(after)
    with _open_text(open_file, where) as (file, text):
        try:
            for number, food in _foods(text, where):
                if number <= after:
                    continue
                batch.last, batch.read = number, file.bytes_read
                batch.lines += 1
                try:
                    rejected = records.read_json(food, batch.collected)
                except BadRow as problem:
                    rejected = [str(problem)]
                batch.problems += [(number, why) for why in rejected]
                if batch.is_full(rows):
                    yield batch
                    batch = Batch(number, read=file.bytes_read)
        except BundleError:
            if batch.lines:
                yield batch  # the rows before the damage
            raise
    if batch.lines:
        yield batch


def _foods(text: io.TextIOWrapper, where: str) -> Iterator[tuple[int, object]]:
    """Decode the foods of `{"AnyFoods": [food, ...], ...}` one at a time, numbered from 1.

    Raises BundleError for other JSON, since the next food cannot be located then.
    """
    decoder = json.JSONDecoder()
    buffer = text.read(CHUNK)
    beginning = _BEFORE_FOODS.match(buffer)
    if beginning is None:
        raise BundleError(f"{where} does not begin with a list of foods")
    at, number = beginning.end(), 0
    while True:
        at = _skip_separators(buffer, at)
        if at < len(buffer) and buffer[at] == "]":
            buffer, at = buffer[at:] + text.read(CHUNK), 0
            if following := _BEFORE_MORE_FOODS.match(buffer):
                at = following.end()
                continue
            if _AFTER_FOODS.fullmatch(buffer):
                return
            raise BundleError(f"{where}: what follows food {number} is no list of foods")
        try:
            food, end = decoder.raw_decode(buffer, at)
        except RecursionError:
            raise BundleError(f"{where}: food {number + 1} is nested too deep") from None
        except ValueError as error:
            more = text.read(CHUNK)
            if not more or len(buffer) - at > MAX_FOOD_BYTES:
                raise BundleError(f"{where}: food {number + 1} is not JSON: {error}") from None
            buffer, at = buffer[at:] + more, 0
            continue
        number, at = number + 1, end
        yield number, food


def _skip_separators(buffer: str, at: int) -> int:
    match = _BETWEEN.match(buffer, at)
    return at if match is None else match.end()
