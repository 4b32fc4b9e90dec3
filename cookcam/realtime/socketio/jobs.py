"""Work done one piece after the other, by a task that exists only while there is some.

Ten thousand sockets that say nothing cost no task; one that speaks has its events handled in the
order they came.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio
from attrs import define, field

Job = Callable[[], Awaitable[None]]


class Owner(Protocol):
    """Beside whom jobs run: a session, or a nursery."""

    def start_soon(self, work: Job, /) -> None: ...


class Starts(Protocol):
    def start_soon(self, async_fn: Job, /) -> None: ...


@define(eq=False)
class Jobs:
    """Jobs must not raise but when cancelled."""

    _owner: Owner = field(alias="owner", repr=False)
    _waiting: list[Job] = field(factory=list[Job], init=False)
    _working: bool = field(default=False, init=False)
    _settled: trio.Event | None = field(default=None, init=False)

    def __len__(self) -> int:
        """How many wait, the running one not counted."""
        return len(self._waiting)

    @property
    def working(self) -> bool:
        return self._working

    def add(self, job: Job) -> None:
        self._waiting.append(job)
        if not self._working:
            self._working = True
            self._owner.start_soon(self._work)

    async def end_with(self, job: Job) -> None:
        """Does the last job, in the calling task where no other is at work."""
        self._waiting.append(job)
        if not self._working:
            self._working = True
            await self._work()

    async def settled(self) -> None:
        """Waits until there is nothing left to do."""
        while self._working:
            if self._settled is None:
                self._settled = trio.Event()
            await self._settled.wait()

    async def _work(self) -> None:
        try:
            while self._waiting:
                await self._waiting.pop(0)()
        finally:
            self._working = False
            if self._settled is not None:
                self._settled.set()
                self._settled = None
