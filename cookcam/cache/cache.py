"""The cache: one value per key, with single flight for concurrent callers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import trio
from attrs import define, field

from cookcam.cache.memory import MemoryStore
from cookcam.cache.shared import Redis, RedisStore
from cookcam.cache.store import CacheStore
from cookcam.observability.metrics import Metrics

Json = Any
"""A JSON value. UUIDs and datetimes are accepted too, and are read back as text."""

SHORT, MEDIUM, LONG, DAY, WEEK = 300, 1800, 3600, 86_400, 604_800
"""Times to live, in seconds."""
HOUR = LONG


@define(eq=False)
class _Flight:
    """A value being produced; concurrent callers wait for its producer."""

    done: trio.Event = field(factory=trio.Event)
    encoded: bytes | None = None
    failure: Exception | None = None
    dropped: bool = False


@define(eq=False)
class Cache:
    """Cached values under `{namespace}:{key}`. One per program; create it with `Cache.of`.

    Cached values are shared by all users. Cache a value that depends on the user only under a key
    that identifies the user, and never cache a value that must not leak. A value may be stale for
    up to its time to live when another instance wrote while this one produced it, or while Redis
    was unavailable.

    A failure of the cache never fails a call: a value that cannot be cached is produced again.
    """

    store: CacheStore
    metrics: Metrics
    _flights: dict[tuple[str, str], _Flight] = field(
        factory=dict[tuple[str, str], _Flight], init=False
    )

    @classmethod
    def of(cls, metrics: Metrics, redis: Redis | None = None) -> Cache:
        """Create a cache in Redis, shared by all instances, or in the memory of this process."""
        return cls(MemoryStore() if redis is None else RedisStore(redis), metrics)

    async def get_or(
        self,
        namespace: str,
        key: str,
        ttl_seconds: float,
        produce: Callable[[], Awaitable[Json]],
    ) -> Json:
        """Return the cached value, or call `produce` and cache its result for `ttl_seconds`.

        None is a valid value. Every caller gets a separate copy decoded from JSON, so fresh and
        cached values look the same (a UUID is text in both). `key` may be any text without
        personal data; use a digest of user input.

        One of several concurrent callers runs `produce`, in its own task. All callers get its
        result or its exception; an exception is not cached. If that caller is cancelled, the
        next one runs `produce`. Raises TypeError for a value that has no JSON form.
        """
        place = namespace, key
        while (flight := self._flights.get(place)) is not None:
            await flight.done.wait()
            if flight.failure is not None:
                self._count(namespace, "joined")
                raise flight.failure
            if flight.encoded is not None:
                self._count(namespace, "joined")
                return orjson.loads(flight.encoded)
        flight = self._flights[place] = _Flight()
        try:
            return await self._load(flight, namespace, key, ttl_seconds, produce)
        finally:
            if self._flights.get(place) is flight:
                del self._flights[place]
            flight.done.set()

    async def drop(self, namespace: str, *keys: str) -> None:
        """Remove values. A value that is being produced now is not cached either."""
        for key in keys:
            self._detach(namespace, key)
        if keys:
            await self.store.drop(namespace, *keys)

    async def drop_all(self, namespace: str) -> None:
        """Remove all values of a namespace, at the cost of one key."""
        for in_flight, key in list(self._flights):
            if in_flight == namespace:
                self._detach(namespace, key)
        await self.store.new_edition(namespace)

    async def _load(
        self,
        flight: _Flight,
        namespace: str,
        key: str,
        ttl_seconds: float,
        produce: Callable[[], Awaitable[Json]],
    ) -> Json:
        stored = await self.store.get(namespace, key)
        if stored.value is not None:
            with suppress(orjson.JSONDecodeError):  # not written by the cache: treat as a miss
                value = orjson.loads(stored.value)
                self._count(namespace, "hit")
                flight.encoded = stored.value
                return value
        self._count(namespace, "miss")
        try:
            encoded = orjson.dumps(await produce())
        except Exception as failure:
            flight.failure = failure
            raise
        flight.encoded = encoded
        flight.done.set()  # waiting callers need not wait for the store
        if not flight.dropped:
            await self.store.put(namespace, key, stored.edition, encoded, ttl_seconds)
            if flight.dropped:  # during `put`
                await self.store.drop(namespace, key)
        return orjson.loads(encoded)

    def _detach(self, namespace: str, key: str) -> None:
        """Detach a value in flight: waiting callers get it, later callers do not."""
        flight = self._flights.pop((namespace, key), None)
        if flight is not None:
            flight.dropped = True

    def _count(self, namespace: str, result: str) -> None:
        self.metrics.cache_requests_total.of(namespace, result).inc()
