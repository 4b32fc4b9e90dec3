"""What other sessions announce with NOTIFY."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from psycopg import Notify, sql

from cookcam.database.connecting import connect
from cookcam.database.failures import translated


@asynccontextmanager
async def listen(url: str, *channels: str) -> AsyncGenerator[AsyncGenerator[Notify]]:
    """Listen on a connection of its own: LISTEN belongs to a session, and a pool shares sessions.

    Notifications sent after the block began are not missed. When the connection is lost the
    iteration raises `ServiceUnavailable`: what was announced meanwhile is gone, and the caller, who
    alone knows what to do about that, listens again.
    """
    with translated():
        connection = await connect(url)
    try:
        with translated():
            for channel in channels:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        async with aclosing(_translated(connection.notifies())) as notifications:
            yield notifications
    finally:
        connection.close_now()


async def _translated(notifications: AsyncGenerator[Notify]) -> AsyncGenerator[Notify]:
    with translated():
        async for notification in notifications:
            yield notification
