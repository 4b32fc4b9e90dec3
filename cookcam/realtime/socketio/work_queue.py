"""Runs the work of one client in order, in a task that exists only while there is work.

An idle socket needs no task; the events of an active one are handled in the order of arrival.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import define, field

Work = Callable[[], Awaitable[None]]


class Spawner(Protocol):
    """A session or a nursery."""

    def start_soon(self, work: Work, /) -> None: ...


@define(eq=False)
class WorkQueue:
    """Work must raise only Cancelled."""

    _spawner: Spawner = field(alias="spawner", repr=False)
    _waiting: list[Work] = field(factory=list[Work], init=False)
    _working: bool = field(default=False, init=False)
    _finished: trio.Event | None = field(default=None, init=False)

    def __len__(self) -> int:
        """The number of waiting items, without the running one."""
        return len(self._waiting)

    @property
    def working(self) -> bool:
        return self._working

    def add(self, work: Work) -> None:
        self._waiting.append(work)
        if not self._working:
            self._working = True
            self._spawner.start_soon(self._run)

    async def add_and_run(self, work: Work) -> None:
        """Adds the last item, and runs it in the calling task unless the queue's task runs."""
        self._waiting.append(work)
        if not self._working:
            self._working = True
            await self._run()

    async def wait_idle(self) -> None:
        """Waits until all work is done."""
        while self._working:
            if self._finished is None:
                self._finished = trio.Event()
            await self._finished.wait()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._waiting.pop(0)()
        finally:
            self._working = False
            if self._finished is not None:
                self._finished.set()
                self._finished = None
