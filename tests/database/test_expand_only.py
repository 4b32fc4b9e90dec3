"""Migrations only expand the schema, so that the previous release runs on it.

A roll-back keeps the data (docs/deployment.md): what a release reads or writes stays until a later
release has stopped using it. A contraction is allowed by name, with the release after which nothing
uses what it drops.
"""

from __future__ import annotations

import re

import pytest

from cookcam.database.migrate import MIGRATIONS

FIRST_RELEASE = "20250601005140"
"""Migrations up to this one make the schema of the first release: nothing older runs on it."""
CONTRACTIONS: frozenset[str] = frozenset()
"""Migrations that drop what no release in use reads any more."""

CONTRACTING = {
    "drops a table": r"\bdrop\s+table\b",
    "drops a column": r"\bdrop\s+column\b",
    "drops a function": r"\bdrop\s+function\b",
    "drops a view": r"\bdrop\s+view\b",
    "renames": r"\brename\s+(to|column|constraint)\b",
    "changes a type": r"\balter\s+(column\s+)?\w+\s+(set\s+data\s+)?type\b",
    "requires a value": r"\balter\s+(column\s+)?\w+\s+set\s+not\s+null\b",
    "adds a required column without default":
        r"\badd\s+column\s+(?:if\s+not\s+exists\s+)?\w+(?![^,;]*\bdefault\b)[^,;]*\bnot\s+null\b",
    "takes a right of the server": r"\brevoke\s+[^;]*from\s+[^;]*\bservice_role\b",
}  # fmt: skip


def contractions_in(statements: str) -> list[str]:
    """What of a migration would break the previous release."""
    text = re.sub(r"--[^\n]*", "", statements).lower()
    return [name for name, pattern in CONTRACTING.items() if re.search(pattern, text)]


def test_migrations_since_the_first_release_only_expand() -> None:
    found = {
        path.name: contractions_in(path.read_text())
        for path in sorted(MIGRATIONS.glob("*.sql"))
        if path.name[:14] > FIRST_RELEASE and path.stem not in CONTRACTIONS
    }
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    "statement",
    [
        "drop table public.recipes;",
        "alter table public.recipes drop column title;",
        "alter table public.recipes rename column title to name;",
        "alter table public.recipes alter column servings type text;",
        "alter table public.recipes alter column cuisine set not null;",
        "alter table public.recipes add column note text not null;",
    ],
)
def test_contraction_is_found(statement: str) -> None:
    assert len(contractions_in(statement)) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "create table public.notes (id uuid not null);",
        "alter table public.recipes add column note text;",
        "alter table public.recipes add column note text not null default '';",
        "-- drop table public.recipes;\ncreate index recipes_x on public.recipes (title);",
    ],
)
def test_expansion_is_none(statement: str) -> None:
    assert contractions_in(statement) == []
