"""Query helpers for the tests of connections and pools."""

from __future__ import annotations

from cookcam.database.connection import Connection


async def value(connection: Connection, query: str, *params: object) -> object:
    cursor = await connection.execute(query, params or None)
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def statements_running(connection: Connection, pid: int) -> object:
    return await value(
        connection,
        "select count(*) from pg_stat_activity where pid = %s and state <> 'idle'",
        pid,
    )


async def pid_of(connection: Connection) -> int:
    pid = await value(connection, "select pg_backend_pid()")
    assert isinstance(pid, int)
    return pid
