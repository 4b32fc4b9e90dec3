"""The bus over PostgreSQL's LISTEN and NOTIFY.

A notification holds 8,000 bytes, so that a longer text travels in parts, which one transaction
keeps together.
"""

from __future__ import annotations

import math
from functools import partial
from secrets import token_hex
from typing import Final

import trio
from attrs import define, field
from psycopg import Notify

from cookcam.database import Database
from cookcam.realtime.bus import Member
from cookcam.realtime.bus.listening import Listening
from cookcam.realtime.bus.outgoing import Outgoing

CHANNEL: Final = "cookcam_live"
PART: Final = 7_800
"""Characters, all ASCII; the rest is the head `instance number part parts `."""

NOTIFY = "select pg_notify(%(channel)s, part) from unnest(%(parts)s::text[]) as part"


@define(eq=False)
class PostgresBus:
    """A `Bus` of all instances on one database, with a connection of its own to listen."""

    database: Database
    instance: str = field(factory=lambda: token_hex(8))
    _outgoing: Outgoing = field(factory=Outgoing, init=False)
    _listening: Listening[Notify] = field(init=False)
    _number: int = field(default=0, init=False)
    _partial: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False)

    def __attrs_post_init__(self) -> None:
        self._listening = Listening("postgres", lambda: self.database.listen(CHANNEL))

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
        parts = [part for text in texts for part in self._split(text)]
        async with self.database.transaction() as tx:
            await tx.execute(NOTIFY, channel=CHANNEL, parts=parts)

    def _split(self, text: str) -> list[str]:
        self._number += 1
        parts = max(1, math.ceil(len(text) / PART))
        return [
            f"{self.instance} {self._number} {part} {parts} {text[part * PART : (part + 1) * PART]}"
            for part in range(parts)
        ]

    def _hear(self, member: Member, notification: Notify) -> None:
        try:
            instance, _number, part, parts, text = notification.payload.split(" ", 4)
            index, count = int(part), int(parts)
        except ValueError:
            return  # of nobody here: whoever may log in may notify
        if instance == self.instance:
            return
        if index == 0:
            self._partial[instance] = []
        collected = self._partial.get(instance)
        if collected is None or len(collected) != index:
            return  # its beginning was sent before this instance listened
        collected.append(text)
        if len(collected) == count:
            del self._partial[instance]
            member.heard(instance, "".join(collected))
