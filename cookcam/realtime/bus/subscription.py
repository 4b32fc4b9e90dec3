"""A subscription that reconnects when it is lost."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Generic, TypeVar

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError
from cookcam.integrations.pause import Backoff

T = TypeVar("T")

BACKOFF_RESET_AFTER: Final = 10.0
"""Seconds a subscription must last to reset the backoff, so that a server that accepts and drops
connections is not retried at once."""


@define(eq=False)
class ReconnectingSubscription(Generic[T]):
    """`subscribe` opens the subscription for the duration of a block. Opening and reading may raise
    AppError."""

    name: str
    subscribe: Callable[[], AbstractAsyncContextManager[AsyncGenerator[T]]]
    connected: bool = field(default=False, init=False)
    attempted: trio.Event = field(factory=trio.Event, init=False)
    """Set when the first attempt to subscribe has succeeded or failed."""
    _backoff: Backoff = field(factory=Backoff, init=False)

    async def run(
        self,
        received: Callable[[T], None],
        joined: Callable[[], None],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Calls `joined` and `lost` when the subscription starts and ends, and `received` for each
        message, until cancelled."""
        log: Any = structlog.get_logger(__name__).bind(bus=self.name)
        logged = False
        while True:
            started_at = trio.current_time()
            try:
                async with self.subscribe() as messages:
                    self.connected, logged = True, False
                    log.info("bus connected")
                    joined()
                    self.attempted.set()
                    async for message in messages:
                        received(message)
            except AppError as error:
                self.attempted.set()
                if not logged:
                    log.warning("bus lost, connecting again", code=error.code)
                logged = True
            finally:
                if self.connected:
                    self.connected = False
                    lost()
            if trio.current_time() - started_at > BACKOFF_RESET_AFTER:
                self._backoff.reset()
            await trio.sleep(self._backoff.next_delay())
