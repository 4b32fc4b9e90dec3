"""psycopg's features on the connection that waits with Trio."""

from __future__ import annotations

import socket
from pathlib import Path

import psycopg
import pytest
import trio
from psycopg.rows import dict_row

from cookcam.database.connection import Connection
from cookcam.database.waiting import drive, ready_now
from tests.database.asking import statements_running, value
from tests.support.postgres import Cluster, as_owner
from tests.support.relay import make_tls, relay_to

# Features of psycopg


async def test_parameters_rows_and_row_factories(connection: Connection) -> None:
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute("select %s::int as a, %s::text as b", (1, "è'\"\\"))
    assert await cursor.fetchall() == [{"a": 1, "b": "è'\"\\"}]


async def test_result_larger_than_the_socket_buffers(connection: Connection) -> None:
    cursor = await connection.execute("select repeat('x', 1000) from generate_series(1, 20000)")
    assert len(await cursor.fetchall()) == 20_000


async def test_statement_larger_than_the_socket_buffers(connection: Connection) -> None:
    text = "x" * 20_000_000
    assert await value(connection, "select length(%s)", text) == len(text)


async def test_transaction_commits_and_rolls_back(
    connection: Connection, other: Connection
) -> None:
    await connection.execute("create table committed (n int)")
    async with connection.transaction():
        await connection.execute("insert into committed values (1)")
    async with connection.transaction():
        await connection.execute("insert into committed values (2)")
        raise psycopg.Rollback
    async with connection.transaction():
        async with connection.transaction():
            await connection.execute("insert into committed values (2)")
            raise psycopg.Rollback
        await connection.execute("insert into committed values (3)")
    cursor = await other.execute("select n from committed order by n")
    assert await cursor.fetchall() == [(1,), (3,)]
    await connection.execute("drop table committed")


async def test_pipeline_sends_many_statements_and_reads_many_results(
    connection: Connection,
) -> None:
    async with connection.pipeline():
        cursors = [await connection.execute("select %s::int", (n,)) for n in range(200)]
        assert [await cursor.fetchone() for cursor in cursors] == [(n,) for n in range(200)]


async def test_pipeline_with_more_to_send_than_the_buffers_hold(connection: Connection) -> None:
    text = "x" * 1_000_000
    async with connection.pipeline():
        cursors = [await connection.execute("select %s::text", (text,)) for _ in range(20)]
        assert all([(await cursor.fetchone()) == (text,) for cursor in cursors])


async def test_executemany_returns_every_row(connection: Connection) -> None:
    cursor = connection.cursor()
    await cursor.executemany("select %s::int", [(n,) for n in range(100)], returning=True)
    rows = [await result.fetchone() async for result in cursor.results()]
    assert rows == [(n,) for n in range(100)]


async def test_copy_both_ways(connection: Connection) -> None:
    await connection.execute("create temporary table copied (n int, t text)")
    rows = [(n, f"row {n}\t\n" * 20) for n in range(20_000)]
    cursor = connection.cursor()
    async with cursor.copy("copy copied from stdin") as copy:
        for row in rows:
            await copy.write_row(row)
    assert cursor.rowcount == len(rows)
    async with cursor.copy("copy (select * from copied order by n) to stdout") as copy:
        copy.set_types(["int4", "text"])
        assert [row async for row in copy.rows()] == rows


async def test_server_side_cursor_fetches_in_batches(connection: Connection) -> None:
    async with connection.transaction(), connection.cursor("portions") as cursor:
        await cursor.execute("select generate_series(1, 1000)")
        assert len(await cursor.fetchmany(10)) == 10
        assert len([row async for row in cursor]) == 990


async def test_stream_can_be_closed_early(connection: Connection) -> None:
    cursor = connection.cursor()
    async for row in cursor.stream("select generate_series(1, 1000000)"):
        if row == (3,):
            break
    await cursor.close()
    assert await value(connection, "select 1") == 1


async def test_notifications_arrive_and_the_timeout_ends_the_wait(
    connection: Connection, other: Connection
) -> None:
    await connection.execute("listen news")
    await other.execute("select pg_notify('news', 'one')")
    received = [n.payload async for n in connection.notifies(timeout=1, stop_after=1)]
    assert received == ["one"]
    assert [n async for n in connection.notifies(timeout=0.02)] == []
    assert await value(connection, "select 1") == 1


async def test_timeout_of_zero_reads_the_received_notifications(
    connection: Connection, other: Connection
) -> None:
    await connection.execute("listen news")
    await other.execute("notify news, 'here'")
    await trio.lowlevel.wait_readable(connection.fileno())
    assert [n.payload async for n in connection.notifies(timeout=0)] == ["here"]


# Connecting and closing


async def test_error_lists_the_reasons_of_all_attempts(unused_port: int) -> None:
    url = f"postgresql://postgres@127.0.0.1:{unused_port},localhost:{unused_port}/postgres"
    with pytest.raises(psycopg.OperationalError) as raised:
        await Connection.connect(url)
    assert str(raised.value).count("refused") >= 2


