"""Helpers for pool tests: a connector, borrowers and polling."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio
import trio.testing
from attrs import define

from cookcam.database.connecting import connect
from cookcam.database.connection import Connection
from cookcam.database.pool import Pool


@define
class Connector:
    """Opens real connections; with `away`, connecting fails."""

    url: str
    away: bool = False
    hold: trio.Event | None = None
    attempts: int = 0

    async def __call__(self) -> Connection:
        self.attempts += 1
        if self.hold is not None:
            await self.hold.wait()
        return await connect("postgresql:///?host=/nowhere" if self.away else self.url)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():
            await trio.sleep(0.005)


@asynccontextmanager
async def borrowed(pool: Pool, count: int) -> AsyncGenerator[list[Connection]]:
    """Hold `count` connections, each in a separate task."""
    connections: list[Connection] = []
    done = trio.Event()

    async def hold(task_status: trio.TaskStatus[None]) -> None:
        async with pool.connection() as connection:
            connections.append(connection)
            task_status.started()
            await done.wait()

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            await nursery.start(hold)
        yield connections
        done.set()
