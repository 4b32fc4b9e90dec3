"""The shelf of all instances, in Redis, with a small one at home for when Redis is away.

A value lies under `{namespace}:{key}` as `<edition> <json>`; the edition of a namespace is counted
at `{namespace}:edition`. The two are read at the same time, so that a read is one trip.

While Redis is away values are kept here, briefly: what other instances drop meanwhile is not heard.
What is dropped here meanwhile is made good when Redis is back, by a new edition of the namespace.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, cast

import structlog
import trio
from attrs import define, field

from cookcam.cache.memory import MemoryShelf
from cookcam.cache.shelves import Found

PATIENCE = 0.5
"""Seconds a request waits for Redis at most; making the value anew is mostly quicker."""
LEAVE_ALONE = 1.0
"""Seconds for which Redis is not asked again after it failed."""
KEPT_AT_HOME = 15.0
"""Seconds a value is kept at most while Redis is away."""
EDITION = "edition"
NO_EDITION = -1
"""What is made while the edition cannot be known is of none that is ever present."""


class Redis(Protocol):
    """What this needs of `cookcam.providers.redis.Redis`; all raise ServiceUnavailable."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, seconds: int) -> None: ...

    async def increment(self, key: str) -> int: ...

    async def delete(self, *keys: str) -> None: ...


@define(eq=False)
class SharedShelf:
    redis: Redis
    home: MemoryShelf = field(factory=MemoryShelf)
    _away_until: float = field(default=-math.inf, init=False)
    _away: bool = field(default=False, init=False)
    _owed: set[str] = field(factory=set[str], init=False)
    """Namespaces of which something was dropped while Redis was away."""

    async def take(self, namespace: str, key: str) -> Found:
        found: list[Found] = []

        async def ask() -> None:
            if namespace in self._owed:
                await self.redis.increment(_name(namespace, EDITION))
                self._owed.discard(namespace)
            found.append(await self._read(namespace, key))

        if await self._answered(ask):
            return found[0]
        value, _ = await self.home.take(namespace, key)
        return Found(value, NO_EDITION)

    async def put(
        self, namespace: str, key: str, edition: int, value: bytes, seconds: float
    ) -> None:
        packed = b"%d %b" % (edition, value)
        whole_seconds = max(1, math.ceil(seconds))
        if not await self._answered(
            lambda: self.redis.set(_name(namespace, key), packed, whole_seconds)
        ):
            _, edition = await self.home.take(namespace, key)
            await self.home.put(namespace, key, edition, value, min(seconds, KEPT_AT_HOME))

    async def drop(self, namespace: str, *keys: str) -> None:
        await self.home.drop(namespace, *keys)
        names = [_name(namespace, key) for key in keys]
        if not await self._answered(lambda: self.redis.delete(*names)):
            self._owed.add(namespace)

    async def new_edition(self, namespace: str) -> None:
        await self.home.new_edition(namespace)

        async def count() -> None:
            await self.redis.increment(_name(namespace, EDITION))

        if not await self._answered(count):
            self._owed.add(namespace)

    async def _read(self, namespace: str, key: str) -> Found:
        packed: bytes | None = None
        counted: bytes | None = None

        async def read_value() -> None:
            nonlocal packed
            packed = await self.redis.get(_name(namespace, key))

        async def read_edition() -> None:
            nonlocal counted
            counted = await self.redis.get(_name(namespace, EDITION))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_value)
            nursery.start_soon(read_edition)
        edition = int(counted or 0)
        of, _, value = (packed or b"").partition(b" ")
        return Found(value if of == b"%d" % edition else None, edition)

    async def _answered(self, ask: Callable[[], Awaitable[None]]) -> bool:
        """Whether Redis did as it was asked, within `PATIENCE`."""
        if trio.current_time() < self._away_until:
            return False
        kind = "silent"
        with trio.move_on_after(PATIENCE):
            try:
                await ask()
            except* Exception as failed:  # no request fails for a surprise either
                kind = _kind(failed)
            else:
                self._back()
                return True
        self._away_until = trio.current_time() + LEAVE_ALONE
        if not self._away:
            self._away = True
            structlog.get_logger(__name__).warning("the cache is away", kind=kind)
        return False

    def _back(self) -> None:
        if self._away:
            self._away = False
            structlog.get_logger(__name__).info("the cache is back")


def _kind(failed: BaseExceptionGroup[Any]) -> str:
    """The name of the first exception inside."""
    first = failed.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _kind(cast("BaseExceptionGroup[Any]", first))
    return type(first).__name__


def _name(namespace: str, key: str) -> str:
    return f"{namespace}:{key}"