async def test_second_host_is_tried_when_the_first_rejects(
    unused_port: int, database_url: str
) -> None:
    directory = as_owner(database_url).partition("host=")[2]
    url = f"host=127.0.0.1,{directory} port={unused_port},5432 user=postgres dbname=postgres"
    async with await Connection.connect(url) as connection:
        assert await value(connection, "select 1") == 1


async def test_host_that_does_not_exist_is_an_operational_error() -> None:
    with pytest.raises(psycopg.OperationalError, match="resolve"):
        await Connection.connect("postgresql://postgres@no-such-host.invalid/postgres")


async def test_host_name_lookup_does_not_block_other_tasks(
    monkeypatch: pytest.MonkeyPatch, unused_port: int
) -> None:
    looked_up_in: list[bool] = []
    real = socket.getaddrinfo

    def slow(*args: object, **kwargs: object) -> object:
        looked_up_in.append(trio.lowlevel.in_trio_run())
        return real(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(psycopg.OperationalError):
        await Connection.connect(f"postgresql://postgres@localhost:{unused_port}/postgres")
    assert looked_up_in == [False]


async def test_connecting_times_out_and_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/postgres"
        with trio.move_on_after(0.05) as scope:
            await Connection.connect(url)
        assert scope.cancelled_caught
        # libpq's minimum timeout is two seconds.
        monkeypatch.setattr("cookcam.database.connection.timeout_from_conninfo", lambda _: 0.05)
        with pytest.raises(psycopg.errors.ConnectionTimeout):
            await Connection.connect(url)


async def test_closing_raises_in_the_waiting_task(connection: Connection) -> None:
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("select pg_sleep(60)")

        nursery.start_soon(wait)
        await trio.sleep(0.02)
        connection.close_now()


async def test_statements_of_two_tasks_run_one_at_a_time(connection: Connection) -> None:
    results: list[object] = []
    async with trio.open_nursery() as nursery:

        async def ask(n: int) -> None:
            results.append(await value(connection, "select %s::int", n))

        for n in range(10):
            nursery.start_soon(ask, n)
    assert sorted(results) == list(range(10))


async def test_connection_closed_by_the_server_is_not_usable(
    connection: Connection, other: Connection
) -> None:
    assert connection.is_usable()
    await other.execute("select pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
    assert not connection.is_usable()


async def test_unsolicited_message_leaves_the_connection_usable(
    connection: Connection, other: Connection
) -> None:
    await connection.execute("listen chatter")
    await other.execute("notify chatter")
    with trio.fail_after(20):
        await trio.lowlevel.wait_readable(connection.fileno())
    assert connection.is_usable()


async def test_prepared_statements_are_off(connection: Connection) -> None:
    for _ in range(10):
        await value(connection, "select %s::int", 1)
    assert await value(connection, "select count(*) from pg_prepared_statements") == 0


def test_socket_in_error_counts_as_ready() -> None:
    ours, theirs = socket.socketpair()
    with ours:
        theirs.close()
        assert ready_now(ours.fileno(), psycopg.waiting.Wait.R) == psycopg.waiting.Ready.R


async def test_generator_without_waits_runs_to_its_end() -> None:
    def ready_at_once():
        return 5
        yield

    assert await drive(ready_at_once(), -1) == 5


# TLS


async def test_tls_with_a_verified_certificate(
    cluster: Cluster, other: Connection, tmp_path: Path
) -> None:
    context, authority = make_tls(tmp_path)
    async with relay_to(cluster.socket, context) as relay:
        url = f"postgresql://postgres@localhost:{relay.port}/postgres"
        async with await Connection.connect(
            f"{url}?sslmode=verify-full&sslrootcert={authority}", autocommit=True
        ) as connection:
            assert connection.pgconn.ssl_in_use
            rows = await connection.execute("select repeat('x', 99) from generate_series(1, 50000)")
            assert len(await rows.fetchall()) == 50_000
            assert connection.is_usable()
            with trio.move_on_after(0.1):
                await connection.execute("select pg_sleep(60)")
            assert relay.encrypted == 2, "the cancellation is encrypted too"
            assert await statements_running(other, connection.info.backend_pid) == 0
            assert await value(connection, "select 1") == 1


async def test_tls_certificate_of_an_unknown_authority_is_rejected(
    cluster: Cluster, tmp_path: Path
) -> None:
    context, _ = make_tls(tmp_path)
    _, stranger = make_tls(tmp_path)
    async with relay_to(cluster.socket, context) as relay:
        url = f"postgresql://postgres@localhost:{relay.port}/postgres"
        with pytest.raises(psycopg.OperationalError, match="SSL error"):
            await Connection.connect(f"{url}?sslmode=verify-full&sslrootcert={stranger}")


async def test_required_tls_fails_when_the_server_has_none(cluster: Cluster) -> None:
    async with relay_to(cluster.socket) as relay:
        url = f"postgresql://postgres@127.0.0.1:{relay.port}/postgres?sslmode=require"
        with pytest.raises(psycopg.OperationalError, match="does not support SSL"):
            await Connection.connect(url)


@pytest.fixture
def unused_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
