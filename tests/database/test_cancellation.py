"""Cancelling a scope cancels the statement and leaves the connection usable or closed."""

from __future__ import annotations

import psycopg
import pytest
import trio
from psycopg import pq

from cookcam.database.connection import Connection
from tests.database.asking import statements_running, value
from tests.support.postgres import Cluster
from tests.support.relay import relay_to


async def test_cancelled_statement_ends_on_the_server_and_leaves_the_connection_usable(
    connection: Connection, other: Connection
) -> None:
    pid = connection.info.backend_pid
    with trio.move_on_after(0.05) as scope:
        await connection.execute("select pg_sleep(60)")
    assert scope.cancelled_caught
    assert await statements_running(other, pid) == 0
    assert connection.is_usable()
    assert await value(connection, "select 7") == 7


async def test_cancelled_transaction_is_rolled_back(
    connection: Connection,
) -> None:
    await connection.execute("create temporary table kept (n int)")
    with trio.move_on_after(0.05):
        async with connection.transaction():
            await connection.execute("insert into kept values (1)")
            await connection.execute("select pg_sleep(60)")
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE
    assert await value(connection, "select count(*) from kept") == 0


async def test_scope_cancelled_outside_of_a_statement_still_ends_the_transaction(
    connection: Connection,
) -> None:
    with trio.CancelScope() as scope:
        async with connection.transaction():
            await connection.execute("select 1")
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert connection.info.transaction_status == pq.TransactionStatus.IDLE


async def test_cancelled_pipeline_leaves_the_connection_usable(connection: Connection) -> None:
    with trio.move_on_after(0.05):
        async with connection.pipeline():
            cursor = await connection.execute("select pg_sleep(60)")
            await cursor.fetchone()
    assert connection.is_usable()
    assert await value(connection, "select 1") == 1


async def test_copy_to_the_server_cancelled_midway_stores_nothing(
    connection: Connection,
) -> None:
    await connection.execute("create temporary table halves (n int)")
    with trio.CancelScope() as scope:
        async with connection.cursor().copy("copy halves from stdin") as copy:
            await copy.write_row((1,))
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert await value(connection, "select count(*) from halves") == 0


async def test_copy_from_the_server_cancelled_midway_leaves_the_connection_usable(
    connection: Connection,
) -> None:
    with trio.CancelScope() as scope:
        statement = "copy (select generate_series(1, 5000000)) to stdout"
        async with connection.cursor().copy(statement) as copy:
            scope.cancel()
            async for _ in copy:
                pass
    assert scope.cancelled_caught
    assert await value(connection, "select 1") == 1


async def test_cancelled_wait_for_notifications_leaves_the_connection_usable(
    connection: Connection,
) -> None:
    with trio.move_on_after(0.02):
        async for _ in connection.notifies():
            pass
    assert await value(connection, "select 1") == 1


async def test_loop_of_statements_is_cancelled(connection: Connection) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await connection.execute("select 1")
    assert scope.cancelled_caught
    assert connection.is_usable()


async def test_cleanup_in_a_cancelled_scope_reaches_the_server(connection: Connection) -> None:
    await connection.execute("create temporary table cleaned (n int)")
    with trio.CancelScope() as scope:
        try:
            scope.cancel()
            await trio.lowlevel.checkpoint()
        finally:
            await connection.execute("insert into cleaned values (1)")
    assert await value(connection, "select count(*) from cleaned") == 1


async def test_cleanup_in_a_cancelled_scope_is_time_limited(
    connection: Connection, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.database.connection.CLEANUP_TIMEOUT", 0.1)
    pid = connection.info.backend_pid
    with trio.CancelScope() as scope:
        try:
            scope.cancel()
            await trio.lowlevel.checkpoint()
        finally:
            with pytest.raises(psycopg.OperationalError, match="cleanup"):
                await connection.execute("select pg_sleep(60)")
    assert await statements_running(other, pid) == 0


async def test_connection_is_closed_when_the_server_does_not_confirm_the_cancellation(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.database.connection.CLEANUP_TIMEOUT", 0.1)
    async with relay_to(cluster.socket) as relay:
        url = f"postgresql://postgres@127.0.0.1:{relay.port}/postgres?sslmode=disable"
        connection = await Connection.connect(url, autocommit=True)
        relay.deaf = True
        with trio.move_on_after(0.05) as scope:
            await connection.execute("select 1")
        assert scope.cancelled_caught
        assert connection.closed
