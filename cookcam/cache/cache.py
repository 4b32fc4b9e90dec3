"""The cache: one value per key, made once however many ask at the same moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import orjson
import trio
from attrs import define, field

from cookcam.cache.memory import MemoryShelf
from cookcam.cache.shared import Redis, SharedShelf
from cookcam.cache.shelves import Shelf
from cookcam.observability.metrics import Metrics

Json = Any
"""What JSON can say; also UUIDs and datetimes, which come back as text."""

SHORT, MEDIUM, LONG, DAY, WEEK = 300, 1800, 3600, 86_400, 604_800
"""Times to live, seconds (`spec/http-api-core.md` §16)."""
HOUR = LONG


@define(eq=False)
class _Flight:
    """A value on its way: whoever asks for it meanwhile waits for the one who makes it."""

    landed: trio.Event = field(factory=trio.Event)
    encoded: bytes | None = None
    failure: Exception | None = None
    dropped: bool = False


@define(eq=False)
class Cache:
    """Values under `{namespace}:{key}`. One per program; made with `Cache.of`.

    What lies here is for everybody: a value that depends on who asks has no place under a key that
    does not name them, and none at all where leaking it would do harm. It may be as old as its time
    to live when another instance wrote while this one was making it, or while Redis was away.

    Nothing here fails because of the cache: a value that cannot be kept is made again.
    """

    shelf: Shelf
    metrics: Metrics
    _flights: dict[tuple[str, str], _Flight] = field(
        factory=dict[tuple[str, str], _Flight], init=False
    )

    @classmethod
    def of(cls, metrics: Metrics, redis: Redis | None = None) -> Cache:
        """A cache in Redis, for all instances, or in the memory of this one."""
        return cls(MemoryShelf() if redis is None else SharedShelf(redis), metrics)

    async def get_or(
        self,
        namespace: str,
        key: str,
        ttl_seconds: float,
        produce: Callable[[], Awaitable[Json]],
    ) -> Json:
        """The value of a key, or what `produce` returns, which is kept for `ttl_seconds`.

        None is a value like another. Every caller gets a copy of its own, the maker too, so a fresh
        value and a kept one look the same (a UUID is text in both). `key` may be any text without
        personal data; use a digest for what people type.

        Of callers who ask at the same time one runs `produce`, in its own task. They all get its
        result, or raise what it raised, and nothing is kept then. If that one is cancelled, the
        next goes on in its place. Raises TypeError for a value that has no JSON form.
        """
        place = namespace, key
        while (flight := self._flights.get(place)) is not None:
            await flight.landed.wait()
            if flight.failure is not None:
                self._count(namespace, "joined")
                raise flight.failure
            if flight.encoded is not None:
                self._count(namespace, "joined")
                return orjson.loads(flight.encoded)
        flight = self._flights[place] = _Flight()
        try:
            return await self._fly(flight, namespace, key, ttl_seconds, produce)
        finally:
            if self._flights.get(place) is flight:
                del self._flights[place]
            flight.landed.set()

    async def drop(self, namespace: str, *keys: str) -> None:
        """Forgets values. What is being made at this moment is not kept either."""
        for key in keys:
            self._divert(namespace, key)
        if keys:
            await self.shelf.drop(namespace, *keys)

    async def drop_all(self, namespace: str) -> None:
        """Forgets a whole namespace, at the cost of one key."""
        for flying, key in list(self._flights):
            if flying == namespace:
                self._divert(namespace, key)
        await self.shelf.new_edition(namespace)

    async def _fly(
        self,
        flight: _Flight,
        namespace: str,
        key: str,
        ttl_seconds: float,
        produce: Callable[[], Awaitable[Json]],
    ) -> Json:
        found = await self.shelf.take(namespace, key)
        if found.value is not None:
            with suppress(orjson.JSONDecodeError):  # somebody else's: as good as nothing
                value = orjson.loads(found.value)
                self._count(namespace, "hit")
                flight.encoded = found.value
                return value
        self._count(namespace, "miss")
        try:
            encoded = orjson.dumps(await produce())
        except Exception as failure:
            flight.failure = failure
            raise
        flight.encoded = encoded
        flight.landed.set()  # those who wait need not wait for the shelf
        if not flight.dropped:
            await self.shelf.put(namespace, key, found.edition, encoded, ttl_seconds)
            if flight.dropped:  # while it was being put
                await self.shelf.drop(namespace, key)
        return orjson.loads(encoded)

    def _divert(self, namespace: str, key: str) -> None:
        """Lets those who wait have the value on its way, and whoever comes from now on not."""
        flight = self._flights.pop((namespace, key), None)
        if flight is not None:
            flight.dropped = True

    def _count(self, namespace: str, result: str) -> None:
        self.metrics.cache_requests_total.of(namespace, result).inc()
