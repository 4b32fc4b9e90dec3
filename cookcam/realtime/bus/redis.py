"""The bus over Redis' publish and subscribe, of a server or a cluster.

A message consists of lines: the name of the sender, then the texts of one batch.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager

from attrs import define

from cookcam.integrations.redis import Redis
from cookcam.realtime.bus import BusMember
from cookcam.realtime.bus.broker import BrokerBus


@define(eq=False, slots=False)
class RedisBus(BrokerBus[bytes]):
    """A `Bus` of all instances on one channel.

    Publish and subscribe ignore database numbers, so each project that shares the Redis needs its
    own `channel`.
    """

    name = "redis"
    redis: Redis
    channel: str

    def _subscribe(self) -> AbstractAsyncContextManager[AsyncGenerator[bytes]]:
        return self.redis.subscribe(self.channel)

    async def _send(self, texts: list[str]) -> None:
        await self.redis.publish(self.channel, "\n".join([self.instance, *texts]).encode())

    def _receive(self, member: BusMember, message: bytes) -> None:
        instance, *texts = message.decode(errors="replace").split("\n")
        if instance != self.instance:
            for text in texts:
                member.received(instance, text)
