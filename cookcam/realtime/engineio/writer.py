"""Empties an outbox into a WebSocket.

A message for which nothing has to wait is written at once, encoded once for all its receivers.
Whatever has to wait stays in the outbox, and a task that exists only then sends it in order: an
idle connection costs no task.

    put, goodbye ──▶ idle: written directly ── taken ──▶ idle, or over
                       │                   └─ in part, or not ──▶ busy: the task sends, then idle
                       └─ no turn: due ──▶ all that is queued written directly, in its turn

The goodbye leaves in one write with what was queued before it.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from typing import Final

import trio
from attrs import define, field

from .asgi import Send
from .direct import FLUSH, Close, Write
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
    OVER = enum.auto()
    """The goodbye is said, or the outbox somebody else's."""


@define(eq=False)
class Writer:
    """`send_message` writes one message through ASGI. `goodbye` is asked whenever there is nothing
    left: it returns what to close with, None while it is not time for it. `lose` is told that the
    connection is gone.

    `write` is the server's offer to write directly, None where there is none.
    """

    _outbox: Outbox = field(alias="outbox")
    _nursery: trio.Nursery = field(alias="nursery")
    _pace: Pace = field(alias="pace")
    _write: Write | None = field(alias="write")
    _send: Send = field(alias="send")
    _send_message: Callable[[Message], Awaitable[None]] = field(alias="send_message")
    _goodbye: Callable[[], Close | None] = field(alias="goodbye")
    _lose: Callable[[], None] = field(alias="lose")
    _state: _State = field(default=_State.IDLE, init=False)
    _begun: bool = field(default=False, init=False)
    """A direct write was taken in part."""
    _said: bool = field(default=False, init=False)
    """The goodbye is on its way."""

    def start(self) -> None:
        """From now on it is this that empties the outbox."""
        self._outbox.on_change = self.wake
        self._outbox.writer = None if self._write is None else self
        self.wake()

    def stop(self) -> None:
        """From now on the outbox is somebody else's, or nobody's."""
        self._outbox.on_change = self._outbox.writer = None
        self._state = _State.OVER

    def wake(self) -> None:
        """Something may be due: what is queued, or the goodbye. That asks for no turn, as its time
        is counted, and whoever says many goodbyes paces them."""
        if self._state in (_State.IDLE, _State.DUE) and self._has_more():
            self._state = _State.DUE
            self.catch_up()

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
        if self._has_more():
            self._work()
        elif self._said:
            self._state = _State.OVER

    def _has_more(self) -> bool:
        if self._begun or len(self._outbox):
            return True
        return not self._said and self._goodbye() is not None

    def _write_queued(self) -> None:
        """Writes directly as much as is possible, the goodbye behind the last message."""
        while self._write is not None and not self._begun and not self._said:
            frames, count = self._outbox.peek(AT_ONCE)
            close = self._goodbye() if count == len(self._outbox) else None
            if close is not None:
                frames += close.wire
            if not frames or not self._give(frames, closing=close is not None):
                return
            self._outbox.drop(count)
            self._said = close is not None

    def _give(self, frames: bytes, *, closing: bool = False) -> bool:
        """Whether the frames are on their way: all of them if any."""
        assert self._write is not None  # noqa: S101 - else nobody comes here
        taken = self._write(frames, closing=closing)
        self._begun = 0 < taken < len(frames)
        return taken > 0

    def _work(self) -> None:
        self._state = _State.BUSY
        self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            while self._has_more():
                if self._begun:
                    await self._send(FLUSH)
                    self._begun = False
                self._write_queued()
                if not self._begun:
                    await self._send_next()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._lose()  # some servers say so here, others only to the reader
            return
        if self._state is _State.BUSY:
            self._state = _State.OVER if self._said else _State.IDLE

    async def _send_next(self) -> None:
        """Through ASGI, which waits: a message, or the goodbye where there is none."""
        if (message := self._outbox.take()) is not None:
            await self._send_message(message)
            if message.pause_after:
                await trio.sleep(message.pause_after)
        elif not self._said and (close := self._goodbye()) is not None:
            self._said = True
            await self._send(close.message)
