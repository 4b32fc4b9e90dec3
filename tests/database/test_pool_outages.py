"""The pool while the database is unreachable, restarts, or ends sessions at random."""

from __future__ import annotations

import math
import random

import psycopg
import pytest
import trio
import trio.testing

from cookcam.database.pool import Pool, PoolSettings, open_pool
from cookcam.errors import ServiceOverloaded, ServiceUnavailable
from tests.database.asking import pid_of
from tests.database.borrowing import Connector, borrowed, until
from tests.support.private_postgres import private_server


async def test_pool_opens_while_the_database_is_unreachable_and_fails_at_once(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    connector.away = True
    async with open_pool(connector, PoolSettings(1, 2)) as pool:
        with pytest.raises(ServiceUnavailable) as raised:
            async with pool.connection():
                pass
        assert isinstance(raised.value.__cause__, psycopg.OperationalError)
        assert trio.current_time() == 0 or math.isclose(trio.current_time(), 0, abs_tol=1e-6)
        assert pool.stats.failed


async def test_unreachable_database_fails_every_waiting_borrower(
    connector: Connector,
) -> None:
    connector.away = True
    rejections = 0
    async with open_pool(connector, PoolSettings(0, 2)) as pool, trio.open_nursery() as nursery:

        async def borrow() -> None:
            nonlocal rejections
            with pytest.raises(ServiceUnavailable):
                async with pool.connection():
                    pass
            rejections += 1

        for _ in range(20):
            nursery.start_soon(borrow)
        await until(lambda: rejections == 20)
        assert pool.stats.waiting == pool.stats.size == 0


async def test_first_borrower_after_the_outage_is_served(connector: Connector) -> None:
    connector.away = True
    async with open_pool(connector, PoolSettings(1, 2)) as pool:
        await until(lambda: pool.stats.failed >= 2)
        connector.away = False
        async with pool.connection() as connection:
            await pid_of(connection)


async def test_reconnect_attempts_back_off_until_they_succeed(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    connector.away = True
    mock_clock.autojump_threshold = 0.02
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        await trio.sleep(60)
        assert 6 <= connector.attempts <= 16
        connector.away = False
        # A connection takes real time, in which the clock would jump over its timeout.
        mock_clock.autojump_threshold = math.inf
        mock_clock.jump(11)
        mock_clock.rate = 1
        await until(lambda: pool.stats.idle == 1)


async def test_failed_connect_does_not_fail_a_borrower_served_by_a_return(
    connector: Connector,
) -> None:
    async with open_pool(connector, PoolSettings(1, 2)) as pool, trio.open_nursery() as nursery:
        served = trio.Event()

        async def borrow() -> None:
            async with pool.connection():
                served.set()

        async with pool.connection():
            connector.away = True
            nursery.start_soon(borrow)
            await until(lambda: pool.stats.failed > 0)
            assert pool.stats.waiting == 1
        await served.wait()


async def test_borrower_times_out_while_connecting_hangs(
    connector: Connector, autojump_clock: trio.testing.MockClock
) -> None:
    connector.hold = trio.Event()
    async with open_pool(connector, PoolSettings(1, 1, wait=5)) as pool:
        with pytest.raises(ServiceUnavailable) as raised:
            async with pool.connection():
                pass
        assert not isinstance(raised.value, ServiceOverloaded)
        assert trio.current_time() == 5


async def test_restart_of_the_database_under_load_needs_no_restart_of_the_pool() -> None:
    outcomes: list[str] = []
    stopping = trio.Event()

    async def work(pool: Pool) -> None:
        while not stopping.is_set():
            try:
                async with pool.connection() as connection:
                    await connection.execute("select pg_sleep(0.01)")
                outcomes.append("ok")
            except (ServiceUnavailable, psycopg.OperationalError):
                outcomes.append("away")
            await trio.sleep(0.005)

    with private_server() as server:
        connector = Connector(server.url)
        async with open_pool(connector, PoolSettings(2, 4)) as pool, trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(work, pool)
            await until(lambda: outcomes.count("ok") > 20)
            await trio.to_thread.run_sync(server.stop)
            await until(lambda: outcomes.count("away") > 20)
            assert outcomes[-1] == "away"
            await trio.to_thread.run_sync(server.start)
            before = outcomes.count("ok")
            await until(lambda: outcomes.count("ok") > before + 50)
            assert set(outcomes[-20:]) == {"ok"}
            stopping.set()
        assert pool.stats.in_use == pool.stats.size == 0


@pytest.mark.parametrize("seed", range(3))
async def test_random_failures_lose_no_connection_and_mix_no_results(
    connector: Connector, seed: int
) -> None:
    """Borrowers cancelled at random, sessions terminated, the database unreachable."""
    chance = random.Random(seed)
    served = 0

    async def ask(pool: Pool, n: int) -> None:
        nonlocal served
        with trio.move_on_after(chance.choice([0.001, 0.005, 0.02, 5])):
            try:
                async with pool.connection() as connection:
                    if chance.random() < 0.3:
                        await connection.execute("begin")
                    cursor = await connection.execute(
                        "select %s::int, pg_sleep(%s)", (n, chance.choice([0, 0.002, 0.01]))
                    )
                    if chance.random() < 0.05:
                        await connection.execute("select pg_terminate_backend(pg_backend_pid())")
                    row = await cursor.fetchone()
                    assert row is not None
                    assert row[0] == n
                    served += 1
            except (psycopg.OperationalError, ServiceUnavailable):
                pass

    async with open_pool(connector, PoolSettings(2, 5)) as pool:
        async with trio.open_nursery() as nursery:
            for n in range(300):
                nursery.start_soon(ask, pool, n)
                connector.away = chance.random() < 0.1
                await trio.sleep(0.001)
        connector.away = False
        await until(lambda: pool.stats.idle >= 2)
        assert (pool.stats.in_use, pool.stats.waiting) == (0, 0)
        assert pool.stats.size <= 5
        assert pool.stats.opened - pool.stats.closed == pool.stats.idle
        async with borrowed(pool, 5) as connections:
            for connection in connections:
                assert await pid_of(connection)
    assert served > 20
    assert pool.stats.opened == pool.stats.closed
