"""The statements of the previous release prepare on this schema: it runs during a deployment.

A statement that does not prepare names a table, column, function or type that is gone or changed.
Whether it still does the same is not shown by this; `test_expand_only.py` rejects migrations that
take away rights, defaults or values.
"""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.database.statements import failure, numbered
from tests.support.postgres import as_owner

RECORDED = json.loads((Path(__file__).parent / "previous_release.json").read_text())


def failures(url: str) -> list[str]:
    with psycopg.connect(as_owner(url), autocommit=True) as connection:
        reasons = ((one, failure(connection, one)) for one in RECORDED["statements"])
        return [f"{reason}: {one}" for one, reason in reasons if reason is not None]


def test_statements_of_the_previous_release_prepare(fresh_database_url: str) -> None:
    assert len(RECORDED["statements"]) > 200
    assert failures(fresh_database_url) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("alter table public.recipes rename column difficulty to level", "difficulty"),
        ("drop table public.stripe_webhook_events cascade", "stripe_webhook_events"),
    ],
)
def test_removal_of_what_the_previous_release_uses_is_found(
    fresh_database_url: str, change: str, reason: str
) -> None:
    with psycopg.connect(as_owner(fresh_database_url), autocommit=True) as connection:
        connection.execute(change.encode())
    found = failures(fresh_database_url)
    assert any(reason in one for one in found)


def test_placeholders_are_numbered() -> None:
    assert numbered("select %(a)s, %(b)s, %(a)s, '100%%'") == "select $1, $2, $1, '100%'"
    assert numbered("select %s, %s") == "select $1, $2"
