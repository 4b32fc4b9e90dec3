"""The bus over PostgreSQL's LISTEN and NOTIFY.

A notification is limited to 8,000 bytes, so a longer text is sent in parts by one transaction,
which keeps them consecutive.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Final

from attrs import define, field
from psycopg import Notify

from cookcam.database import Database
from cookcam.realtime.bus import BusMember
from cookcam.realtime.bus.broker import BrokerBus

CHANNEL: Final = "cookcam_live"
MAX_PART_LENGTH: Final = 7_800
"""ASCII characters; the rest of the 8,000 is for the header `instance number part parts `."""

NOTIFY = "select pg_notify(%(channel)s, part) from unnest(%(parts)s::text[]) as part"


@define(eq=False, slots=False)
class PostgresBus(BrokerBus[Notify]):
    """A `Bus` of all instances on one database."""

    name = "postgres"
    database: Database
    _number: int = field(default=0, init=False)
    _partial: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False)

    def _subscribe(self) -> AbstractAsyncContextManager[AsyncGenerator[Notify]]:
        return self.database.listen(CHANNEL)

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

    def _receive(self, member: BusMember, message: Notify) -> None:
        try:
            instance, _number, part, parts, text = message.payload.split(" ", 4)
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
