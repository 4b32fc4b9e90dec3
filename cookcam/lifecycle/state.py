"""Where the program is between start and exit; the one thing every part may look at."""

from __future__ import annotations

from enum import IntEnum

import trio
from attrs import define, field


class Phase(IntEnum):
    """The phases of the program's life, in order; see docs/shutdown.md for what each does."""

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
    """The current phase. Written by `cookcam.lifecycle.run`, read by everybody."""

    phase: Phase = Phase.STARTING
    draining_started: trio.Event = field(factory=trio.Event)

    @property
    def draining(self) -> bool:
        """True from the first moment of shutdown: readiness is 503, answers say `close`."""
        return self.phase >= Phase.NOTICE

    def enter(self, phase: Phase) -> None:
        """Moves on to a later phase; never back."""
        self.phase = max(self.phase, phase)
        if self.draining:
            self.draining_started.set()
