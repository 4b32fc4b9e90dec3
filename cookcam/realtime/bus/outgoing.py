"""What an instance wants to say, on its way to the bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError

QUEUE: Final = 1_000
BATCH: Final = 100


@define(eq=False)
class Outgoing:
    """A bounded queue. An outage is two log lines: its beginning, and how much it cost."""

    _queue: trio.MemorySendChannel[str] = field(init=False)
    _waiting: trio.MemoryReceiveChannel[str] = field(init=False)
    _lost: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._queue, self._waiting = trio.open_memory_channel[str](QUEUE)

    def put(self, text: str) -> bool:
        """Whether there was room."""
        try:
            self._queue.send_nowait(text)
        except trio.WouldBlock:
            self._lost += 1
            return False
        return True

    async def send(self, send: Callable[[list[str]], Awaitable[None]]) -> None:
        """Hands over what is put, in order and up to BATCH texts at a time, until cancelled.

        What `send` fails with, by an AppError, is lost.
        """
        log = structlog.get_logger(__name__)
        away = False
        async for texts in self._batches():
            try:
                await send(texts)
            except AppError as error:
                self._lost += len(texts)
                if not away:
                    log.warning("bus takes no messages", code=error.code)
                away = True
            else:
                if self._lost:
                    log.warning("bus messages were lost", count=self._lost)
                self._lost, away = 0, False

    async def _batches(self) -> AsyncGenerator[list[str]]:
        async for text in self._waiting:
            texts = [text]
            while len(texts) < BATCH:
                try:
                    texts.append(self._waiting.receive_nowait())
                except trio.WouldBlock:
                    break
            yield texts
