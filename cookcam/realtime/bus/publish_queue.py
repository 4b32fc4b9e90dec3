"""The queue of messages to publish on the bus."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError

MAX_QUEUED: Final = 1_000
MAX_BATCH: Final = 100


@define(eq=False)
class PublishQueue:
    """A bounded queue. An outage logs two lines: its start, and the number of lost messages."""

    _queue: trio.MemorySendChannel[str] = field(init=False)
    _waiting: trio.MemoryReceiveChannel[str] = field(init=False)
    _lost: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._queue, self._waiting = trio.open_memory_channel[str](MAX_QUEUED)

    def put(self, text: str) -> bool:
        """Queues a message; False when the queue is full."""
        try:
            self._queue.send_nowait(text)
        except trio.WouldBlock:
            self._lost += 1
            return False
        return True

    async def send(self, send: Callable[[list[str]], Awaitable[None]]) -> None:
        """Sends the queued messages in order, up to MAX_BATCH texts at a time, until cancelled.

        A batch for which `send` raises AppError is lost.
        """
        log = structlog.get_logger(__name__)
        unavailable = False
        async for texts in self._batches():
            try:
                await send(texts)
            except AppError as error:
                self._lost += len(texts)
                if not unavailable:
                    log.warning("bus takes no messages", code=error.code)
                unavailable = True
            else:
                if self._lost:
                    log.warning("bus messages were lost", count=self._lost)
                self._lost, unavailable = 0, False

    async def _batches(self) -> AsyncGenerator[list[str]]:
        async for text in self._waiting:
            texts = [text]
            while len(texts) < MAX_BATCH:
                try:
                    texts.append(self._waiting.receive_nowait())
                except trio.WouldBlock:
                    break
            yield texts
