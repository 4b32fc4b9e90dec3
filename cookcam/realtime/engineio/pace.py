"""How much is written in one go: a broadcast to many must not hold up everybody else.

Writing directly costs its sender some microseconds for each receiver, all of it before anything
else runs. So only `burst` writes are granted at once; the receivers that are over stay queued, and
`run` writes to so many at a time, with a checkpoint in between.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Protocol

import trio
from attrs import define, field

BURST: Final = 128
"""Writes: about a millisecond."""


class Receiver(Protocol):
    def catch_up(self) -> None:
        """Write what is queued. Must not wait."""
        ...


@define(eq=False)
class Pace:
    """`run` must be running somewhere."""

    burst: int = BURST
    _left: int = field(init=False)
    _waiting: deque[Receiver] = field(factory=deque[Receiver], init=False)
    _used: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._left = self.burst

    def grant(self, receiver: Receiver) -> bool:
        """Whether to write to this receiver now. If not, it will `catch_up` in its turn."""
        if self._left:
            self._left -= 1
            self._used.set()
            return True
        self._waiting.append(receiver)
        return False

    async def run(self) -> None:
        """Gives out turns until cancelled."""
        while True:
            await self._used.wait()
            while self._waiting:
                self._left = self.burst
                for _ in range(min(self.burst, len(self._waiting))):
                    self._waiting.popleft().catch_up()
                await trio.lowlevel.checkpoint()
            self._left = self.burst
            self._used = trio.Event()
