"""The bus over Redis' publish and subscribe, of a server or a cluster.

A message consists of lines: the name of the sender, then the texts of one batch.
"""

from __future__ import annotations

from functools import partial
from secrets import token_hex

import trio
from attrs import define, field

from cookcam.integrations.redis import Redis
from cookcam.realtime.bus import BusMember
from cookcam.realtime.bus.publish_queue import PublishQueue
from cookcam.realtime.bus.subscription import ReconnectingSubscription


@define(eq=False)
class RedisBus:
    """A `Bus` of all instances on one channel, with its own connection to listen.

    Publish and subscribe ignore database numbers, so each project that shares the Redis needs its
    own `channel`.
    """

    redis: Redis
    channel: str
    instance: str = field(factory=lambda: token_hex(8))
    _queue: PublishQueue = field(factory=PublishQueue, init=False)
    _subscription: ReconnectingSubscription[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._subscription = ReconnectingSubscription(
            "redis", lambda: self.redis.subscribe(self.channel)
        )

    @property
    def connected(self) -> bool:
        return self._subscription.connected

    @property
    def attempted(self) -> trio.Event:
        return self._subscription.attempted

    def publish(self, text: str) -> bool:
        return self._queue.put(text)

    async def run(self, member: BusMember) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._queue.send, self._send)
            nursery.start_soon(
                self._subscription.run, partial(self._receive, member), member.joined, member.lost
            )

    async def _send(self, texts: list[str]) -> None:
        await self.redis.publish(self.channel, "\n".join([self.instance, *texts]).encode())

    def _receive(self, member: BusMember, message: bytes) -> None:
        instance, *texts = message.decode(errors="replace").split("\n")
        if instance != self.instance:
            for text in texts:
                member.received(instance, text)
