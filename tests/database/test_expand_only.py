"""Migrations expand the schema: the previous release runs on it during a deployment.

A change that a running release may depend on (contract) is made one release after the last code
that uses the old form was deployed, and is declared in CONTRACTS with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from cookcam.database import migrate

FIRST_RELEASE = "20250601005020_mail.sql"
"""The migrations up to this one created the schema of the first release."""

CONTRACTS: Mapping[str, str] = {
    "20250601005160_moderated_reviews.sql": "the new check allows all that the old one does",
    "20250601005200_leaderboard_ties.sql": "the counts are built again, from the rows of users",
}
"""File name → why no running release depends on what it removes or tightens."""

FOLDER = Path(migrate.__file__).parent / "migrations"

NO_DEFAULT = r"(?:(?!\bdefault\b|,).)*"
CREATED = re.compile(r"create (?:unlogged )?table (?:if not exists )?(?:public\.)?(\w+)")
RULES = {
    r"drop (?:table|view|materialized view|column|function|type|schema|sequence)\b": "removes",
    r"drop (?:default|identity|expression)\b": "removes a default that inserts may rely on",
    r"\brename\b": "renames",
    r"alter column \w+ (?:set data )?type\b": "changes a type",
    r"alter column \w+ set not null\b": "requires a value in existing columns",
    rf"add (?:column )?(?:if not exists )?\w+ {NO_DEFAULT}\bnot null\b{NO_DEFAULT}(?:,|$)": (
        "adds a required column without a default"
    ),
    r"add (?:constraint \w+ )?(?:check|unique|exclude|foreign key|primary key)\b": (
        "adds a constraint"
    ),
    r"^create unique index\b": "adds a unique index",
    r"^revoke\b": "takes rights away",
    r"^(?:truncate|delete from)\b": "deletes data",
}


def statements(text: str) -> list[str]:
    """The statements in lower case with single blanks, without comments and bodies of functions."""
    text = re.sub(r"--[^\n]*", "", text)
    text = re.sub(r"\$(\w*)\$.*?\$\1\$", "''", text, flags=re.DOTALL)
    text = re.sub(r"'(?:[^']|'')*'", "''", text)
    return [" ".join(one.split()).lower() for one in text.split(";") if one.strip()]


def contractions(text: str) -> list[str]:
    """What each statement takes away from a release that runs on the schema before it."""
    found: list[str] = []
    created: set[str] = set()
    for statement in statements(text):
        if match := CREATED.match(statement):
            created.add(match[1])
            continue
        new = r"\b(?:on|table|into|from)(?: table)?(?: only)? (?:public\.)?(?:%s)\b"
        if created and re.search(new % "|".join(created), statement):
            continue  # no release uses a table that this file creates
        if statement.startswith("revoke") and re.search(r"\bfunction\b", statement):
            continue  # PostgreSQL grants the execution of a new function to everyone
        found += [
            f"{effect}: {statement[:80]}"
            for pattern, effect in RULES.items()
            if re.search(pattern, statement)
        ]
    return found


@pytest.mark.parametrize(
    "path", [path for path in sorted(FOLDER.glob("*.sql")) if path.name > FIRST_RELEASE],
    ids=lambda path: path.stem,
)  # fmt: skip
def test_migration_only_expands_or_is_a_declared_contract(path: Path) -> None:
    assert bool(contractions(path.read_text())) == (path.name in CONTRACTS), contractions(
        path.read_text()
    )


def test_declared_contracts_exist_and_have_a_reason() -> None:
    assert all((FOLDER / name).exists() and reason for name, reason in CONTRACTS.items())


@pytest.mark.parametrize(
    "statement",
    [
        "drop table public.users",
        "alter table public.users drop column name",
        "drop function public.f(uuid)",
        "alter table public.users rename column name to title",
        "alter table public.users alter column name type varchar(10)",
        "alter table public.users alter column name set data type text",
        "alter table public.users alter column name set not null",
        "alter table public.users alter column name drop default",
        "alter table public.users add column age integer not null",
        "alter table public.users add age integer not null, add x integer default 1",
        "alter table public.users add constraint c check (age > 0)",
        "alter table public.users add unique (name)",
        "create unique index i on public.users (name)",
        "revoke select on public.users from authenticated",
        "delete from public.users",
    ],
)
def test_contraction_is_found(statement: str) -> None:
    assert contractions(statement)


@pytest.mark.parametrize(
    "statement",
    [
        "alter table public.users add column age integer",
        "alter table public.users add column age integer not null default 0",
        "alter table public.users add column age integer default 0 not null",
        "alter table public.users alter column name drop not null",
        "alter table public.users drop constraint c",
        "create index i on public.users (name)",
        "drop index public.i",
        "create or replace function public.f() returns text language sql as $$ drop table x $$",
        "create table public.new (id uuid not null unique);"
        " create unique index i on public.new (id); revoke all on table public.new from anon",
        "-- drop table public.users\nselect 1",
        "comment on table public.users is 'drop table'",
    ],
)
def test_expansion_is_accepted(statement: str) -> None:
    assert contractions(statement) == []
