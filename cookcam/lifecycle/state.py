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
class Lifecycle:
    """Holds the current phase. Written by `cookcam.lifecycle.run`, read by every part.

    `mode` does not depend on the phase.
    """

    phase: Phase = Phase.STARTING
    mode: OperatingMode = field(factory=OperatingMode)
    draining_started: trio.Event = field(factory=trio.Event)

    @property
    def draining(self) -> bool:
        """True from the start of shutdown: readiness is 503, responses say `Connection: close`."""
        return self.phase >= Phase.NOTICE

    def enter(self, phase: Phase) -> None:
        """Move to a later phase; an earlier phase is ignored."""
        self.phase = max(self.phase, phase)
        if self.draining:
            self.draining_started.set()
