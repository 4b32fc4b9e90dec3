"""Background tasks: supervised, named, restarted when they fail, stopped between units."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Protocol

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import ServiceUnavailable
from cookcam.lifecycle.work import Work

FIRST_PAUSE = 0.5
"""Seconds before a failed task is started again; doubled each time up to LONGEST_PAUSE."""
LONGEST_PAUSE = 60.0
LONGEST_OUTAGE_PAUSE = 5.0
"""The same while the database or a provider is away."""
HEALTHY_AFTER = 60.0
"""A task that ran this many seconds starts again with the first pause."""


@frozen
class Task:
    """A job that runs until it is cancelled.

    A task that returns is done. One that raises is logged, counted and started again after a
    jittered pause; it never ends the process and is never silent (`spec/operations.md` §17, 69).
    """

    name: str
    run: Callable[[], Awaitable[None]]


class TaskObserver(Protocol):
    """Who wants to know of restarts: metrics and error reports."""

    def task_failed(self, name: str, error: Exception) -> None: ...


@define
class Background:
    """Owns the supervised tasks of the tree."""

    work: Work
    tasks: Sequence[Task] = ()
    observer: TaskObserver | None = None
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _units: set[trio.CancelScope] = field(factory=set[trio.CancelScope], init=False)
    _done: trio.Event = field(factory=trio.Event, init=False)

    @contextmanager
    def unit(self, name: str) -> Generator[None]:
        """A stretch of a job that a drain lets finish; only the cut cancels it."""
        with trio.CancelScope(shield=True) as scope, self.work.unit("job", name):
            self._units.add(scope)
            try:
                yield
            finally:
                self._units.discard(scope)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Runs all tasks until `drain` or cancellation."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in self.tasks:
                        nursery.start_soon(self._supervise, task, name=f"background {task.name}")
                    task_status.started()
        finally:
            self._done.set()

    async def drain(self) -> None:
        """Stops every task at the end of its unit at hand and waits for all of them."""
        self._scope.cancel()
        await self._done.wait()

    def cut(self) -> None:
        """Cancels the units at hand too."""
        for scope in self._units:
            scope.cancel()

    async def _supervise(self, task: Task) -> None:
        log = structlog.get_logger("cookcam.background")
        pause = FIRST_PAUSE
        while True:
            began = trio.current_time()
            try:
                await task.run()
                return
            except ServiceUnavailable as error:
                # An outage is no crash: one line, and back soon after it is over.
                log.warning("background task waits", task=task.name, code=error.code)
                pause = min(pause, LONGEST_OUTAGE_PAUSE)
            except Exception as error:
                log.error("background task failed", task=task.name, exc_info=error)
                if self.observer is not None:
                    self.observer.task_failed(task.name, error)
            if trio.current_time() - began >= HEALTHY_AFTER:
                pause = FIRST_PAUSE
            await trio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)
