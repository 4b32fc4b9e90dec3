"""The bounded queue between whoever sends and the one connection that writes.

A sender never waits: `put` either queues or says that it cannot. A full outbox first gives up
what may be lost (volatile messages, oldest first); one that is full of messages that may not be
lost belongs to a reader that is too slow, and its session ends.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field, frozen

from .packets import MESSAGE, Frame


@frozen(eq=False)
class Message:
    """An encoded message: one frame, or several that must stay together (a binary event).

    Encoded once and shared: the same object may wait in any number of outboxes.
    """

    frames: tuple[Frame, ...]
    volatile: bool = False
    pause_after: float = 0.0
    """Seconds that a WebSocket is left alone after it, for the client to take note of it first."""

    @classmethod
    def of(cls, *data: str | bytes, volatile: bool = False, pause_after: float = 0.0) -> Message:
        """A message of application data: texts get the type of an Engine.IO message."""
        frames = tuple(MESSAGE + part if isinstance(part, str) else part for part in data)
        return cls(frames, volatile, pause_after)

    @classmethod
    def control(cls, packet: str) -> Message:
        """A packet of the protocol itself (ping, close, ...)."""
        return cls((packet,))


@define(eq=False)
class Outbox:
    """At most `limit` messages wait here; protocol packets are not counted against them."""

    limit: int
    on_change: Callable[[], None] | None = field(default=None, init=False, repr=False)
    """Told, at once, of everything that is put here and of every `wake`. Set by whoever empties
    the outbox at the moment."""
    # A list, as an empty deque is 600 bytes and this is empty most of the time.
    _queue: list[Message] = field(factory=list[Message], init=False)
    _volatile: int = field(default=0, init=False)

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> bool:
        """Queues the message; False when there is no room for it."""
        if len(self._queue) >= self.limit and not self._drop_oldest_volatile():
            return False
        self._queue.append(message)
        self._volatile += message.volatile
        self.wake()
        return True

    def put_control(self, packet: str) -> None:
        """Queues a packet of the protocol, whatever the limit."""
        self._queue.append(Message.control(packet))
        self.wake()

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

    def _drop_oldest_volatile(self) -> bool:
        if not self._volatile:
            return False
        for index, message in enumerate(self._queue):
            if message.volatile:
                del self._queue[index]
                self._volatile -= 1
                return True
        return False
