"""The bus over Redis' publish and subscribe, of a server or a cluster.

A message is the name of its sender and the texts it had to say at that moment, in lines.
"""

from __future__ import annotations

from functools import partial
from secrets import token_hex

import trio
from attrs import define, field

from cookcam.integrations.redis import Redis
from cookcam.realtime.bus import Member
from cookcam.realtime.bus.listening import Listening
from cookcam.realtime.bus.outgoing import Outgoing


@define(eq=False)
class RedisBus:
    """A `Bus` of all instances on one channel, with a connection of its own to listen.

    Publish and subscribe know no database numbers, so that `channel` has to be another one for
    each project that shares the Redis.
    """

    redis: Redis
    channel: str
    instance: str = field(factory=lambda: token_hex(8))
    _outgoing: Outgoing = field(factory=Outgoing, init=False)
    _listening: Listening[bytes] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._listening = Listening("redis", lambda: self.redis.subscribe(self.channel))

    @property
    def connected(self) -> bool:
        return self._listening.connected

    @property
    def attempted(self) -> trio.Event:
        return self._listening.attempted

    def publish(self, text: str) -> bool:
        return self._outgoing.put(text)

    async def run(self, member: Member) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._outgoing.send, self._send)
            nursery.start_soon(
                self._listening.run, partial(self._hear, member), member.joined, member.lost
            )

    async def _send(self, texts: list[str]) -> None:
        await self.redis.publish(self.channel, "\n".join([self.instance, *texts]).encode())

    def _hear(self, member: Member, message: bytes) -> None:
        instance, *texts = message.decode(errors="replace").split("\n")
        if instance != self.instance:
            for text in texts:
                member.heard(instance, text)
