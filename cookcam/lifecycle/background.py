"""Background tasks: named, restarted after a failure, stopped between units of work."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NoReturn, Protocol

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import ServiceUnavailable, SwitchedOff
from cookcam.lifecycle.work import Work
from cookcam.observability.tracing import span

INITIAL_BACKOFF = 0.5
"""Seconds before a failed task is restarted; doubled after each failure up to MAX_BACKOFF."""
MAX_BACKOFF = 60.0
MAX_OUTAGE_BACKOFF = 5.0
"""Maximum backoff in seconds while the database or a provider is unavailable."""
HEALTHY_AFTER = 60.0
"""A task that ran for this many seconds is restarted with the initial backoff."""


@frozen
class Task:
    """A job that runs until it is cancelled.

    A task that returns is done. A task that raises is logged, reported and restarted after a
    jittered backoff. A failing task never ends the process.
    """

    name: str
    run: Callable[[], Awaitable[None]]


class TaskObserver(Protocol):
    """Receives the state and the failures of background tasks, for metrics and error reports."""

    def task_running(self, name: str, *, running: bool) -> None:
        """The task has been started, or has ended until it is restarted."""
        ...

    def task_failed(self, name: str, error: Exception) -> None: ...


async def run_periodically(
    step: Callable[[], Awaitable[object]],
    interval: float,
    *,
    spread: tuple[float, float] = (0.5, 1.0),
    at_once: bool = False,
) -> NoReturn:
    """Call `step` about every `interval` seconds until cancelled; with `at_once` also at the start.

    Each wait is the interval times a random factor in `spread`: instances that started together do
    not run together. An exception of `step` ends it; `Background` restarts a task that raised.
    """
    name = trio.lowlevel.current_task().name
    if at_once:
        with span(name):
            await step()
    while True:
        await trio.sleep(interval * random.uniform(*spread))  # noqa: S311 - jitter
        with span(name):
            await step()


@define(eq=False)
class Bell:
    """Wakes the background task; while the task works, it is woken again afterwards."""

    _rung: trio.Event = field(factory=trio.Event)

    def ring(self) -> None:
        self._rung.set()

    async def wait(self, timeout: float) -> None:
        """Returns when the task is woken, or after `timeout` seconds."""
        with trio.move_on_after(timeout):
            await self._rung.wait()
        self._rung = trio.Event()


@define
class Background:
    """Runs and supervises the background tasks."""

    work: Work
    tasks: Sequence[Task] = ()
    observer: TaskObserver | None = None
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _units: set[trio.CancelScope] = field(factory=set[trio.CancelScope], init=False)
    _done: trio.Event = field(factory=trio.Event, init=False)

    @contextmanager
    def unit(self, name: str) -> Generator[None]:
        """A unit of work of a job: `drain` lets it finish, only `cut` cancels it."""
        with trio.CancelScope(shield=True) as scope, self.work.unit("job", name):
            self._units.add(scope)
            try:
                yield
            finally:
                self._units.discard(scope)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run all tasks until `drain` or cancellation."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in self.tasks:
                        nursery.start_soon(self._supervise, task, name=f"background {task.name}")
                    task_status.started()
        finally:
            self._done.set()

    async def drain(self) -> None:
        """Stop every task at the end of its current unit and wait for all of them."""
        self._scope.cancel()
        await self._done.wait()

    def cut(self) -> None:
        """Cancel the current units too."""
        for scope in self._units:
            scope.cancel()

    @contextmanager
    def _running(self, task: Task) -> Generator[None]:
        if self.observer is None:
            yield
            return
        self.observer.task_running(task.name, running=True)
        try:
            yield
        finally:
            self.observer.task_running(task.name, running=False)

    async def _supervise(self, task: Task) -> None:
        log = structlog.get_logger("cookcam.background")
        backoff = INITIAL_BACKOFF
        while True:
            started_at = trio.current_time()
            try:
                with self._running(task):
                    await task.run()
                return
            except ServiceUnavailable as error:
                # Not a bug in the task: log one line, and retry soon after the outage ends.
                write = log.debug if isinstance(error, SwitchedOff) else log.warning
                write("background task waits", task=task.name, code=error.code)
                backoff = min(backoff, MAX_OUTAGE_BACKOFF)
            except Exception as error:
                log.error("background task failed", task=task.name, exc_info=error)
                if self.observer is not None:
                    self.observer.task_failed(task.name, error)
            if trio.current_time() - started_at >= HEALTHY_AFTER:
                backoff = INITIAL_BACKOFF
            await trio.sleep(backoff * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            backoff = min(backoff * 2, MAX_BACKOFF)
