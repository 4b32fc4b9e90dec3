"""In-process store: limited in bytes, evicts the least recently used entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import trio
from attrs import define, field
from cachetools import TLRUCache

from cookcam.cache.store import StoredValue

CAPACITY = 32 * 1024 * 1024
"""Bytes of values and keys."""
OVERHEAD = 200
"""Approximate bytes of an entry besides its value and key."""


class _Entry(NamedTuple):
    edition: int
    value: bytes
    seconds: float
    size: int


def _expires_at(_key: tuple[str, str], entry: _Entry, now: float) -> float:
    return now + entry.seconds


@define(eq=False)
class MemoryStore:
    """Stores values in this process. `clock` is in seconds."""

    capacity: int = CAPACITY
    clock: Callable[[], float] = trio.current_time
    _entries: TLRUCache[tuple[str, str], _Entry] = field(init=False)
    _editions: Counter[str] = field(factory=Counter[str], init=False)

    def __attrs_post_init__(self) -> None:
        self._entries = TLRUCache(
            self.capacity, ttu=_expires_at, timer=self.clock, getsizeof=lambda entry: entry.size
        )

    def __len__(self) -> int:
        return len(self._entries)

    async def get(self, namespace: str, key: str) -> StoredValue:
        edition = self._editions[namespace]
        entry = self._entries.get((namespace, key))
        if entry is None or entry.edition != edition:
            return StoredValue(None, edition)
        return StoredValue(entry.value, edition)

    async def put(
        self, namespace: str, key: str, edition: int, value: bytes, seconds: float
    ) -> None:
        size = len(value) + len(namespace) + len(key) + OVERHEAD
        if size <= self.capacity:
            self._entries[namespace, key] = _Entry(edition, value, seconds, size)

    async def drop(self, namespace: str, *keys: str) -> None:
        for key in keys:
            self._entries.pop((namespace, key), None)

    async def new_edition(self, namespace: str) -> None:
        self._editions[namespace] += 1
