"""The SQL statements of a release, as far as its source has them as text, and whether they prepare.

    python -m tests.database.statements DATABASE_URL RELEASE >tests/database/previous_release.json

records those of the imported `cookcam` which prepare on the schema of the database. It is run for
each release; `test_previous_release.py` prepares the recorded ones on the schema of this tree.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

import cookcam

SQL = re.compile(r"\s*(?:with|select|insert into|update|delete from)\s", re.IGNORECASE)
PLACEHOLDER = re.compile(r"%\((\w+)\)[sbt]|%s|%%")
LEFT_OUT = ("sandbox", "__main__")
"""Packages and modules that are not part of a server."""


def statements() -> list[str]:
    """The statements in the source of `cookcam`, in order and once each.

    Constants of modules are included as they are after the import, so that those put together
    from parts are whole. Statements put together inside a function are left out.
    """
    folder = Path(cookcam.__file__).parent
    found: dict[str, None] = {}
    for path in sorted(folder.rglob("*.py")):
        if not any(part in LEFT_OUT for part in path.relative_to(folder).with_suffix("").parts):
            found |= dict.fromkeys(_in_source(path))
            found |= dict.fromkeys(_in_module(path, folder))
    return list(found)


def _in_source(path: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text())
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr | ast.BinOp)
             for part in ast.walk(node)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield from _if_statement(node.value)


def _in_module(path: Path, folder: Path) -> Iterator[str]:
    name = ".".join(("cookcam", *path.relative_to(folder).with_suffix("").parts))
    for value in vars(importlib.import_module(name.removesuffix(".__init__"))).values():
        if isinstance(value, str):
            yield from _if_statement(value)


def _if_statement(text: str) -> Iterator[str]:
    if SQL.match(text):
        yield text


def numbered(statement: str) -> str:
    """The statement with `$1`, `$2` in place of psycopg's placeholders."""
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        name = match[1] or f"{len(names)}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return PLACEHOLDER.sub(number, statement)


def failure(connection: psycopg.Connection[object], statement: str) -> str | None:
    """Why a statement cannot be prepared; None when it can."""
    connection.prepare_threshold = None  # no names but ours
    try:
        connection.execute(f"prepare one as {numbered(statement)}".encode())
    except psycopg.Error as error:
        return str(error).partition("\n")[0]
    connection.execute("deallocate one")
    return None


def main() -> None:
    url, release = sys.argv[1:]
    with psycopg.connect(url, autocommit=True) as connection:
        good = [one for one in statements() if failure(connection, one) is None]
    json.dump({"release": release, "statements": good}, sys.stdout, indent=0, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
