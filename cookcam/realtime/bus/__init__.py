"""The bus between instances: publish to all others.

Three adapters: `local` for one process, `postgres` (LISTEN and NOTIFY) and `redis` (a server or a
cluster). Delivery is at most once: messages published while the bus is unavailable or its queue is
full are lost. Clients detect a lost room event by a gap in `seq`.
"""

from __future__ import annotations

from typing import Protocol

import trio


class BusMember(Protocol):
    """The receiver of messages: `cookcam.realtime.relay`. No method blocks or raises."""

    def received(self, instance: str, text: str) -> None:
        """Called for each message of another instance."""
        ...

    def joined(self) -> None:
        """Called when the subscription starts. Earlier messages are lost."""
        ...

    def lost(self) -> None:
        """Called when the subscription is lost. No messages arrive until `joined`."""
        ...


class Bus(Protocol):
    @property
    def instance(self) -> str:
        """The random name of this instance on the bus, new at each start."""
        ...

    @property
    def connected(self) -> bool:
        """Whether messages of other instances arrive."""
        ...

    @property
    def attempted(self) -> trio.Event:
        """Set when the first attempt to join has succeeded or failed."""
        ...

    def publish(self, text: str) -> bool:
        """Queues a line of ASCII text for all other instances; False when it was dropped. Never
        blocks."""
        ...

    async def run(self, member: BusMember) -> None:
        """Sends the queued messages and passes received ones to `member`, until cancelled.
        Reconnects with exponential backoff and jitter."""
        ...
