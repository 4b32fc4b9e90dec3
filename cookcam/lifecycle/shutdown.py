"""The phases of shutdown, each with a time limit (docs/shutdown.md).

The phases are: notice, closing the listeners, draining, background, cutting. `run`, which opened
the services, closes them after the last phase.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import structlog
import trio
from attrs import asdict, define, field, frozen

from cookcam.config.sections import DrainConfig
from cookcam.lifecycle.background import Background
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.work import Work


class Server(Protocol):
    """The listeners and their connections."""

    def stop_accepting(self) -> None:
        """Accept the connections in the accept queue and close the listeners, in one step."""
        ...

    async def drain(self, linger: float) -> None:
        """Wait until every connection has ended; idle ones end after `linger` seconds."""
        ...


class Sockets(Protocol):
    """The realtime sockets: Socket.IO and plain WebSockets."""

    async def notice(self) -> None:
        """Send the shutdown notice to every socket."""
        ...

    async def drain(self) -> int:
        """Flush and close every socket in its own protocol; return when all are closed.

        The result is the number of sockets that are no unit of work: those of polling clients.
        """
        ...


@frozen
class DrainReport:
    """The result of a shutdown. Counts are per kind of unit, seconds per phase."""

    reason: str
    finished: Mapping[str, int]
    cut: Mapping[str, int]
    cut_names: tuple[str, ...]
    seconds: Mapping[str, float]
    tasks_left: int = 0

    @property
    def clean(self) -> bool:
        """True when nothing was cut and no task is left."""
        return not self.cut_names and not self.tasks_left


def log_report(status: int, report: DrainReport | None) -> None:
    """Log the end of a process: a warning where something was cut."""
    log = structlog.get_logger("cookcam")
    write = log.info if status == 0 else log.warning
    write("Graceful shutdown complete", status=status, **(asdict(report) if report else {}))


@define
class Shutdown:
    """Runs the phases in order on the parts of the program."""

    lifecycle: Lifecycle
    settings: DrainConfig
    work: Work
    server: Server
    sockets: Sockets
    background: Background
    cancel_everything: Callable[[], None]
    phases: tuple[tuple[Phase, Callable[[Shutdown], Awaitable[None]]], ...] = field(
        factory=lambda: PHASES
    )
    seconds: dict[str, float] = field(factory=dict[str, float], init=False)
    _deadline: float = field(default=math.inf, init=False)

    async def run(self) -> None:
        self.work.start_counting()
        self._deadline = trio.current_time() + self.settings.notice + self.settings.timeout
        for phase, step in self.phases:
            started_at = trio.current_time()
            self.lifecycle.enter(phase)
            await step(self)
            self.seconds[phase.name.lower()] = round(trio.current_time() - started_at, 3)

    async def notice(self) -> None:
        await self.sockets.notice()
        await trio.sleep(self.settings.notice)

    async def close_listeners(self) -> None:
        self.server.stop_accepting()

    async def drain(self) -> None:
        with self._until_deadline():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._drain_sockets)
                nursery.start_soon(self.server.drain, self.settings.linger)

    async def _drain_sockets(self) -> None:
        if polling := await self.sockets.drain():
            self.work.finished["socket"] += polling

    async def finish_background(self) -> None:
        with self._until_deadline():
            await self.background.drain()

    async def cut(self) -> None:
        """Record the remaining units as cut and cancel them."""
        self.work.mark_running_as_cut()
        self.background.cut()
        self.cancel_everything()

    def _until_deadline(self) -> trio.CancelScope:
        return trio.CancelScope(deadline=self._deadline)


PHASES: tuple[tuple[Phase, Callable[[Shutdown], Awaitable[None]]], ...] = (
    (Phase.NOTICE, Shutdown.notice),
    (Phase.CLOSING, Shutdown.close_listeners),
    (Phase.DRAINING, Shutdown.drain),
    (Phase.BACKGROUND, Shutdown.finish_background),
    (Phase.CUTTING, Shutdown.cut),
)
