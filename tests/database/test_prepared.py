"""Reads that a session parses and plans once."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, LiteralString, cast
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.rows import dict_row

from cookcam.database import ANONYMOUS, SERVICE
from cookcam.database.actors import Actor
from cookcam.database.connection import Connection
from cookcam.database.prepared import MAX_PREPARED, PreparedStatements
from cookcam.database.transaction import read, read_encoded
from cookcam.errors import AppError
from tests.database.asking import value
from tests.support.postgres import as_owner

SOME_ID = UUID("5547c308-e23f-4edb-bb19-e683756ec367")
COUNT = "select count(*) from pg_prepared_statements"


async def ask(
    connection: Connection, statement: str, actor: Actor = SERVICE, /, **params: object
) -> list[dict[str, Any]]:
    return await read(
        connection, actor, 5.0, cast("Any", dict_row), cast("LiteralString", statement), params
    )


async def text(connection: Connection, statement: LiteralString, **params: object) -> bytes | None:
    row = await read_encoded(connection, SERVICE, 5.0, statement, params)
    return None if row is None else row[0]


async def test_the_second_read_uses_the_statement_of_the_first(connection: Connection):
    statement = "select %(a)s::int + %(b)s as sum, '100%%' as share, %(a)s as again"
    for a in (1, 2, 3):
        assert await ask(connection, statement, a=a, b=10) == [
            {"sum": a + 10, "share": "100%", "again": a}
        ]
    assert await value(connection, COUNT) == 1
    assert await text(connection, "select 'x' || %(tail)s", tail="y") == b"xy"
    assert await text(connection, "select 'x' || %(tail)s", tail="'; --%s") == b"x'; --%s"
    assert await value(connection, COUNT) == 2


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("uuid", SOME_ID),
        ("uuid", str(SOME_ID)),
        ("integer", 7),
        ("smallint", 7),
        ("bigint", 2**40),
        ("bigint", -7),
        ("boolean", True),
        ("text", "a %s ' \\ \N{EGG}"),
        ("date", date(2026, 1, 2)),
        ("timestamptz", datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("numeric", Decimal("1.50")),
        ("float8", 0.1),
        ("uuid[]", [SOME_ID, SOME_ID]),
        ("text[]", ["a", 'b"', ""]),
        ("jsonb", '{"a": 1}'),
        ("uuid", None),
    ],
)
async def test_a_parameter_means_the_same_as_a_literal(
    connection: Connection, kind: str, given: object
):
    expected = await connection.execute(
        cast("LiteralString", f"select (%s::{kind})::text as value"), [given]
    )
    expected_row = await expected.fetchone()
    assert expected_row is not None
    for _ in range(2):
        rows = await ask(connection, f"select (%(given)s::{kind})::text as value", given=given)
        assert rows == [{"value": expected_row[0]}]
    assert await value(connection, COUNT) == 1


async def test_a_parameter_without_a_type_is_sent_as_a_literal(connection: Connection):
    for _ in range(2):
        rows = await ask(connection, "select %(given)s is null as missing", given=None)
        assert rows == [{"missing": True}]
    assert await value(connection, COUNT) == 0


async def test_a_session_that_lost_its_statements(connection: Connection):
    """Behind a transaction pooler the next message may reach another session."""
    statement = "select %(number)s + 1 as next"
    assert await ask(connection, statement, number=1) == [{"next": 2}]
    await connection.execute("deallocate all")
    assert await ask(connection, statement, number=2) == [{"next": 3}]
    assert await ask(connection, statement, number=3) == [{"next": 4}]
    assert await value(connection, COUNT) == 0, "it prepares no more"


async def test_a_session_that_has_the_statement_of_another_client(connection: Connection):
    statement = "select %(number)s + 1 as next"
    assert await ask(connection, statement, number=1) == [{"next": 2}]
    connection.prepared = PreparedStatements()
    assert await ask(connection, statement, number=2) == [{"next": 3}]
    assert await ask(connection, statement, number=3) == [{"next": 4}]
    assert await value(connection, COUNT) == 1


async def test_an_error_of_the_statement_itself(connection: Connection):
    statement = "select 10 / %(number)s as share"
    with pytest.raises(AppError):
        await ask(connection, statement, number=0)
    assert await ask(connection, statement, number=5) == [{"share": 2}]
    with pytest.raises(AppError):
        await ask(connection, statement, number=0)
    with pytest.raises(AppError):
        await ask(connection, "select nonsense from %(table)s", table="x")
    assert await ask(connection, statement, number=2) == [{"share": 5}]


async def test_each_role_has_its_own_policies(connection: Connection, database_url: str):
    recipe = uuid4()
    with psycopg.connect(as_owner(database_url), autocommit=True) as owner:
        owner.execute("insert into recipes (id, title) values (%s, 'A hidden draft')", [recipe])
    statement = "select id from public.recipes where id = %(id)s"
    for _ in range(7):
        assert await ask(connection, statement, SERVICE, id=recipe) == [{"id": recipe}]
        assert await ask(connection, statement, ANONYMOUS, id=recipe) == []


async def test_a_migration_that_changes_the_columns(connection: Connection, database_url: str):
    with psycopg.connect(as_owner(database_url), autocommit=True) as owner:
        owner.execute("create table public.changing as select 1 as a")
        owner.execute("grant select on public.changing to service_role")
        statement = "select * from public.changing where a = %(a)s"
        assert await ask(connection, statement, a=1) == [{"a": 1}]
        owner.execute("alter table public.changing add b integer")
        for _ in range(2):
            assert await ask(connection, statement, a=1) == [{"a": 1, "b": None}]
        owner.execute("drop table public.changing")


async def test_the_number_of_statements_is_bounded(connection: Connection):
    for number in range(MAX_PREPARED + 20):
        statement = f"select %(given)s + {number} as sum"
        assert await ask(connection, statement, given=1) == [{"sum": number + 1}]
    assert await value(connection, COUNT) == MAX_PREPARED
