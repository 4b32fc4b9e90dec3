"""Rate limits of events and handshakes: sliding windows, as for HTTP.

Counted per user, not per connection, so a second device does not double a quota. The counters are
those of this process.
"""

from __future__ import annotations

from uuid import UUID

import trio
from attrs import define, field, frozen

from cookcam.config.sections import RealtimeConfig
from cookcam.http.rate_limit import Bucket

MAX_CONSECUTIVE_REJECTIONS = 10
"""This many rejections in a row close a connection."""

BURST_SECONDS = 2.0
"""The events of this many seconds may arrive at once."""


@frozen
class Quota:
    """At most `limit` events per user in any `seconds`. Events with equal quotas share a count."""

    name: str
    limit: int
    seconds: float


def broadcast_quota(config: RealtimeConfig) -> Quota:
    """For events that are sent to all users."""
    return Quota("broadcasts", config.broadcasts_per_minute, 60.0)


def handshake_quota(config: RealtimeConfig) -> Quota:
    """For handshakes, counted per client address."""
    return Quota("handshakes", config.handshakes_per_minute, 60.0)


def event_quota(config: RealtimeConfig) -> Quota:
    """For every event, in addition to its own quota."""
    return Quota("events", round(config.events_per_second * BURST_SECONDS), BURST_SECONDS)


@define
class Limits:
    _buckets: dict[Quota, Bucket] = field(factory=dict[Quota, Bucket], init=False)

    def spend(self, quota: Quota, key: UUID | str) -> int:
        """Counts one use. Returns 0 within the quota, else whole seconds to wait, at least 1."""
        bucket = self._buckets.get(quota)
        if bucket is None:
            bucket = self._buckets[quota] = Bucket(quota.limit, quota.seconds)
        return bucket.hit(str(key), trio.current_time()).retry_after
