"""Writes the messages of an outbox to a WebSocket.

A message is written directly when nothing waits in front of it; it is encoded once for all its
receivers. Other messages stay in the outbox, and a task that exists only meanwhile sends them in
order, so an idle connection needs no task.

    put, goodbye ──▶ IDLE: direct write ── all ──▶ IDLE, or DONE after the goodbye
                       │                └─ partial, or none ──▶ BUSY: the task sends, then IDLE
                       └─ burst used up ──▶ SCHEDULED: everything queued is written in its turn

The goodbye leaves in one write with the messages that are queued before it.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

import trio
from attrs import define, field

from .asgi import Send
from .direct import Close, DirectExtension, DirectWrite
from .failures import OnFailure, log_failure
from .outbox import Message, Outbox

MAX_JOINED_BYTES: Final = 16 * 1024
"""Bytes of several messages that make one write."""

BURST: Final = 128
"""Writes without a checkpoint: about a millisecond."""


class ScheduledWriter(Protocol):
    def catch_up(self) -> None:
        """Writes what is queued. Must not block."""
        ...

    def fail(self) -> None:
        """Ends the connection after an error of `catch_up`."""
        ...


@define(eq=False)
class WriteScheduler:
    """Limits how many direct writes are made in one go, so that a broadcast to many does not hold
    up everything else. `run` must be running.

    `burst` writes are allowed at once. The other receivers stay queued, and `run` writes to `burst`
    of them at a time, with a checkpoint in between. An error of one receiver goes to `on_failure`
    and ends its connection.
    """

    burst: int = BURST
    on_failure: OnFailure = field(default=log_failure, repr=False)
    _allowed: int = field(init=False)
    _waiting: deque[ScheduledWriter] = field(factory=deque[ScheduledWriter], init=False)
    _used: trio.Event = field(factory=trio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._allowed = self.burst

    def may_write(self, writer: ScheduledWriter) -> bool:
        """Whether to write now. If not, `writer.catch_up` is called later."""
        if self._allowed:
            if self._allowed == self.burst:
                self._used.set()
            self._allowed -= 1
            return True
        self._waiting.append(writer)
        return False

    async def run(self) -> None:
        """Calls the waiting writers until cancelled."""
        while True:
            await self._used.wait()
            while self._waiting:
                self._allowed = self.burst
                for _ in range(min(self.burst, len(self._waiting))):
                    writer = self._waiting.popleft()
                    try:
                        writer.catch_up()
                    except Exception as error:
                        self._end(writer, error)
                await trio.lowlevel.checkpoint()
            self._allowed = self.burst
            self._used = trio.Event()

    def _end(self, writer: ScheduledWriter, error: Exception) -> None:
        self.on_failure("write_scheduler", error)
        try:
            writer.fail()
        except Exception as close_error:
            self.on_failure("write_scheduler", close_error)


class _State(enum.Enum):
    IDLE = enum.auto()
    SCHEDULED = enum.auto()
    """Messages are queued, and the scheduler will call `catch_up`."""
    BUSY = enum.auto()
    """The task runs."""
    DONE = enum.auto()
    """The goodbye is sent, or the outbox has another consumer."""


# A global is read in a fraction of the time of an enum's member.
_IDLE: Final = _State.IDLE
_SCHEDULED: Final = _State.SCHEDULED


@define(eq=False)
class Writer:
    """`send_message` writes one message through ASGI. `goodbye` is called whenever the outbox is
    empty; it returns the close to send, or None while the connection stays open. `connection_lost`
    is called when the connection is gone.

    `write` is the server's direct write, None when it does not offer one.
    """

    _outbox: Outbox = field(alias="outbox")
    _nursery: trio.Nursery = field(alias="nursery")
    _scheduler: WriteScheduler = field(alias="scheduler")
    _extension: DirectExtension = field(alias="extension")
    _write: DirectWrite | None = field(alias="write")
    _send: Send = field(alias="send")
    _send_message: Callable[[Message], Awaitable[None]] = field(alias="send_message")
    _goodbye: Callable[[], Close | None] = field(alias="goodbye")
    _connection_lost: Callable[[], None] = field(alias="connection_lost")
    _state: _State = field(default=_IDLE, init=False)
    _partial: bool = field(default=False, init=False)
    """The server holds the rest of a direct write."""
    _goodbye_sent: bool = field(default=False, init=False)

    def start(self) -> None:
        """Starts to consume the outbox."""
        self._outbox.on_change = self.wake
        self._outbox.writer = None if self._write is None else self
        self.wake()

    def stop(self) -> None:
        """Stops consuming the outbox."""
        self._outbox.on_change = self._outbox.writer = None
        self._state = _State.DONE

    def wake(self) -> None:
        """Writes what may be due: queued messages, or the goodbye.

        Not subject to the scheduler: a goodbye has a timeout, and a drain sends them in batches.
        """
        if self._state in (_IDLE, _SCHEDULED) and self._has_more():
            self._state = _SCHEDULED
            self.catch_up()

    def write_now(self, message: Message) -> bool:
        """Writes a message with nothing queued in front of it; False when it must be queued."""
        if self._state is not _IDLE:
            return False
        if message.pause_after:
            self._start_task()
            return False
        if not self._scheduler.may_write(self):
            self._state = _SCHEDULED
            return False
        assert self._write is not None  # noqa: S101 - else the outbox has no writer
        wire = message.wire
        taken = self._write(wire)
        if taken == len(wire):
            return True
        self._partial = taken > 0
        self._start_task()
        return taken > 0

    def catch_up(self) -> None:
        """Writes queued messages directly, as far as the kernel accepts them."""
        if self._state is not _SCHEDULED:
            return
        self._state = _IDLE
        if not self._write_queued():
            self._start_task()
        elif self._goodbye_sent:
            self._state = _State.DONE

    def fail(self) -> None:
        self._connection_lost()

    def _has_more(self) -> bool:
        if self._partial or len(self._outbox):
            return True
        return not self._goodbye_sent and self._goodbye() is not None

    def _write_queued(self) -> bool:
        """Writes as much as possible directly; the goodbye follows the last message. Returns
        whether nothing is left to write."""
        outbox, write = self._outbox, self._write
        while write is not None and not self._partial and not self._goodbye_sent:
            frames, count = outbox.peek(MAX_JOINED_BYTES)
            is_last = count == len(outbox)
            if is_last and (close := self._goodbye()) is not None:
                frames += close.wire
                taken = write(frames, closing=True)
                self._goodbye_sent = taken > 0
            else:
                taken = write(frames) if frames else 0
            if not taken:
                return is_last and not frames
            outbox.drop(count)
            if taken < len(frames):
                self._partial = True
            elif is_last:
                return True
        return not self._has_more()

    def _start_task(self) -> None:
        self._state = _State.BUSY
        self._nursery.start_soon(self._run)

    async def _run(self) -> None:
        try:
            while self._has_more():
                if self._partial:
                    await self._send(self._extension.flush)
                    self._partial = False
                self._write_queued()
                if not self._partial:
                    await self._send_next()
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            self._connection_lost()  # some servers raise here, others only report it to the reader
            return
        if self._state is _State.BUSY:
            self._state = _State.DONE if self._goodbye_sent else _IDLE

    async def _send_next(self) -> None:
        """Sends a message through ASGI, or the goodbye when none is left. Blocks."""
        if (message := self._outbox.take()) is not None:
            await self._send_message(message)
            if message.pause_after:
                await trio.sleep(message.pause_after)
        elif not self._goodbye_sent and (close := self._goodbye()) is not None:
            self._goodbye_sent = True
            await self._send(close.message)
