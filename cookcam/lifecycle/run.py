"""The root of the tree: from nothing to serving to nothing, in one function.

`run` opens the program (services in order), starts what runs (background tasks, connections),
says that it is ready, waits for a reason to stop and shuts down in phases. The services close in
reverse order after the last task has ended, within `CLOSE_BOUND` seconds.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import structlog
import trio
from attrs import define, field, frozen

from cookcam.lifecycle.background import Background
from cookcam.lifecycle.shutdown import DrainReport, Server, Shutdown, Sockets
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.tree import snapshot
from cookcam.lifecycle.work import Work
from cookcam.settings.sections import DrainConfig

WATCHER = "watch signals"
CLOSE_BOUND = 5.0
"""Seconds for closing the services and flushing the last records."""


class Runnable(Protocol):
    """A core task of the tree: reports when it has started, returns when it is done."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None: ...


class Listening(Server, Protocol):
    """A server that `run` starts; it serves until its door is closed and all have left."""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None: ...

    async def accept(self, *, task_status: trio.TaskStatus[None]) -> None: ...


@frozen
class Program:
    """The opened parts that `run` starts and stops."""

    server: Listening
    sockets: Sockets
    background: Background
    on_ready: Callable[[], None]
    """Called once connections are accepted: log it, tell PM2."""


Assemble = Callable[[Lifecycle, Work], AbstractAsyncContextManager[Program]]


@define
class StopRequest:
    """The first reason to stop: a signal's name or the failure of a core task."""

    reason: str = ""
    error: BaseException | None = None
    _event: trio.Event = field(factory=trio.Event)

    def set(self, reason: str, error: BaseException | None = None) -> None:
        if not self._event.is_set():
            self.reason, self.error = reason, error
            self._event.set()

    def is_set(self) -> bool:
        return self._event.is_set()

    async def wait(self) -> None:
        await self._event.wait()


async def run(
    assemble: Assemble,
    settings: DrainConfig,
    *,
    signals: AsyncIterator[int],
    make_shutdown: Callable[..., Shutdown] = Shutdown,
) -> tuple[int, DrainReport | None]:
    """Runs the program until it is told to stop; returns (exit status, drain report).

    `signals` yields signal numbers: the first starts the drain, a second cancels everything at
    once. The status is 0 when nothing was cut, 1 otherwise. An exception while opening the
    program is raised as it is; one in a core task drains first and gives status 1.
    """
    log = structlog.get_logger("cookcam.lifecycle")
    lifecycle, work, stop = Lifecycle(), Work(), StopRequest()
    shutdown: Shutdown | None = None
    forced = False

    async def watch_signals() -> None:
        nonlocal forced
        async for number in signals:
            name = signal.Signals(number).name
            if stop.is_set():
                forced = True
                log.warning("Shutdown already in progress, forcing exit...", signal=name)
                work.give_up()
                root.cancel_scope.cancel()
                return
            log.info(f"{name} received, starting graceful shutdown...")
            stop.set(name)
            if lifecycle.phase is Phase.STARTING:
                opening.cancel()

    async def guard(task: Runnable, *, task_status: trio.TaskStatus[None]) -> None:
        """A core task: its failure is a reason to stop, through the same phases."""
        try:
            await task(task_status=task_status)
        except Exception as error:
            log.error("a core task failed, starting graceful shutdown...", exc_info=error)
            stop.set("failure", error)

    closed_after, tasks_left = trio.current_time(), 0
    async with trio.open_nursery() as root:
        root.start_soon(watch_signals, name=WATCHER)
        opening, closing = trio.CancelScope(), trio.CancelScope()
        with opening, closing:
            async with assemble(lifecycle, work) as program:
                try:
                    async with trio.open_nursery() as running:
                        await running.start(guard, program.background.run)
                        await running.start(guard, program.server.serve)
                        await running.start(guard, program.server.accept)
                        lifecycle.enter(Phase.SERVING)
                        program.on_ready()
                        await stop.wait()
                        shutdown = make_shutdown(
                            lifecycle=lifecycle,
                            settings=settings,
                            work=work,
                            server=program.server,
                            sockets=program.sockets,
                            background=program.background,
                            cut_everything=running.cancel_scope.cancel,
                        )
                        await shutdown.run()
                finally:  # forced or not: what follows is the closing of the services
                    closed_after = trio.current_time()
                    closing.deadline = closed_after + CLOSE_BOUND
        left = [task for task in root.child_tasks if task.name != WATCHER]
        tasks_left = sum(1 + snapshot(task).count() for task in left)
        root.cancel_scope.cancel()

    lifecycle.enter(Phase.CLOSED)
    report = None
    if shutdown is not None:
        seconds = {**shutdown.seconds, "close": round(trio.current_time() - closed_after, 3)}
        report = DrainReport(
            reason=stop.reason,
            finished=dict(work.finished),
            cut=dict(work.cut),
            cut_names=tuple(work.cut_names),
            seconds=seconds,
            tasks_left=tasks_left,
        )
    clean = not forced and stop.error is None and (report is None or report.clean)
    return (0 if clean else 1), report
