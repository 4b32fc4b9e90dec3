"""What is old goes, in batches, by one instance at a time; what is not stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from attrs import evolve
from psycopg import sql
from psycopg.rows import tuple_row

from cookcam.database import Database
from cookcam.database.connection import Connection
from cookcam.features.operations.retention.service import Retention
from cookcam.features.operations.retention.store import TRY_LOCK, SweepStore
from cookcam.features.operations.retention.sweeps import SWEEPS, Sweep, deleting
from tests.support.postgres import as_owner
from tests.support.users import create_user

MONTH = timedelta(days=30)


async def as_owner_of(database: Database, statement: str, **params: Any) -> list[Any]:
    url = as_owner(database._url)
    async with await Connection.connect(url, autocommit=True) as connection:
        cursor = connection.cursor(row_factory=tuple_row)
        await cursor.execute(sql.SQL(statement), params)
        return await cursor.fetchall() if cursor.description else []


@pytest.fixture
async def host(database: Database) -> str:
    """A user with a session that ended 31 days ago, one that ended 29 days ago, and one that
    has been active for 40 days; in each a message of every day since its beginning."""
    user_id = await create_user(database._url)
    await as_owner_of(
        database,
        "insert into live_cooking_sessions"
        " (id, host_id, title, created_at, is_active, ended_at, end_reason)"
        " select %(user_id)s || n, %(user_id)s::uuid, 'T', now() - interval '40 days',"
        " days is null,"
        " now() - make_interval(days => days), case when days is not null then 'Over' end"
        " from (values (1, 31), (2, 29), (3, null)) as s (n, days)",
        user_id=str(user_id),
    )
    await as_owner_of(
        database,
        "insert into live_cooking_messages (session_id, seq, message, created_at)"
        " select id, day, 'x', now() - make_interval(days => day)"
        " from live_cooking_sessions, generate_series(1, 40) as day"
        " where host_id = %(user_id)s::uuid",
        user_id=user_id,
    )
    return str(user_id)


def retention(database: Database, **options: Any) -> Retention:
    return Retention(SweepStore(database), lambda: datetime.now(UTC), **options)


async def left(database: Database, host: str) -> list[Any]:
    """The sessions, each with its messages and the age of the oldest in days."""
    return await as_owner_of(
        database,
        "select right(s.id, 1), count(*), max(extract(day from now() - m.created_at))::int"
        " from live_cooking_sessions s join live_cooking_messages m on m.session_id = s.id"
        " where host_id = %(host)s::uuid group by 1 order by 1",
        host=host,
    )


async def test_ended_rooms_and_messages_go_after_thirty_days(database: Database, host: str) -> None:
    assert {sweep.keep for sweep in SWEEPS if "cooking" in sweep.name} == {MONTH}
    done = await retention(database, batch=15).sweep()
    assert done["ended cooking sessions"] >= 1
    assert done["messages of cooking sessions"] >= 20
    assert await left(database, host) == [("2", 29, 29), ("3", 29, 29)]


async def test_two_instances_do_not_sweep_at_once(database: Database, host: str) -> None:
    async with database.transaction() as tx:
        assert await tx.fetch_value(TRY_LOCK)
        done = await retention(database).sweep()
        assert set(done.values()) == {0}
    assert len(await left(database, host)) == 3


async def test_a_sweep_that_fails_is_reported_and_keeps_no_other_from_its_work(
    database: Database, host: str
) -> None:
    received: list[str] = []
    broken = Sweep("broken", MONTH, deleting("public.no_such_table", "created_at < %(before)s"))
    sweeping = retention(database, failed=lambda name, error: received.append(name))
    done = await evolve(sweeping, sweeps=[broken, *SWEEPS]).sweep()
    assert received == ["sweep broken"]
    assert done["ended cooking sessions"] >= 1
