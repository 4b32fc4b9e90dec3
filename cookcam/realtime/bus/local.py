"""The bus inside one process."""

from __future__ import annotations

from secrets import token_hex

import trio
from attrs import define, field

from cookcam.realtime.bus import BusMember
from cookcam.realtime.bus.publish_queue import MAX_QUEUED


@define(eq=False)
class Exchange:
    """Connects the local buses of one process."""

    members: list[LocalBus] = field(factory=list["LocalBus"], init=False)


@define(eq=False)
class LocalBus:
    """In-process `Bus`. With one instance, publishing is a no-op."""

    exchange: Exchange = field(factory=Exchange)
    instance: str = field(factory=lambda: token_hex(8))
    connected: bool = field(default=False, init=False)
    attempted: trio.Event = field(factory=trio.Event, init=False)
    _inbox: trio.MemorySendChannel[tuple[str, str]] = field(init=False)
    _unread: trio.MemoryReceiveChannel[tuple[str, str]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._inbox, self._unread = trio.open_memory_channel[tuple[str, str]](MAX_QUEUED)

    def publish(self, text: str) -> bool:
        others = [bus for bus in self.exchange.members if bus is not self]
        accepted = [bus.enqueue(self.instance, text) for bus in others]
        return self.connected and all(accepted)

    def enqueue(self, instance: str, text: str) -> bool:
        """Queues a message of another instance; False when the queue is full."""
        try:
            self._inbox.send_nowait((instance, text))
        except trio.WouldBlock:
            return False
        return True

    async def run(self, member: BusMember) -> None:
        self.exchange.members.append(self)
        self.connected = True
        try:
            member.joined()
            self.attempted.set()
            async for instance, text in self._unread:
                member.received(instance, text)
        finally:
            self.connected = False
            self.exchange.members.remove(self)
            member.lost()
