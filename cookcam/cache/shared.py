"""Store shared by all instances, in Redis, with an in-memory fallback while it is unavailable.

A value is stored under `{namespace}:{key}` as `<edition> <json>`, the edition of a namespace under
`{namespace}:edition`. Both are read concurrently, so a read takes one round trip.

While Redis is unavailable, values are cached in this process for at most `FALLBACK_TTL` seconds,
and drops by other instances have no effect here. Drops of this instance are made up for by a new
edition of the namespace when Redis is available again.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Protocol

import trio
from attrs import define, field

from cookcam.cache.memory import MemoryStore
from cookcam.cache.store import StoredValue
from cookcam.integrations.redis_attempts import RedisAttempts

FALLBACK_TTL = 15.0
"""Maximum seconds a value is cached while Redis is unavailable."""
EDITION = "edition"
NO_EDITION = -1
"""Edition of values produced while the current edition is unknown; it never matches."""


class Redis(Protocol):
    """The part of `cookcam.integrations.redis.Redis` used here; all raise ServiceUnavailable."""

    async def get(self, key: str) -> bytes | None: ...

    async def set(self, key: str, value: bytes, seconds: int) -> None: ...

    async def increment(self, key: str) -> int: ...

    async def delete(self, *keys: str) -> None: ...


@define(eq=False)
class RedisStore:
    redis: Redis
    fallback: MemoryStore = field(factory=MemoryStore)
    _attempts: RedisAttempts = field(factory=partial(RedisAttempts, "cache"), init=False)
    _pending_invalidations: set[str] = field(factory=set[str], init=False)
    """Namespaces with drops that did not reach Redis."""

    async def get(self, namespace: str, key: str) -> StoredValue:
        results: list[StoredValue] = []

        async def operation() -> None:
            if namespace in self._pending_invalidations:
                await self.redis.increment(_name(namespace, EDITION))
                self._pending_invalidations.discard(namespace)
            results.append(await self._read(namespace, key))

        if await self._attempts.attempt(operation):
            return results[0]
        value, _ = await self.fallback.get(namespace, key)
        return StoredValue(value, NO_EDITION)

    async def put(
        self, namespace: str, key: str, edition: int, value: bytes, seconds: float
    ) -> None:
        encoded = b"%d %b" % (edition, value)
        whole_seconds = max(1, math.ceil(seconds))
        if not await self._attempts.attempt(
            lambda: self.redis.set(_name(namespace, key), encoded, whole_seconds)
        ):
            _, edition = await self.fallback.get(namespace, key)
            await self.fallback.put(namespace, key, edition, value, min(seconds, FALLBACK_TTL))

    async def drop(self, namespace: str, *keys: str) -> None:
        await self.fallback.drop(namespace, *keys)
        names = [_name(namespace, key) for key in keys]
        if not await self._attempts.attempt(lambda: self.redis.delete(*names)):
            self._pending_invalidations.add(namespace)

    async def new_edition(self, namespace: str) -> None:
        await self.fallback.new_edition(namespace)

        async def count() -> None:
            await self.redis.increment(_name(namespace, EDITION))

        if not await self._attempts.attempt(count):
            self._pending_invalidations.add(namespace)

    async def _read(self, namespace: str, key: str) -> StoredValue:
        encoded: bytes | None = None
        stored_edition: bytes | None = None

        async def read_value() -> None:
            nonlocal encoded
            encoded = await self.redis.get(_name(namespace, key))

        async def read_edition() -> None:
            nonlocal stored_edition
            stored_edition = await self.redis.get(_name(namespace, EDITION))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read_value)
            nursery.start_soon(read_edition)
        edition = int(stored_edition or 0)
        value_edition, _, value = (encoded or b"").partition(b" ")
        return StoredValue(value if value_edition == b"%d" % edition else None, edition)


def _name(namespace: str, key: str) -> str:
    return f"{namespace}:{key}"
