"""The bounded queue between whoever sends and the one connection that writes.

A sender never waits: `put` either queues or says that it cannot. A full outbox first gives up
what may be lost (volatile messages, oldest first); one that is full of messages that may not be
lost belongs to a reader that is too slow, and its session ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Protocol

from attrs import define, evolve, field, frozen

from .direct import PING_FRAME, encode
from .packets import MESSAGE, Frame, encode_base64


@frozen(eq=False)
class Message:
    """An encoded message: one frame, or several that must stay together (a binary event).

    Encoded once and shared: the same object may wait in any number of outboxes.
    """

    frames: tuple[Frame, ...]
    volatile: bool = False
    pause_after: float = 0.0
    """Seconds that a WebSocket is left alone after it, for the client to take note of it first."""

    @cached_property
    def wire(self) -> bytes:
        """As it goes over a WebSocket; one without frames is the WebSocket's own ping."""
        return b"".join([encode(frame) for frame in self.frames]) or PING_FRAME

    @cached_property
    def as_text(self) -> Message:
        """The same for a client that takes no binary frames."""
        if all(isinstance(frame, str) for frame in self.frames):
            return self
        frames = tuple(
            frame if isinstance(frame, str) else encode_base64(frame) for frame in self.frames
        )
        return evolve(self, frames=frames)

    @classmethod
    def of(cls, *data: str | bytes, volatile: bool = False, pause_after: float = 0.0) -> Message:
        """A message of application data: texts get the type of an Engine.IO message."""
        frames = tuple(MESSAGE + part if isinstance(part, str) else part for part in data)
        return cls(frames, volatile, pause_after)

    @classmethod
    def control(cls, packet: str) -> Message:
        """A packet of the protocol itself (ping, close, ...)."""
        return cls((packet,))


class Writer(Protocol):
    """Who can write directly; see `cookcam.realtime.engineio.writer`. No method waits."""

    def write_now(self, message: Message) -> bool: ...

    def catch_up(self) -> None: ...

    def queued(self) -> None: ...


@define(eq=False)
class Outbox:
    """At most `limit` messages wait here; protocol packets are not counted against them."""

    limit: int
    on_change: Callable[[], None] | None = field(default=None, init=False, repr=False)
    """Told, at once, of everything that is put here and of every `wake`. Set by whoever empties
    the outbox at the moment."""
    writer: Writer | None = field(default=None, init=False, repr=False)
    """Asked first when nothing waits, and told instead of `on_change` of what is put here."""
    # A list, as an empty deque is 600 bytes and this is empty most of the time.
    _queue: list[Message] = field(factory=list[Message], init=False)
    _volatile: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> bool:
        """Writes the message, or queues it; False when there is no room for it."""
        if self._is_written(message):
            return True
        if len(self._queue) >= self.limit and self.writer is not None:
            self.writer.catch_up()
            if not self._queue:
                return self.put(message)
        if len(self._queue) >= self.limit and not self._drop_oldest_volatile():
            return False
        self._add(message)
        return True

    def put_control(self, message: Message) -> None:
        """As `put`, for a packet of the protocol, which is queued whatever the limit."""
        if not self._is_written(message):
            self._add(message)

    def put_last(self, messages: Iterable[Message]) -> None:
        """Queues, whatever the limit, what is to leave together with the goodbye that follows."""
        self._queue += messages

    def peek(self, size: int) -> tuple[bytes, int]:
        """The oldest messages as they go over a WebSocket, about `size` bytes of them, and how
        many that is. One that wants a pause, and what is behind it, is left to `take`."""
        if len(self._queue) == 1 and not self._queue[0].pause_after:
            return self._queue[0].wire, 1
        found: list[bytes] = []
        for message in self._queue:
            if message.pause_after or size <= 0:
                break
            size -= len(message.wire)
            found.append(message.wire)
        return b"".join(found), len(found)

    def drop(self, count: int) -> None:
        """Forgets the oldest messages, which were `peek`ed at."""
        for message in self._queue[:count]:
            self._volatile -= message.volatile
        del self._queue[:count]

    def take(self) -> Message | None:
        """The oldest message, or None when nothing waits."""
        if not self._queue:
            return None
        message = self._queue.pop(0)
        self._volatile -= message.volatile
        return message

    def take_all(self) -> list[Frame]:
        """Everything that waits, as frames in order."""
        frames = [frame for message in self._queue for frame in message.frames]
        self.clear()
        return frames

    def clear(self) -> None:
        self._queue.clear()
        self._volatile = 0

    def wake(self) -> None:
        """Has whoever empties the outbox look at its session again."""
        if self.on_change is not None:
            self.on_change()

    def _is_written(self, message: Message) -> bool:
        return not self._queue and self.writer is not None and self.writer.write_now(message)

    def _add(self, message: Message) -> None:
        self._queue.append(message)
        self._volatile += message.volatile
        if self.writer is None:
            self.wake()
        else:
            self.writer.queued()

    def _drop_oldest_volatile(self) -> bool:
        if not self._volatile:
            return False
        for index, message in enumerate(self._queue):
            if message.volatile:
                del self._queue[index]
                self._volatile -= 1
                return True
        return False
