"""`cookcam serve --workers`: several server processes on one port, and the process above them.

Each worker has a listening socket of its own; the kernel spreads new connections among them
(SO_REUSEPORT). The supervisor keeps all sockets open, so a connection in the accept queue of a
worker that ends waits for its successor.

| to | the supervisor |
|---|---|
| stop a worker | closes its standard input; the worker drains as on SIGTERM |
| learn that it is ready | reads PM2's ready message from the worker's channel |
| learn how its drain ended | reads the report that the worker writes to the same channel |

A worker whose supervisor is killed sees the end of its input too, and drains.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from typing import Any

import structlog
import trio
from attrs import asdict, define, field, frozen

from cookcam.lifecycle.shutdown import DrainReport

READY_TIMEOUT = 60.0
"""Seconds that a reload gives a new worker to become ready."""
RESTART_DELAY = 1.0
"""Seconds before a worker that has crashed is replaced."""
FORCE_DELAY = 0.05
"""Seconds between two signals to a worker: the kernel merges signals that are both pending."""
STOP = signal.SIGUSR1
"""What the end of its input is for a worker."""


@define(eq=False)
class Worker:
    """One server process. `slot` is the number of its listening socket."""

    slot: int
    process: subprocess.Popen[bytes]
    is_ready: bool = False
    is_retired: bool = False
    """It has been asked to stop."""
    settled: trio.Event = field(factory=trio.Event)
    """Set when it is ready, or has ended."""
    ended: trio.Event = field(factory=trio.Event)

    def stop(self) -> None:
        """Let it drain; one that is not ready yet has nothing to drain."""
        self.is_retired = True
        if not self.is_ready:
            self.process.terminate()
        if self.process.stdin is not None:
            self.process.stdin.close()


@define(eq=False)
class Supervisor:
    """Runs one worker for each socket. `command` starts one, without the options of a worker.

    `on_ready` is called once, when all workers are ready.
    """

    command: Sequence[str]
    sockets: Sequence[socket.socket]
    on_ready: Callable[[], None]
    _current: list[Worker] = field(factory=list[Worker], init=False)
    """The worker of each socket."""
    _live: set[Worker] = field(factory=set[Worker], init=False)
    _reports: list[DrainReport] = field(factory=list[DrainReport], init=False)
    _reason: str = field(default="", init=False)
    """Why all stop; empty while they serve."""
    _failed: bool = field(default=False, init=False)
    _changing: trio.Lock = field(factory=trio.Lock, init=False)
    """Held by a reload and by the replacement of a crashed worker."""
    _all_ended: trio.Event = field(factory=trio.Event, init=False)
    _log: Any = field(factory=lambda: structlog.get_logger("cookcam.workers"), init=False)

    async def run(self, signals: AsyncIterator[int]) -> tuple[int, DrainReport]:
        """Run until a signal or a failure. Returns the exit status and the sum of the reports.

        SIGHUP replaces the workers one after the other. The first other signal stops all; the
        second cuts them.
        """
        async with trio.open_nursery() as nursery:
            self._current = [self._start(slot, nursery) for slot in range(len(self.sockets))]
            nursery.start_soon(self._obey, signals, nursery)
            nursery.start_soon(self._announce)
            await self._all_ended.wait()
            nursery.cancel_scope.cancel()
        report = _sum(self._reason, self._reports)
        return (0 if report.clean and not self._failed else 1), report

    async def _obey(self, signals: AsyncIterator[int], nursery: trio.Nursery) -> None:
        async for number in signals:
            if self._reason:
                if number != signal.SIGHUP:
                    self._log.warning("Shutdown already in progress, forcing exit...")
                    nursery.start_soon(self._force)
            elif number == signal.SIGHUP:
                nursery.start_soon(self._reload, nursery)
            else:
                self._stop(signal.Signals(number).name)

    async def _announce(self) -> None:
        for worker in self._current:
            await worker.settled.wait()
        if all(worker.is_ready for worker in self._current):
            self.on_ready()

    # -- one worker

    def _start(self, slot: int, nursery: trio.Nursery) -> Worker:
        listener = self.sockets[slot].fileno()
        ours, theirs = socket.socketpair()
        process = subprocess.Popen(  # noqa: S603 - this program
            [*self.command, f"--listener={listener}", f"--channel={theirs.fileno()}"],
            stdin=subprocess.PIPE,
            pass_fds=(listener, theirs.fileno()),
        )
        theirs.close()
        worker = Worker(slot, process)
        self._live.add(worker)
        self._log.info("worker started", worker=slot, process=process.pid)
        nursery.start_soon(self._watch, worker, ours, nursery)
        return worker

    async def _watch(self, worker: Worker, channel: socket.socket, nursery: trio.Nursery) -> None:
        """Read what the worker reports, until it ends."""
        received = b""
        async with trio.SocketStream(trio.socket.from_stdlib_socket(channel)) as stream:
            with suppress(trio.BrokenResourceError):
                async for data in stream:
                    *lines, received = (received + data).split(b"\n")
                    for line in lines:
                        self._note(worker, json.loads(line))
        status = await trio.to_thread.run_sync(worker.process.wait)
        self._live.discard(worker)
        worker.ended.set()
        worker.settled.set()
        self._log.info(
            "worker ended", worker=worker.slot, process=worker.process.pid, status=status
        )
        self._failed = self._failed or (status != 0 and worker.is_ready)
        if not worker.is_retired:
            await self._replace(worker, nursery)
        if self._reason and not self._live:
            self._all_ended.set()

    def _note(self, worker: Worker, message: object) -> None:
        if message == "ready":
            worker.is_ready = True
            worker.settled.set()
        elif isinstance(message, dict):
            self._reports.append(DrainReport(**message))  # pyright: ignore[reportUnknownArgumentType]

    async def _replace(self, worker: Worker, nursery: trio.Nursery) -> None:
        """Replace a worker that has ended by itself. One that was never ready ends the program,
        as it would without a supervisor; in a reload its predecessor goes on."""
        if self._current[worker.slot] is not worker:
            return
        if not worker.is_ready:
            self._failed = True
            self._stop("failure")
            return
        self._log.error("worker crashed", worker=worker.slot, process=worker.process.pid)
        await trio.sleep(RESTART_DELAY)
        async with self._changing:
            if self._current[worker.slot] is worker and not self._reason:
                self._current[worker.slot] = self._start(worker.slot, nursery)

    # -- all workers

    async def _reload(self, nursery: trio.Nursery) -> None:
        """Start a successor of each worker on the same socket, and stop the worker when the
        successor is ready. A successor that does not become ready ends the reload."""
        async with self._changing:
            self._log.info("reload started")
            for slot in range(len(self.sockets)):
                if self._reason:
                    return
                successor = self._start(slot, nursery)
                with trio.move_on_after(READY_TIMEOUT):
                    await successor.settled.wait()
                if not successor.is_ready:
                    self._log.error("reload aborted, the new worker is not ready", worker=slot)
                    successor.stop()
                    return
                predecessor, self._current[slot] = self._current[slot], successor
                predecessor.stop()
                await predecessor.ended.wait()
            self._log.info("reload complete")

    def _stop(self, reason: str) -> None:
        if self._reason:
            return
        self._reason = reason
        self._log.info(f"{reason} received, stopping the workers")
        # The kernel refuses connections as soon as the workers have closed theirs as well.
        for listener in self.sockets:
            listener.close()
        for worker in self._live:
            worker.stop()
        if not self._live:
            self._all_ended.set()

    async def _force(self) -> None:
        for delay in (FORCE_DELAY, 0.0):
            for worker in self._live:
                worker.process.send_signal(signal.SIGTERM)
            await trio.sleep(delay)


def _sum(reason: str, reports: Sequence[DrainReport]) -> DrainReport:
    """The reports of all workers as one. Phases run at the same time: the longest counts."""
    finished, cut = Counter[str](), Counter[str]()
    seconds: dict[str, float] = {}
    for report in reports:
        finished.update(report.finished)
        cut.update(report.cut)
        for phase, length in report.seconds.items():
            seconds[phase] = max(length, seconds.get(phase, 0.0))
    return DrainReport(
        reason,
        dict(finished),
        dict(cut),
        tuple(name for report in reports for name in report.cut_names),
        seconds,
        sum(report.tasks_left for report in reports),
    )


@frozen
class WorkerChannel:
    """A worker's side: the channel to its supervisor, and the signals that stop it."""

    descriptor: int

    def send_report(self, report: DrainReport) -> None:
        with suppress(OSError), socket.socket(fileno=self.descriptor) as channel:
            channel.sendall(json.dumps(asdict(report)).encode() + b"\n")

    def watch_supervisor(self) -> None:
        """From now on the end of standard input is the signal STOP, and SIGHUP has no effect."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it is the supervisor's
        threading.Thread(target=self._wait_for_supervisor, name="supervisor", daemon=True).start()

    def _wait_for_supervisor(self) -> None:
        # Not `sys.stdin`, whose lock this thread would hold at the end of the interpreter.
        while os.read(0, 4096):
            pass
        signal.raise_signal(STOP)


async def stop_signals(signals: AsyncIterator[int]) -> AsyncIterator[int]:
    """The signals that count for `cookcam.lifecycle.run`, whose second one cuts everything.

    PM2 and a terminal signal every process, and the supervisor stops its workers then as well: STOP
    counts only when it comes first, and then a first signal besides does not.
    """
    is_stopping = is_signalled = False
    async for number in signals:
        if number == STOP:
            if not is_stopping:
                yield signal.SIGTERM
        else:
            if is_signalled or not is_stopping:
                yield number
            is_signalled = True
        is_stopping = True
