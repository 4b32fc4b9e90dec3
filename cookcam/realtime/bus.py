"""The bus between instances: texts to all others, over PostgreSQL's LISTEN and NOTIFY.

At most once: what is published while the database is away, or faster than it takes it, is lost,
and receivers notice by the `seq` of a room's events. Publishing never waits. A notification holds
8,000 bytes, so that a longer text travels in parts, which one transaction keeps together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from secrets import token_hex
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.database import Database
from cookcam.errors import AppError

CHANNEL: Final = "cookcam_live"
PART: Final = 7_800
"""Characters, all ASCII; the rest is the head `instance number part parts `."""
QUEUE: Final = 1_000
BATCH: Final = 100
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0

NOTIFY = "select pg_notify(%(channel)s, part) from unnest(%(parts)s::text[]) as part"


@define(eq=False)
class Bus:
    """`instance` is this process' name on the bus. `connected` says whether it hears the others."""

    database: Database
    instance: str = field(factory=lambda: token_hex(8))
    connected: bool = field(default=False, init=False)
    _number: int = field(default=0, init=False)
    _partial: dict[str, list[str]] = field(factory=dict[str, list[str]], init=False)
    _queue: trio.MemorySendChannel[str] = field(init=False)
    _waiting: trio.MemoryReceiveChannel[str] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._queue, self._waiting = trio.open_memory_channel[str](QUEUE)

    def publish(self, text: str) -> bool:
        """Queues a text of ASCII characters for all other instances; False when it was lost."""
        try:
            self._queue.send_nowait(text)
        except trio.WouldBlock:
            return False
        return True

    async def send(self) -> None:
        """Sends what is published, until cancelled."""
        log = structlog.get_logger(__name__)
        async for text in self._waiting:
            texts = [text]
            while len(texts) < BATCH:
                try:
                    texts.append(self._waiting.receive_nowait())
                except trio.WouldBlock:
                    break
            parts = [part for text in texts for part in self._split(text)]
            try:
                async with self.database.transaction() as tx:
                    await tx.execute(NOTIFY, channel=CHANNEL, parts=parts)
            except AppError as error:
                log.warning("bus messages lost", count=len(texts), code=error.code)

    async def receive(self, heard: Callable[[str, str], None], joined: Callable[[], None]) -> None:
        """Calls `heard(instance, text)` for what others publish, until cancelled.

        `joined` is called whenever the bus begins to listen: what was said before is gone.
        """
        log = structlog.get_logger(__name__)
        pause = FIRST_PAUSE
        while True:
            try:
                async with self.database.listen(CHANNEL) as notifications:
                    self._partial.clear()
                    self.connected, pause = True, FIRST_PAUSE
                    log.info("bus connected", instance=self.instance)
                    joined()
                    async for notification in notifications:
                        self._hear(notification.payload, heard)
            except AppError as error:
                if self.connected:
                    log.warning("bus lost, connecting again", code=error.code)
            finally:
                self.connected = False
            await trio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _split(self, text: str) -> list[str]:
        self._number += 1
        parts = max(1, math.ceil(len(text) / PART))
        return [
            f"{self.instance} {self._number} {part} {parts} {text[part * PART : (part + 1) * PART]}"
            for part in range(parts)
        ]

    def _hear(self, payload: str, heard: Callable[[str, str], None]) -> None:
        instance, _number, part, parts, text = payload.split(" ", 4)
        if instance == self.instance:
            return
        if int(part) == 0:
            self._partial[instance] = []
        collected = self._partial.get(instance)
        if collected is None or len(collected) != int(part):
            return  # its beginning was sent before this instance listened
        collected.append(text)
        if len(collected) == int(parts):
            del self._partial[instance]
            heard(instance, "".join(collected))
