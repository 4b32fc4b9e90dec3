"""Empties an outbox into a WebSocket.

A message for which nothing has to wait is written at once, encoded once for all its receivers.
Whatever has to wait stays in the outbox, and a task that exists only then sends it in order: an
idle connection costs no task.

    put ──▶ idle: written directly ── taken ──▶ idle
              │                  └─ in part, or not ──▶ busy: the task sends, then idle
              └─ no turn: due ──▶ all that is queued written directly, in its turn
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, field

from .asgi import Send
from .direct import FLUSH, Write
from .outbox import Message, Outbox
from .pace import Pace

AT_ONCE: Final = 16 * 1024
"""Bytes of several messages that make one write."""


class _State(enum.Enum):
    IDLE = enum.auto()
    DUE = enum.auto()
    """Something is queued and will be written in its turn."""
    BUSY = enum.auto()
    """The task runs."""


@define(eq=False)
class Writer:
    """`send_message` writes one message through ASGI. `finish` is awaited whenever there is
    nothing left: it says the goodbye, if it is time for it, and returns whether it did, and must
    not wait otherwise. `lose` is told that the connection is gone.

    `write` is the server's offer to write directly, None where there is none.
    """

    _outbox: Outbox = field(alias="outbox")
    _nursery: trio.Nursery = field(alias="nursery")
    _pace: Pace = field(alias="pace")
    _write: Write | None = field(alias="write")
    _send: Send = field(alias="send")
    _send_message: Callable[[Message], Awaitable[None]] = field(alias="send_message")
    _finish: Callable[[], Awaitable[bool]] = field(alias="finish")
    _lose: Callable[[], None] = field(alias="lose")
    _state: _State = field(default=_State.IDLE, init=False)
    _begun: bool = field(default=False, init=False)
    """A direct write was taken in part."""

    def start(self) -> None:
        """From now on it is this that empties the outbox."""
        self._outbox.on_change = self.wake
        self._outbox.writer = None if self._write is None else self
        self.wake()

    def stop(self) -> None:
        """From now on the outbox is somebody else's, or nobody's."""
        self._outbox.on_change = self._outbox.writer = None
        self._state = _State.BUSY

    def wake(self) -> None:
        """The goodbye may be due: the task looks."""
        if self._state is not _State.BUSY:
            self._work()

    def queued(self) -> None:
        """Something was put into the outbox."""
        if self._state is _State.IDLE:
            self._work()

    def write_now(self, message: Message) -> bool:
        """Takes a message in front of which nothing waits; False when it has to be queued."""
        if self._state is not _State.IDLE or message.pause_after:
            return False
        if not self._pace.grant(self):
            self._state = _State.DUE
            return False
        if not self._give(message.wire):
            return False
        if self._begun:
            self._work()
        return True

    def catch_up(self) -> None:
        """Writes what is queued, as far as the kernel takes it."""
        if self._state is not _State.DUE:
            return
        self._state = _State.IDLE
        self._write_queued()
        if self._begun or len(self._outbox):
            self._work()

    def _write_queued(self) -> None:
        """Writes directly as much as is possible."""
        while self._write is not None and len(self._outbox) and not self._begun:
            frames, count = self._outbox.peek(AT_ONCE)
            if not count or not self._give(frames):
                return
            self._outbox.drop(count)

    def _give(self, frames: bytes) -> bool:
        """Whether the frames are on their way: all of them if any."""
        assert self._write is not None  # noqa: S101 - else nobody comes here
        taken = self._write(frames)
        self._begun = 0 < taken < len(frames)
        return taken > 0

    def _work(self) -> None:
        self._state = _State.BUSY
        self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            while self._begun or len(self._outbox):
                if self._begun:
                    await self._send(FLUSH)
                    self._begun = False
                self._write_queued()
                if not self._begun and (message := self._outbox.take()) is not None:
                    await self._send_message(message)
                    if message.pause_after:
                        await trio.sleep(message.pause_after)
            if not await self._finish():
                self._state = _State.IDLE
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()  # some servers say so here, others only to the reader
