"""The interface of cache stores. A store holds bytes; the cache encodes and decodes them."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class StoredValue(NamedTuple):
    """The value of a key (None: no value of the current edition), and the current edition.

    Dropping a whole namespace begins a new edition. A value is stored under the edition that was
    current before it was produced, so a value produced from older data is never returned.
    """

    value: bytes | None
    edition: int


class CacheStore(Protocol):
    """Stores values for a limited time. Never raises on failure: a lost value is a cache miss."""

    async def get(self, namespace: str, key: str) -> StoredValue: ...

    async def put(
        self, namespace: str, key: str, edition: int, value: bytes, seconds: float
    ) -> None: ...

    async def drop(self, namespace: str, *keys: str) -> None: ...

    async def new_edition(self, namespace: str) -> None: ...
