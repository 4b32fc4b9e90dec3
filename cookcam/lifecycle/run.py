"""Runs the program from start to exit in one function.

`run` opens the services in order, starts the background tasks and the server, reports readiness,
waits for a signal or a failure and shuts down in phases. The services close in reverse order
after the last task has ended, within `CLOSE_TIMEOUT` seconds.
"""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Protocol

import structlog
import trio
from attrs import define, field, frozen

from cookcam.config.sections import DrainConfig
from cookcam.lifecycle.background import Background
from cookcam.lifecycle.shutdown import DrainReport, Server, Shutdown, Sockets
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.tree import snapshot
from cookcam.lifecycle.work import Work

WATCHER = "watch signals"
CLOSE_TIMEOUT = 5.0
"""Seconds for closing the services and flushing the last log records."""


class Runnable(Protocol):
    """A core task: reports when it has started, returns when it is done."""

    async def __call__(self, *, task_status: trio.TaskStatus[None]) -> None: ...


class ListeningServer(Server, Protocol):
    """A server that `run` starts; it serves until it stops accepting and all clients have left."""

    async def serve(self, *, task_status: trio.TaskStatus[None]) -> None: ...

    async def accept(self, *, task_status: trio.TaskStatus[None]) -> None: ...


@frozen
class Program:
    """The opened parts that `run` starts and stops."""

    server: ListeningServer
    sockets: Sockets
    background: Background
    on_ready: Callable[[], None]
    """Called once connections are accepted: logs it and reports readiness to PM2."""


Assemble = Callable[[Lifecycle, Work], AbstractAsyncContextManager[Program]]


async def run(
    assemble: Assemble,
    settings: DrainConfig,
    *,
    signals: AsyncIterator[int],
    make_shutdown: Callable[..., Shutdown] = Shutdown,
) -> tuple[int, DrainReport | None]:
    """Run the program until a signal or a failure. Returns (exit status, drain report).

    `signals` yields signal numbers: the first starts the drain, a second cancels everything at
    once. The status is 0 when nothing was cut, 1 otherwise. An exception while opening the
    program is raised unchanged; an exception in a core task starts the drain and gives status 1.
    """
    program_run = _ProgramRun(settings, make_shutdown)
    async with trio.open_nursery() as root:
        root.start_soon(program_run.watch, signals, root.cancel_scope, name=WATCHER)
        with program_run.opening, program_run.closing:
            async with assemble(program_run.lifecycle, program_run.work) as program:
                try:
                    await program_run.serve(program)
                finally:
                    program_run.begin_closing()
        program_run.count_tasks_left(root)
        root.cancel_scope.cancel()
    return program_run.end()


@define
class _ProgramRun:
    """The state and the steps of one call of `run`."""

    settings: DrainConfig
    make_shutdown: Callable[..., Shutdown]
    lifecycle: Lifecycle = field(factory=Lifecycle, init=False)
    work: Work = field(factory=Work, init=False)
    opening: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    """Scope of the opened program; cancelled by a signal that arrives during the start."""
    closing: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    """Scope of the opened program; its deadline limits the closing of the services."""
    _forced: bool = field(default=False, init=False)
    _shutdown: Shutdown | None = field(default=None, init=False)
    _closed_after: float = field(factory=trio.current_time, init=False)
    _tasks_left: int = field(default=0, init=False)
    _log: Any = field(factory=lambda: structlog.get_logger("cookcam.lifecycle"), init=False)

    async def watch(self, signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        """Start the drain on the first signal; cancel everything on the second."""
        async for number in signals:
            name = signal.Signals(number).name
            if self.lifecycle.stop.is_set():
                self._forced = True
                self._log.warning("Shutdown already in progress, forcing exit...", signal=name)
                self.work.mark_running_as_cut()
                everything.cancel()
                return
            self._log.info(f"{name} received, starting graceful shutdown...")
            self.lifecycle.stop.set(name)
            if self.lifecycle.phase is Phase.STARTING:
                self.opening.cancel()

    async def serve(self, program: Program) -> None:
        """Run the core tasks, from the start of the first to the end of the last."""
        async with trio.open_nursery() as running:
            await running.start(self._guard, program.background.run)
            await running.start(self._guard, program.server.serve)
            await running.start(self._guard, program.server.accept)
            if not self.lifecycle.stop.is_set():
                self.lifecycle.enter(Phase.SERVING)
                program.on_ready()
            await self.lifecycle.stop.wait()
            self._shutdown = self.make_shutdown(
                lifecycle=self.lifecycle,
                settings=self.settings,
                work=self.work,
                server=program.server,
                sockets=program.sockets,
                background=program.background,
                cancel_everything=running.cancel_scope.cancel,
            )
            await self._shutdown.run()

    def begin_closing(self) -> None:
        self._closed_after = trio.current_time()
        self.closing.deadline = self._closed_after + CLOSE_TIMEOUT

    def count_tasks_left(self, root: trio.Nursery) -> None:
        """Count the tasks besides the watcher that still run after the services are closed."""
        left = [task for task in root.child_tasks if task.name != WATCHER]
        self._tasks_left = sum(1 + snapshot(task).count() for task in left)

    def end(self) -> tuple[int, DrainReport | None]:
        """Build the result of `run`."""
        self.lifecycle.enter(Phase.CLOSED)
        report = None if self._shutdown is None else self._report(self._shutdown)
        clean = (
            not self._forced
            and self.lifecycle.stop.error is None
            and (report is None or report.clean)
        )
        return (0 if clean else 1), report

    async def _guard(self, task: Runnable, *, task_status: trio.TaskStatus[None]) -> None:
        """Run a core task; its failure requests a stop through the same phases."""
        try:
            await task(task_status=task_status)
        except Exception as error:
            self._log.error("a core task failed, starting graceful shutdown...", exc_info=error)
            self.lifecycle.stop.set("failure", error)
            with suppress(RuntimeError):  # it had started already
                task_status.started()

    def _report(self, shutdown: Shutdown) -> DrainReport:
        close = round(trio.current_time() - self._closed_after, 3)
        return DrainReport(
            reason=self.lifecycle.stop.reason,
            finished=dict(self.work.finished),
            cut=dict(self.work.cut),
            cut_names=tuple(self.work.cut_names),
            seconds={**shutdown.seconds, "close": close},
            tasks_left=self._tasks_left,
        )
