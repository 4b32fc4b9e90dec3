"""The table of error codes: that of the code, of the OpenAPI document and of docs/errors.md."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import cookcam
from cookcam.errors import AppError
from cookcam.http.error_codes import ERROR_CODES

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
ROW = re.compile(r"^\| `([A-Z_]+)` \| ([\d, ]+) \| (.+) \|$", re.MULTILINE)


def error_classes(base: type[AppError] = AppError) -> Iterator[type[AppError]]:
    """AppError and what derives from it in the whole package."""
    yield base
    for derived in base.__subclasses__():
        if derived.__module__.startswith("cookcam."):
            yield from error_classes(derived)


def statuses_in_code() -> dict[str, set[int]]:
    for module in pkgutil.walk_packages(cookcam.__path__, "cookcam."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: defaultdict[str, set[int]] = defaultdict(set)
    for error in error_classes():
        found[error.code].add(error.status)
    return dict(found)


def test_the_table_has_every_code_with_its_statuses() -> None:
    table = {code: set(known.statuses) for code, known in ERROR_CODES.items()}
    assert table == statuses_in_code()


def test_the_page_has_the_table() -> None:
    rows = {
        code: (tuple(int(status) for status in statuses.split(",")), meaning)
        for code, statuses, meaning in ROW.findall(PAGE.read_text())
    }
    assert rows == {code: (known.statuses, known.meaning) for code, known in ERROR_CODES.items()}
