from __future__ import annotations

import pytest
import trio

from cookcam.database import Database
from cookcam.database.connecting import connect
from cookcam.errors import ServiceUnavailable
from tests.support.postgres import as_owner


async def test_notification_sent_after_listen_is_received(database: Database) -> None:
    async with database.listen("orders", 'od"d') as notifications:
        async with database.transaction() as tx:
            await tx.execute("select pg_notify('orders', 'a'), pg_notify('od\"d', 'b')")
        received: set[tuple[str, str]] = set()
        with trio.fail_after(20):
            async for notification in notifications:
                received.add((notification.channel, notification.payload))
                if len(received) == 2:
                    break
    assert received == {("orders", "a"), ('od"d', "b")}
    assert database.stats.in_use == 0


async def test_listening_can_be_cancelled(database: Database) -> None:
    with trio.move_on_after(0.05) as scope:
        async with database.listen("silence") as notifications:
            async for _ in notifications:
                pass
    assert scope.cancelled_caught


async def test_lost_connection_raises_in_the_listener(
    database: Database, database_url: str
) -> None:
    async with database.listen("news") as notifications:
        async with await connect(as_owner(database_url)) as admin:
            await admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where datname = current_database() and query like 'listen%'"
            )
        with trio.fail_after(20), pytest.raises(ServiceUnavailable):
            async for _ in notifications:
                pass
