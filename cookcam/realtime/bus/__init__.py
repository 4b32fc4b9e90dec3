"""The bus between instances: what one says, all others hear.

Three adapters: `local` for several hubs of one process, and for a process that is alone; `postgres`
(LISTEN and NOTIFY); `redis` (a server or a cluster). At most once: what is said while the bus is
away, or faster than it takes it, is lost, and receivers notice by the `seq` of a room's events.
"""

from __future__ import annotations

from typing import Protocol

import trio


class Member(Protocol):
    """Who is on the bus: `cookcam.realtime.relay`. No method waits or raises."""

    def heard(self, instance: str, text: str) -> None:
        """Another instance has said something."""
        ...

    def joined(self) -> None:
        """From now on others are heard; what they said before is gone."""
        ...

    def lost(self) -> None:
        """From now on nobody is heard, until `joined` is called again."""
        ...


class Bus(Protocol):
    @property
    def instance(self) -> str:
        """The name of this member on the bus, made anew at each start."""
        ...

    @property
    def connected(self) -> bool:
        """Whether the others are heard."""
        ...

    @property
    def attempted(self) -> trio.Event:
        """Set when the first attempt to join has ended, with or without success."""
        ...

    def publish(self, text: str) -> bool:
        """Queues a line of ASCII characters for all others; False when it was lost. Never waits."""
        ...

    async def run(self, member: Member) -> None:
        """Carries what is published and tells `member` what it hears, until cancelled. A lost
        connection is made again, with a jittered pause that grows."""
        ...
