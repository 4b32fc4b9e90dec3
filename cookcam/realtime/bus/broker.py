"""What the buses over a broker share: the queue of messages to publish, and the subscription."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from functools import partial
from secrets import token_hex
from typing import ClassVar, Generic, TypeVar

import trio
from attrs import define, field

from cookcam.realtime.bus import BusMember
from cookcam.realtime.bus.publish_queue import PublishQueue
from cookcam.realtime.bus.subscription import ReconnectingSubscription

T = TypeVar("T")


@define(eq=False, slots=False)
class BrokerBus(ABC, Generic[T]):
    """A `Bus` over a broker, with its own connection to listen. `T` is the broker's message."""

    name: ClassVar[str]
    instance: str = field(factory=lambda: token_hex(8), kw_only=True)
    _queue: PublishQueue = field(factory=PublishQueue, init=False)
    _subscription: ReconnectingSubscription[T] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._subscription = ReconnectingSubscription(self.name, self._subscribe)

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

    @abstractmethod
    def _subscribe(self) -> AbstractAsyncContextManager[AsyncGenerator[T]]: ...

    @abstractmethod
    async def _send(self, texts: list[str]) -> None:
        """Publish one batch. Raises AppError when it is lost."""

    @abstractmethod
    def _receive(self, member: BusMember, message: T) -> None:
        """Pass the texts of a message of another instance to `member`."""
