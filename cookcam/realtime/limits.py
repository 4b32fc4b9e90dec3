"""How often a client may do something. Sliding windows, those of the HTTP limits.

Counted per user, not per connection: a second device does not double a quota. Counters are those
of this process. Source: `spec/realtime.md` §2 and §3.
"""

from __future__ import annotations

from uuid import UUID

import trio
from attrs import define, field, frozen

from cookcam.config.sections import RealtimeConfig
from cookcam.http.rate_limit import Bucket

MAX_EXCESSES = 10
"""Consecutive refusals that end a connection."""

BURST_SECONDS = 2.0
"""The events of this many seconds may come at once."""


@frozen
class Quota:
    """At most `limit` events per user in any `seconds`. Events with equal quotas share a count."""

    name: str
    limit: int
    seconds: float


def broadcasts(config: RealtimeConfig) -> Quota:
    """The quota of events that reach everybody."""
    return Quota("broadcasts", config.broadcasts_per_minute, 60.0)


def handshakes(config: RealtimeConfig) -> Quota:
    """The quota of handshakes, the only one that is counted per client address."""
    return Quota("handshakes", config.handshakes_per_minute, 60.0)


def all_events(config: RealtimeConfig) -> Quota:
    """The quota that every event uses, whichever else it uses."""
    return Quota("events", round(config.events_per_second * BURST_SECONDS), BURST_SECONDS)


@define
class Limits:
    """Counts who did what."""

    _buckets: dict[Quota, Bucket] = field(factory=dict[Quota, Bucket], init=False)

    def spend(self, quota: Quota, key: UUID | str) -> int:
        """Counts one if it is within the quota; else returns whole seconds to wait, at least 1."""
        bucket = self._buckets.get(quota)
        if bucket is None:
            bucket = self._buckets[quota] = Bucket(quota.limit, quota.seconds)
        return bucket.hit(str(key), trio.current_time()).retry_after
