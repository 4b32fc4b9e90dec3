"""A subscription that is opened again whenever it is lost."""

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

STEADY: Final = 10.0
"""Seconds a connection has to last before its loss counts as the first: a server that takes
connections and drops them is no reason to hurry."""


@define(eq=False)
class Listening(Generic[T]):
    """`subscribe` opens the subscription for the length of a block; both raise AppError."""

    name: str
    subscribe: Callable[[], AbstractAsyncContextManager[AsyncGenerator[T]]]
    connected: bool = field(default=False, init=False)
    attempted: trio.Event = field(factory=trio.Event, init=False)
    """Set when the first attempt to subscribe has ended, with or without success."""
    _backoff: Backoff = field(factory=Backoff, init=False)

    async def run(
        self,
        heard: Callable[[T], None],
        joined: Callable[[], None],
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        """Calls `joined` and `lost` as the subscription comes and goes, and `heard` for each
        message between them, until cancelled."""
        log: Any = structlog.get_logger(__name__).bind(bus=self.name)
        told = False
        while True:
            began = trio.current_time()
            try:
                async with self.subscribe() as messages:
                    self.connected, told = True, False
                    log.info("bus connected")
                    joined()
                    self.attempted.set()
                    async for message in messages:
                        heard(message)
            except AppError as error:
                self.attempted.set()
                if not told:
                    log.warning("bus lost, connecting again", code=error.code)
                told = True
            finally:
                if self.connected:
                    self.connected = False
                    lost()
            if trio.current_time() - began > STEADY:
                self._backoff.reset()
            await trio.sleep(self._backoff.next_delay())
