"""The bus over PostgreSQL's LISTEN and NOTIFY.

A notification is limited to 8,000 bytes, so a longer text is sent in parts by one transaction,
which keeps them consecutive.
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
from cookcam.realtime.bus import BusMember
from cookcam.realtime.bus.publish_queue import PublishQueue
from cookcam.realtime.bus.subscription import ReconnectingSubscription

CHANNEL: Final = "cookcam_live"
MAX_PART_LENGTH: Final = 7_800
"""ASCII characters; the rest of the 8,000 is for the header `instance number part parts `."""

NOTIFY = "select pg_notify(%(channel)s, part) from unnest(%(parts)s::text[]) as part"


@define(eq=False)
class PostgresBus:
    """A `Bus` of all instances on one database, with its own connection to listen."""

    database: Database
    instance: str = field(factory=lambda: token_hex(8))
    _queue: PublishQueue = field(factory=PublishQueue, init=False)
    _subscription: ReconnectingSubscription[Notify] = field(init=False)
    _number: int = field(default=0, init=False)
    _partial: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False)

    def __attrs_post_init__(self) -> None:
        self._subscription = ReconnectingSubscription(
            "postgres", lambda: self.database.listen(CHANNEL)
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
        parts = [part for text in texts for part in self._split(text)]
        async with self.database.transaction() as tx:
            await tx.execute(NOTIFY, channel=CHANNEL, parts=parts)

    def _split(self, text: str) -> list[str]:
        self._number += 1
        parts = max(1, math.ceil(len(text) / MAX_PART_LENGTH))
        pieces = [text[part * MAX_PART_LENGTH :][:MAX_PART_LENGTH] for part in range(parts)]
        return [
            f"{self.instance} {self._number} {part} {parts} {piece}"
            for part, piece in enumerate(pieces)
        ]

    def _receive(self, member: BusMember, notification: Notify) -> None:
        try:
            instance, _number, part, parts, text = notification.payload.split(" ", 4)
            index, count = int(part), int(parts)
        except ValueError:
            return  # not from an instance: any database user may notify
        if instance == self.instance:
            return
        if index == 0:
            self._partial[instance] = []
        collected = self._partial.get(instance)
        if collected is None or len(collected) != index:
            return  # the first part was sent before this instance listened
        collected.append(text)
        if len(collected) == count:
            del self._partial[instance]
            member.received(instance, "".join(collected))
