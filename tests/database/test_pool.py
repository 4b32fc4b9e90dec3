"""The pool's rules on real connections; a virtual clock for the rules about time."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
import trio
import trio.testing

from cookcam.database.connecting import connect
from cookcam.database.pool import MAINTENANCE_INTERVAL, Pool, PoolSettings, open_pool
from cookcam.errors import ServiceOverloaded, ServiceUnavailable
from tests.database.asking import pid_of
from tests.database.borrowing import Connector, borrowed, until

# Sizes


async def test_minimum_is_opened_in_the_background(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(3, 5)) as pool:
        await until(lambda: pool.stats.idle == 3)
        assert pool.stats.size == pool.stats.opened == 3


async def test_more_are_opened_on_demand_up_to_the_maximum(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 3, wait=0.3)) as pool:
        async with borrowed(pool, 3) as connections:
            assert len({await pid_of(connection) for connection in connections}) == 3
            with pytest.raises(ServiceOverloaded):
                async with pool.connection():
                    pass
            assert (pool.stats.size, pool.stats.in_use, pool.stats.rejected) == (3, 3, 1)
        assert (pool.stats.idle, pool.stats.in_use, pool.stats.waiting) == (3, 0, 0)


async def test_connection_returned_last_is_borrowed_next(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(3, 3)) as pool:
        await until(lambda: pool.stats.idle == 3)
        async with pool.connection() as connection:
            first = await pid_of(connection)
        for _ in range(5):
            async with pool.connection() as connection:
                assert await pid_of(connection) == first


# The queue


async def test_maximum_waiting_borrower_is_served_first(connector: Connector) -> None:
    order: list[int] = []
    async with open_pool(connector, PoolSettings(1, 1)) as pool, trio.open_nursery() as nursery:

        async def borrow(n: int) -> None:
            async with pool.connection():
                order.append(n)

        async with pool.connection():
            for n in range(5):
                nursery.start_soon(borrow, n)
                await until(lambda n=n: pool.stats.waiting == n + 1)
    assert order == [0, 1, 2, 3, 4]


async def test_borrower_takes_a_returned_connection_before_a_slow_new_one(
    connector: Connector,
) -> None:
    async with open_pool(connector, PoolSettings(1, 2)) as pool, trio.open_nursery() as nursery:
        got: list[int] = []

        async def borrow() -> None:
            async with pool.connection() as connection:
                got.append(await pid_of(connection))

        async with pool.connection() as connection:
            only = await pid_of(connection)
            connector.hold = trio.Event()
            nursery.start_soon(borrow)
            await until(lambda: pool.stats.waiting == 1)
        await until(lambda: got == [only])
        connector.hold.set()
        await until(lambda: pool.stats.idle == 2)


async def test_cancelled_borrower_leaves_the_queue(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection():
            with trio.move_on_after(0.02) as scope:
                async with pool.connection():
                    pass
            assert scope.cancelled_caught
            assert pool.stats.waiting == 0
        assert pool.stats.idle == 1


async def test_connection_handed_to_a_cancelled_borrower_is_not_lost(
    connector: Connector,
) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool, trio.open_nursery() as nursery:
        scope = trio.CancelScope()

        async def borrow() -> None:
            with scope:
                async with pool.connection():
                    pytest.fail("was cancelled")

        async with pool.connection():
            nursery.start_soon(borrow)
            await until(lambda: pool.stats.waiting == 1)
            scope.cancel()
        assert pool.stats.in_use == 1, "given to the borrower, who has not run yet"
        await until(lambda: pool.stats.idle == 1)


async def test_cancelled_scope_borrows_nothing(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pool.connection():
                pytest.fail("was cancelled")
        assert pool.stats.borrowed == 0


# Health


@pytest.mark.parametrize("statement", ["select 1", "select 1/0"])
async def test_open_transaction_is_rolled_back_on_return(
    connector: Connector, statement: str
) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
            await connection.execute("begin")
            with suppress(psycopg.Error):
                await connection.execute(statement)
        async with pool.connection() as connection:
            assert await pid_of(connection) == pid
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_borrower_cancelled_in_a_transaction_returns_a_clean_connection(
    connector: Connector,
) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        with trio.move_on_after(0.05):
            async with pool.connection() as connection:
                pid = await pid_of(connection)
                await connection.execute("begin")
                await connection.execute("select pg_sleep(60)")
        async with pool.connection() as connection:
            assert await pid_of(connection) == pid
        assert pool.stats.broken == 0


async def test_connection_that_breaks_in_use_is_replaced(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("select pg_terminate_backend(pg_backend_pid())")
        async with pool.connection() as connection:
            assert await pid_of(connection) != pid
        assert pool.stats.broken == 1


async def test_idle_connection_that_died_is_not_handed_out(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(2, 2)) as pool:
        await until(lambda: pool.stats.idle == 2)
        async with await connect(connector.url) as admin:
            await admin.execute(
                "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
                " where datname = current_database() and pid <> pg_backend_pid()"
                " and application_name = 'cookcam'"
            )
        async with pool.connection() as connection:
            await pid_of(connection)
        assert pool.stats.broken == 2


# Time


async def test_expired_connection_is_replaced_on_return(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(1, 1, lifetime=600)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
            mock_clock.jump(601)
        async with pool.connection() as connection:
            assert await pid_of(connection) != pid
        assert (pool.stats.closed, pool.stats.broken) == (1, 0)


async def test_expired_connection_is_replaced_while_idle(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(2, 2, lifetime=600)) as pool:
        await opened(pool, 2)
        mock_clock.jump(601)
        await opened(pool, 4)
        assert (pool.stats.idle, pool.stats.closed) == (2, 2)


async def test_lifetimes_differ(connector: Connector, mock_clock: trio.testing.MockClock) -> None:
    async with open_pool(connector, PoolSettings(8, 8, lifetime=1_000_000)) as pool:
        await opened(pool, 8)
        mock_clock.jump(950_000)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert 0 < pool.stats.closed < 8


async def test_unneeded_connections_are_closed_down_to_the_minimum(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(1, 4, idle=60)) as pool:
        async with borrowed(pool, 4):
            pass
        assert pool.stats.idle == 4
        mock_clock.jump(61)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (pool.stats.idle, pool.stats.size) == (1, 1)


async def test_idle_connections_that_die_are_replaced(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
        async with await connect(connector.url) as admin:
            await admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        mock_clock.jump(MAINTENANCE_INTERVAL)
        await opened(pool, 2)
        assert pool.stats.broken == 1


async def opened(pool: Pool, count: int) -> None:
    """Wait in real time until `count` connections have been opened."""
    for _ in range(500):
        if pool.stats.opened == count:
            return
        await trio.testing.wait_all_tasks_blocked(0.005)
    pytest.fail(f"{pool.stats}")


# Closing


async def test_closing_waits_for_borrowers_and_rejects_new_ones(connector: Connector) -> None:
    events: list[str] = []
    async with trio.open_nursery() as nursery:
        async with open_pool(connector, PoolSettings(1, 1)) as pool:
            async with pool.connection() as connection:
                connection.close_now()  # a lost connection must not count as the last return

            async def borrow(task_status: trio.TaskStatus[None]) -> None:
                async with pool.connection() as connection:
                    task_status.started()
                    await connection.execute("select pg_sleep(0.1)")
                    with pytest.raises(ServiceUnavailable):
                        async with pool.connection():
                            pass
                    events.append("returned")

            await nursery.start(borrow)
        events.append("closed")
    assert events == ["returned", "closed"], pool.stats
    assert pool.stats.size == 0


async def test_closing_rejects_waiting_borrowers(connector: Connector) -> None:
    async with trio.open_nursery() as nursery, open_pool(connector, PoolSettings(1, 1)) as pool:
        rejected = trio.Event()

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with pool.connection():
                task_status.started()
                await rejected.wait()

        async def queue() -> None:
            with pytest.raises(ServiceUnavailable):
                async with pool.connection():
                    pass
            rejected.set()

        await nursery.start(hold)
        nursery.start_soon(queue)
        await until(lambda: pool.stats.waiting == 1)


async def test_closing_times_out_and_closes_connections_in_use(
    connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.database.pool.CLOSE_TIMEOUT", 0.05)
    async with trio.open_nursery() as nursery, open_pool(connector, PoolSettings(1, 1)) as pool:

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with pool.connection() as connection:
                task_status.started()
                with pytest.raises(psycopg.OperationalError):
                    await connection.execute("select pg_sleep(60)")

        await nursery.start(hold)
    assert (pool.stats.size, pool.stats.closed) == (0, 1)


async def test_error_of_the_block_is_raised_unchanged(connector: Connector) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_pool(connector, PoolSettings(1, 1)):
            raise KeyError("mine")


async def test_cancelled_block_closes_without_waiting(connector: Connector) -> None:
    with trio.CancelScope() as scope:
        async with open_pool(connector, PoolSettings(1, 1)) as pool:
            async with pool.connection():
                pass
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert pool.stats.size == 0
