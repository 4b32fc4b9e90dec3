"""Sliding windows that count the uses of quotas, in constant time and bounded memory.

A window slides in tenths of its length, so no key gets a double quota across a boundary. The
counters are shared by all instances if there are shared windows
(`cookcam.integrations.redis_windows`), and are those of this process otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import trio
from attrs import define, field, frozen

SLICES = 10
"""The parts in which a window slides."""


@frozen
class Quota:
    """At most `limit` uses per key in any `seconds`. Equal quotas share their counters."""

    name: str
    limit: int
    seconds: float


class QuotaState(NamedTuple):
    """The state of one key after a request was counted, or rejected and not counted."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    """Whole seconds until the whole quota is free again."""
    retry_after: int
    """Whole seconds until the next request would be allowed; 0 when this one was."""


@define
class _Window:
    """Counts per slice of the last window of one key; slice k is at `counts[k % SLICES]`."""

    start: float
    last_used: float
    newest: int = 0
    used: int = 0
    counts: list[int] = field(factory=lambda: [0] * SLICES)

    def advance(self, now: float, width: float) -> None:
        """Drop the slices that have left the window; an empty window restarts at `now`."""
        newest = int((now - self.start) / width)
        for k in range(self.newest + 1, min(newest, self.newest + SLICES) + 1):
            self.used -= self.counts[k % SLICES]
            self.counts[k % SLICES] = 0
        self.newest = newest
        self.last_used = now
        if self.used == 0:
            self.start, self.newest = now, 0

    def count(self) -> None:
        self.used += 1
        self.counts[self.newest % SLICES] += 1

    def frees(self, excess: int, width: float) -> float:
        """The time at which `excess` of the counted requests will have left the window."""
        for k in range(max(0, self.newest - SLICES + 1), self.newest + 1):
            excess -= self.counts[k % SLICES]
            if excess <= 0:
                return self.start + (k + SLICES) * width
        return self.start + (self.newest + SLICES) * width


@define
class Bucket:
    """A quota of `limit` requests per `seconds` and key, for at most `capacity` keys.

    A request is forgotten `seconds` after its slice began, so never later than `seconds` after
    itself, and in no nine tenths of a window are there more than `limit`. When all places are
    taken, the least recently used key loses its count.
    """

    limit: int
    seconds: float
    capacity: int = 65_536
    _windows: dict[str, _Window] = field(factory=dict[str, _Window], init=False)

    def hit(self, key: str, now: float, *, count: bool = True) -> QuotaState:
        """Count one request of `key` if it is within the limit. `now` never goes back.

        Without `count` the state is only read.
        """
        width = self.seconds / SLICES
        window = self._windows.pop(key, None)
        if window is None:
            self._make_room(now)
            window = _Window(now, now)
        else:
            window.advance(now, width)
        self._windows[key] = window
        allowed = window.used < self.limit
        if allowed and count:
            window.count()
        reset = math.ceil(window.frees(window.used, width) - now)
        if allowed:
            return QuotaState(True, self.limit, self.limit - window.used, reset, 0)
        retry_at = window.frees(window.used - self.limit + 1, width)
        return QuotaState(False, self.limit, 0, reset, max(1, math.ceil(retry_at - now)))

    def forget(self, key: str) -> None:
        """Reset the quota of `key`."""
        self._windows.pop(key, None)

    def __len__(self) -> int:
        return len(self._windows)

    def _make_room(self, now: float) -> None:
        """Drops up to two keys with empty windows, and another key if the bucket is full."""
        for _ in range(2):
            oldest = next(iter(self._windows), None)
            if oldest is None:
                return
            forgotten = now - self._windows[oldest].last_used >= self.seconds
            if not forgotten and len(self._windows) < self.capacity:
                return
            del self._windows[oldest]


class WindowState(NamedTuple):
    """The state of a shared window. `reset` and `retry_after` are exact seconds."""

    allowed: bool
    used: int
    reset: float
    retry_after: float


class SharedWindows(Protocol):
    """Sliding windows that all instances share, with the algorithm of `Bucket`."""

    async def hit(
        self, key: str, quotas: Sequence[Quota], *, count: bool
    ) -> Sequence[WindowState] | None:
        """Count one use in the window of each quota, up to the first that is used up.

        Returns the states of the windows examined, or None when the store is unavailable.
        """
        ...

    async def forget(self, key: str, quota: Quota) -> None:
        """Reset a window; without effect when the store is unavailable."""
        ...


@define(eq=False)
class QuotaCounters:
    """Counts the uses of quotas, in the shared windows if there are any.

    Each use is counted in this process too: while the shared windows are unavailable, these
    counters hold what this process allows. `clock` is in seconds; by default the run's own clock.
    """

    shared: SharedWindows | None = None
    clock: Callable[[], float] = trio.current_time
    _buckets: dict[Quota, Bucket] = field(factory=dict[Quota, Bucket], init=False)

    async def spend(self, key: str, *quotas: Quota, count: bool = True) -> QuotaState:
        """Count one use in each quota, up to the first that is used up, in one round trip.

        Returns the state of the last quota examined. Without `count` the states are only read.
        """
        if self.shared is not None:
            windows = await self.shared.hit(key, quotas, count=count)
            if windows is not None:
                if count:
                    self._count_locally(key, quotas, windows)
                quota, window = quotas[len(windows) - 1], windows[-1]
                remaining = max(0, quota.limit - window.used)
                retry_after = 0 if window.allowed else max(1, math.ceil(window.retry_after))
                return QuotaState(
                    window.allowed, quota.limit, remaining, math.ceil(window.reset), retry_after
                )
        now = self.clock()
        for quota in quotas[:-1]:
            state = self._bucket(quota).hit(key, now, count=count)
            if not state.allowed:
                return state
        return self._bucket(quotas[-1]).hit(key, now, count=count)

    async def forget(self, key: str, quota: Quota) -> None:
        """Reset the count of `key`."""
        self._bucket(quota).forget(key)
        if self.shared is not None:
            await self.shared.forget(key, quota)

    def _count_locally(
        self, key: str, quotas: Sequence[Quota], windows: Sequence[WindowState]
    ) -> None:
        now = self.clock()
        for quota, window in zip(quotas, windows, strict=False):
            if window.allowed:
                self._bucket(quota).hit(key, now)

    def _bucket(self, quota: Quota) -> Bucket:
        bucket = self._buckets.get(quota)
        if bucket is None:
            bucket = self._buckets[quota] = Bucket(quota.limit, quota.seconds)
        return bucket
