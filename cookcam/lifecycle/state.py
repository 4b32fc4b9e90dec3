"""The current phase of the program, readable by every part."""

from __future__ import annotations

from enum import IntEnum

import trio
from attrs import define, field

from cookcam.lifecycle.mode import OperatingMode


class Phase(IntEnum):
    """The phases between start and exit, in order; docs/shutdown.md describes each."""

    STARTING = 0
    SERVING = 1
    NOTICE = 2
    CLOSING = 3
    DRAINING = 4
    BACKGROUND = 5
    CUTTING = 6
    CLOSED = 7


@define
class StopRequest:
    """The first reason to stop: a signal's name, an operator, or the failure of a core task."""

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


@define
class Lifecycle:
    """Holds the current phase. Written by `cookcam.lifecycle.run`, read by every part.

    `mode` does not depend on the phase. Setting `stop` starts the drain, as the first signal does.
    """

    phase: Phase = Phase.STARTING
    mode: OperatingMode = field(factory=OperatingMode)
    draining_started: trio.Event = field(factory=trio.Event)
    stop: StopRequest = field(factory=StopRequest)

    @property
    def draining(self) -> bool:
        """True from the start of shutdown: readiness is 503, responses say `Connection: close`."""
        return self.phase >= Phase.NOTICE

    def enter(self, phase: Phase) -> None:
        """Move to a later phase; an earlier phase is ignored."""
        self.phase = max(self.phase, phase)
        if self.draining:
            self.draining_started.set()
