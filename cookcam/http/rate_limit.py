"""Request quotas: named buckets of sliding windows, constant time and bounded memory.

Each bucket has its own counters (`global:{address}`, `auth:{address}`), so other requests never use
up the quota of sign-ins. A window slides in tenths of its length, so no client gets a double quota
across a boundary. Each process counts separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import trio
from attrs import define, field, frozen

from cookcam.config.sections import LimitsConfig
from cookcam.errors import RateLimited
from cookcam.http.security_headers import Header

GLOBAL = "global"
AUTH = "auth"
WRONG_PASSWORDS_OF_PAIR = "wrong passwords:pair"
"""Failed sign-ins by client address and account, over four windows of AUTH."""
WRONG_PASSWORDS_OF_ACCOUNT = "wrong passwords:account"
"""Failed sign-ins of an account from all addresses. Slows further ones and rejects none, so
that others cannot lock out the owner."""
RECOVERY_MAILS = "recovery mails"
"""Mails to one e-mail address."""
UNVERIFIED = "unverified webhooks"
"""Webhook deliveries of a client address that failed verification."""
PAYMENTS = "payments"
"""Payments and payouts that a user starts. Low, against testing stolen cards."""
COSTLY_FOR_USERS = "costly:users"
COSTLY_FOR_GUESTS = "costly:guests"
"""Requests that cost money or the server's quota at a provider."""

MAX_UNVERIFIED = 20

SLICES = 10
"""The parts in which a window slides."""

_MESSAGES: Mapping[str, str] = {
    AUTH: "Too many authentication attempts, please try again later",
    WRONG_PASSWORDS_OF_PAIR: "Too many authentication attempts, please try again later",
}


class QuotaState(NamedTuple):
    """The state of one key after a request was counted, or rejected and not counted."""

    allowed: bool
    limit: int
    remaining: int
    reset: int
    """Whole seconds until the whole quota is free again."""
    retry_after: int
    """Whole seconds until the next request would be allowed; 0 when this one was."""

    def headers(self) -> tuple[Header, ...]:
        return (
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % self.remaining),
            (b"ratelimit-reset", b"%d" % self.reset),
        )


@define(slots=False, eq=False)
class LimitReached(RateLimited):
    """A 429 with the state of the quota that is used up. `error` is the message, not the code."""

    verdict: QuotaState | None = field(default=None, kw_only=True)
    bucket: str = field(default="", kw_only=True)

    @classmethod
    def of(cls, bucket: str, verdict: QuotaState) -> LimitReached:
        message = _MESSAGES.get(bucket, cls.default_message)
        return cls(
            message, error=message, retry_after=verdict.retry_after, verdict=verdict, bucket=bucket
        )

    @property
    def headers(self) -> list[tuple[str, str]]:
        quota = self.verdict.headers() if self.verdict is not None else ()
        return [*super().headers, *((name.decode(), value.decode()) for name, value in quota)]


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

    def exhausted(self, now: float) -> list[str]:
        """The keys whose quota is used up."""
        full = [(key, one) for key, one in self._windows.items() if one.used >= self.limit]
        for _, window in full:
            window.advance(now, self.seconds / SLICES)
        return [key for key, window in full if window.used >= self.limit]

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


@frozen
class RateLimits:
    """All buckets. `clock` is in seconds; by default the run's own clock."""

    buckets: Mapping[str, Bucket]
    clock: Callable[[], float] = trio.current_time

    @classmethod
    def of(cls, config: LimitsConfig) -> RateLimits:
        """The buckets of the configuration; none at all when limits are off."""
        if not config.enabled:
            return cls({})
        window, auth_window = config.window_ms / 1000, config.auth_window_ms / 1000
        return cls(
            {
                GLOBAL: Bucket(config.max_requests, window),
                AUTH: Bucket(config.auth_max_requests, auth_window),
                WRONG_PASSWORDS_OF_PAIR: Bucket(config.auth_max_requests, 4 * auth_window),
                WRONG_PASSWORDS_OF_ACCOUNT: Bucket(config.auth_max_requests, auth_window),
                RECOVERY_MAILS: Bucket(config.auth_max_requests, auth_window),
                UNVERIFIED: Bucket(min(config.max_requests, MAX_UNVERIFIED), window),
                PAYMENTS: Bucket(10, 600),
                COSTLY_FOR_USERS: Bucket(10, 60),
                COSTLY_FOR_GUESTS: Bucket(3, 60),
            }
        )

    def spend(self, bucket: str, key: str, *, count: bool = True) -> QuotaState | None:
        """Counts one request, or only checks without `count`; None if unlimited.

        Raises LimitReached when there is none left.
        """
        counted = self.buckets.get(bucket)
        if counted is None:
            return None
        verdict = counted.hit(key, self.clock(), count=count)
        if not verdict.allowed:
            raise LimitReached.of(bucket, verdict)
        return verdict

    def exhausted(self, bucket: str) -> list[str]:
        """The keys whose quota in a bucket is used up."""
        counted = self.buckets.get(bucket)
        return [] if counted is None else counted.exhausted(self.clock())

    def forget(self, bucket: str, key: str) -> None:
        """Reset the quota of `key`."""
        if bucket in self.buckets:
            self.buckets[bucket].forget(key)
