"""LISTEN: receives the notifications that other sessions send with NOTIFY."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager

from psycopg import Notify, sql

from cookcam.database.connecting import connect
from cookcam.database.failures import translate_errors


@asynccontextmanager
async def listen(url: str, *channels: str) -> AsyncGenerator[AsyncGenerator[Notify]]:
    """Listen on a separate connection: LISTEN belongs to a session, and a pool shares sessions.

    Notifications sent after the block began are delivered. When the connection is lost, the
    iteration raises `ServiceUnavailable`. Notifications sent from then on are lost; the caller has
    to listen again and make up for them.
    """
    with translate_errors():
        connection = await connect(url)
    try:
        with translate_errors():
            for channel in channels:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        async with aclosing(_translate_notification_errors(connection.notifies())) as notifications:
            yield notifications
    finally:
        connection.close_now()


async def _translate_notification_errors(
    notifications: AsyncGenerator[Notify],
) -> AsyncGenerator[Notify]:
    with translate_errors():
        async for notification in notifications:
            yield notification
