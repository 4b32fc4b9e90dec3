"""The phases of shutdown: a sequence with bounds, not a hope (docs/shutdown.md).

Each phase is one function of the table in DESIGN terms: notice, close the door, drain,
background, cut. Closing the services is phase six and belongs to whoever opened them
(`cookcam.lifecycle.run`).
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Protocol

import trio
from attrs import define, field, frozen

from cookcam.lifecycle.background import Background
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.work import Work
from cookcam.settings.sections import DrainConfig


class Server(Protocol):
    """The listeners and their connections."""

    def close_door(self) -> None:
        """Takes in what waits in the accept queue and closes the listeners, in one step."""
        ...

    async def drain(self, linger: float) -> None:
        """Returns when every connection has ended; idle ones end `linger` seconds from now."""
        ...


class Sockets(Protocol):
    """Everything that is connected in real time."""

    async def notice(self) -> None:
        """Tells every socket that the server goes away."""
        ...

    async def drain(self) -> None:
        """Flushes and closes every socket in its own protocol; returns when all are gone."""
        ...


@frozen
class DrainReport:
    """What shutdown did. Counts are per kind of unit, seconds per phase."""

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


@define
class Shutdown:
    """Runs the phases in order over the parts of the tree it is given."""

    lifecycle: Lifecycle
    settings: DrainConfig
    work: Work
    server: Server
    sockets: Sockets
    background: Background
    cut_everything: Callable[[], None]
    phases: tuple[tuple[Phase, Callable[[Shutdown], Awaitable[None]]], ...] = field(
        factory=lambda: PHASES
    )
    seconds: dict[str, float] = field(factory=dict[str, float], init=False)
    _deadline: float = field(default=math.inf, init=False)

    async def run(self) -> None:
        self.work.count_from_now()
        self._deadline = trio.current_time() + self.settings.notice + self.settings.timeout
        for phase, step in self.phases:
            began = trio.current_time()
            self.lifecycle.enter(phase)
            await step(self)
            self.seconds[phase.name.lower()] = round(trio.current_time() - began, 3)

    async def notice(self) -> None:
        await self.sockets.notice()
        await trio.sleep(self.settings.notice)

    async def close_door(self) -> None:
        self.server.close_door()

    async def drain(self) -> None:
        with self._bound():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.sockets.drain)
                nursery.start_soon(self.server.drain, self.settings.linger)

    async def finish_background(self) -> None:
        with self._bound():
            await self.background.drain()

    async def cut(self) -> None:
        """Whatever is left is named, counted and cancelled."""
        self.work.give_up()
        self.background.cut()
        self.cut_everything()

    def _bound(self) -> trio.CancelScope:
        return trio.CancelScope(deadline=self._deadline)


PHASES: tuple[tuple[Phase, Callable[[Shutdown], Awaitable[None]]], ...] = (
    (Phase.NOTICE, Shutdown.notice),
    (Phase.CLOSING, Shutdown.close_door),
    (Phase.DRAINING, Shutdown.drain),
    (Phase.BACKGROUND, Shutdown.finish_background),
    (Phase.CUTTING, Shutdown.cut),
)
