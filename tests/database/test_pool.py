"""The pool's rules, on real connections. Time is moved by hand where a rule is about time."""

from __future__ import annotations

from contextlib import suppress

import psycopg
import pytest
import trio
import trio.testing

from cookcam.database.connecting import connect
from cookcam.database.pool import LOOK_ROUND, Pool, PoolSettings, open_pool
from cookcam.errors import ServiceOverloaded, ServiceUnavailable
from tests.database.asking import pid_of
from tests.database.borrowing import Connector, borrowed, until

# Sizes


async def test_the_minimum_is_opened_in_the_background(connector: Connector) -> None:
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
            assert (pool.stats.size, pool.stats.in_use, pool.stats.refused) == (3, 3, 1)
        assert (pool.stats.idle, pool.stats.in_use, pool.stats.waiting) == (3, 0, 0)


async def test_the_connection_returned_last_is_borrowed_next(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(3, 3)) as pool:
        await until(lambda: pool.stats.idle == 3)
        async with pool.connection() as connection:
            first = await pid_of(connection)
        for _ in range(5):
            async with pool.connection() as connection:
                assert await pid_of(connection) == first


# The queue


async def test_whoever_waits_longest_is_served_first(connector: Connector) -> None:
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


async def test_a_borrower_takes_a_returned_connection_before_a_slow_new_one(
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


async def test_a_borrower_that_gives_up_leaves_the_queue(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection():
            with trio.move_on_after(0.02) as scope:
                async with pool.connection():
                    pass
            assert scope.cancelled_caught
            assert pool.stats.waiting == 0
        assert pool.stats.idle == 1


async def test_a_connection_given_to_a_borrower_that_gave_up_meanwhile_is_not_lost(
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


async def test_a_cancelled_scope_borrows_nothing(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        with trio.CancelScope() as scope:
            scope.cancel()
            async with pool.connection():
                pytest.fail("was cancelled")
        assert pool.stats.borrowed == 0


# Health


@pytest.mark.parametrize("statement", ["select 1", "select 1/0"])
async def test_a_transaction_left_open_is_rolled_back(connector: Connector, statement: str) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
            await connection.execute("begin")
            with suppress(psycopg.Error):
                await connection.execute(statement)
        async with pool.connection() as connection:
            assert await pid_of(connection) == pid
            assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


async def test_a_borrower_cancelled_in_a_transaction_returns_a_clean_connection(
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


async def test_a_connection_that_breaks_in_use_is_replaced(connector: Connector) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("select pg_terminate_backend(pg_backend_pid())")
        async with pool.connection() as connection:
            assert await pid_of(connection) != pid
        assert pool.stats.broken == 1


async def test_a_connection_that_died_at_rest_is_not_handed_out(connector: Connector) -> None:
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


async def test_an_old_connection_is_replaced_when_it_comes_back(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(1, 1, lifetime=600)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
            mock_clock.jump(601)
        async with pool.connection() as connection:
            assert await pid_of(connection) != pid
        assert (pool.stats.closed, pool.stats.broken) == (1, 0)


async def test_an_old_connection_is_replaced_at_rest(
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


async def test_what_is_not_needed_is_closed_down_to_the_minimum(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(1, 4, idle=60)) as pool:
        async with borrowed(pool, 4):
            pass
        assert pool.stats.idle == 4
        mock_clock.jump(61)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (pool.stats.idle, pool.stats.size) == (1, 1)


async def test_connections_that_die_at_rest_are_noticed_and_replaced(
    connector: Connector, mock_clock: trio.testing.MockClock
) -> None:
    async with open_pool(connector, PoolSettings(1, 1)) as pool:
        async with pool.connection() as connection:
            pid = await pid_of(connection)
        async with await connect(connector.url) as admin:
            await admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))
        mock_clock.jump(LOOK_ROUND)
        await opened(pool, 2)
        assert pool.stats.broken == 1


async def opened(pool: Pool, count: int) -> None:
    """Wait in real time, whatever the virtual clock says, until so many were opened."""
    for _ in range(500):
        if pool.stats.opened == count:
            return
        await trio.testing.wait_all_tasks_blocked(0.005)
    pytest.fail(f"{pool.stats}")


# Closing


async def test_closing_waits_for_borrowers_and_refuses_new_ones(connector: Connector) -> None:
    events: list[str] = []
    async with trio.open_nursery() as nursery:
        async with open_pool(connector, PoolSettings(1, 1)) as pool:
            async with pool.connection() as connection:
                connection.close_now()  # a loss, which must not count as the last return

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


async def test_closing_tells_the_queue(connector: Connector) -> None:
    async with trio.open_nursery() as nursery, open_pool(connector, PoolSettings(1, 1)) as pool:
        refused = trio.Event()

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with pool.connection():
                task_status.started()
                await refused.wait()

        async def queue() -> None:
            with pytest.raises(ServiceUnavailable):
                async with pool.connection():
                    pass
            refused.set()

        await nursery.start(hold)
        nursery.start_soon(queue)
        await until(lambda: pool.stats.waiting == 1)


async def test_closing_is_bounded_and_then_closes_under_the_borrower(
    connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cookcam.database.pool.CLOSE_WAIT", 0.05)
    async with trio.open_nursery() as nursery, open_pool(connector, PoolSettings(1, 1)) as pool:

        async def hold(task_status: trio.TaskStatus[None]) -> None:
            async with pool.connection() as connection:
                task_status.started()
                with pytest.raises(psycopg.OperationalError):
                    await connection.execute("select pg_sleep(60)")

        await nursery.start(hold)
    assert (pool.stats.size, pool.stats.closed) == (0, 1)


async def test_an_error_of_the_block_comes_out_as_it_is(connector: Connector) -> None:
    with pytest.raises(KeyError, match="mine"):
        async with open_pool(connector, PoolSettings(1, 1)):
            raise KeyError("mine")


async def test_a_cancelled_block_closes_without_waiting(connector: Connector) -> None:
    with trio.CancelScope() as scope:
        async with open_pool(connector, PoolSettings(1, 1)) as pool:
            async with pool.connection():
                pass
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert pool.stats.size == 0
