"""The outbox: the bounded queue between senders and the one connection that writes.

A sender never waits: `put` queues the message or returns False. A full outbox first drops volatile
messages, oldest first. When it is full of other messages, the client is too slow and its session
ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Protocol

from attrs import define, evolve, field, frozen

from .direct import PING_FRAME, encode
from .packets import MESSAGE, Frame, encode_base64


@frozen(eq=False, slots=False)
class Message:
    """An encoded message: one frame, or several consecutive ones (a binary event).

    Encoded once and shared: the same object may be in any number of outboxes. Without slots, a
    cached property is read like an attribute, which counts in a broadcast to many.
    """

    frames: tuple[Frame, ...]
    volatile: bool = False
    pause_after: float = 0.0
    """Seconds before the next message on a WebSocket, so that the client processes this one first.
    """

    @cached_property
    def wire(self) -> bytes:
        """The bytes of its WebSocket frames; a message without frames is a WebSocket ping."""
        return b"".join([encode(frame) for frame in self.frames]) or PING_FRAME

    @cached_property
    def as_text(self) -> Message:
        """The same message for a client that accepts no binary frames."""
        if all(isinstance(frame, str) for frame in self.frames):
            return self
        frames = tuple(
            frame if isinstance(frame, str) else encode_base64(frame) for frame in self.frames
        )
        return evolve(self, frames=frames)

    @classmethod
    def of(cls, *data: str | bytes, volatile: bool = False, pause_after: float = 0.0) -> Message:
        """A message of application data; texts get the type prefix of an Engine.IO message."""
        frames = tuple(MESSAGE + part if isinstance(part, str) else part for part in data)
        return cls(frames, volatile, pause_after)

    @classmethod
    def control(cls, packet: str) -> Message:
        """A packet of the protocol itself (ping, close, ...)."""
        return cls((packet,))


class OutboxWriter(Protocol):
    """A writer that can write directly (`engineio.writer.Writer`). No method blocks."""

    def write_now(self, message: Message) -> bool:
        """Writes a message with nothing queued in front of it; False when it must be queued, which
        the caller then does."""
        ...

    def catch_up(self) -> None: ...


@define(eq=False)
class Outbox:
    """Holds at most `limit` messages; the limit does not apply to protocol packets."""

    limit: int
    on_change: Callable[[], None] | None = field(default=None, init=False, repr=False)
    """Called after each `put` without a writer, and by `wake`. Set by the current consumer."""
    writer: OutboxWriter | None = field(default=None, init=False, repr=False)
    """Writes messages directly while the queue is empty; replaces `on_change` for `put`."""
    # A list: an empty deque takes 600 bytes, and most outboxes are empty.
    _queue: list[Message] = field(factory=list[Message], init=False)
    _volatile: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> bool:
        """Writes the message, or queues it; False when there is no room for it."""
        writer, queue = self.writer, self._queue
        if not queue and writer is not None and writer.write_now(message):
            return True
        if len(queue) >= self.limit:
            if writer is not None:
                writer.catch_up()
                if not queue:
                    return self.put(message)
            if len(queue) >= self.limit and not self._drop_oldest_volatile():
                return False
        queue.append(message)
        self._volatile += message.volatile
        if writer is None:
            self.wake()
        return True

    def put_control(self, message: Message) -> None:
        """Like `put`, for a protocol packet, which is queued regardless of the limit."""
        writer = self.writer
        if not self._queue and writer is not None and writer.write_now(message):
            return
        self._queue.append(message)
        if writer is None:
            self.wake()

    def put_last(self, messages: Iterable[Message]) -> None:
        """Queues messages that leave together with the goodbye, regardless of the limit."""
        self._queue += messages

    def peek(self, size: int) -> tuple[bytes, int]:
        """The WebSocket frames of the oldest messages, about `size` bytes, and their number. Stops
        before a message with a pause, which `take` returns."""
        if len(self._queue) == 1 and not self._queue[0].pause_after:
            return self._queue[0].wire, 1
        frames: list[bytes] = []
        for message in self._queue:
            if message.pause_after or size <= 0:
                break
            size -= len(message.wire)
            frames.append(message.wire)
        return b"".join(frames), len(frames)

    def drop(self, count: int) -> None:
        """Removes the oldest messages, after `peek`."""
        if count == len(self._queue):
            self.clear()
            return
        for message in self._queue[:count]:
            self._volatile -= message.volatile
        del self._queue[:count]

    def take(self) -> Message | None:
        """Removes and returns the oldest message; None when the outbox is empty."""
        if not self._queue:
            return None
        message = self._queue.pop(0)
        self._volatile -= message.volatile
        return message

    def take_all(self) -> list[Frame]:
        """Removes all messages and returns their frames in order."""
        frames = [frame for message in self._queue for frame in message.frames]
        self.clear()
        return frames

    def clear(self) -> None:
        self._queue.clear()
        self._volatile = 0

    def wake(self) -> None:
        """Makes the current consumer check its session again."""
        if self.on_change is not None:
            self.on_change()

    def _drop_oldest_volatile(self) -> bool:
        if not self._volatile:
            return False
        for index, message in enumerate(self._queue):
            if message.volatile:
                del self._queue[index]
                self._volatile -= 1
                return True
        return False
