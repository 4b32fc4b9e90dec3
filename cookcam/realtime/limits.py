"""Quotas of events and handshakes, counted like those of HTTP.

Counted per user, not per connection, so a second device does not double a quota.
"""

from __future__ import annotations

from cookcam.config.sections import RealtimeConfig
from cookcam.sliding_windows import Quota

MAX_CONSECUTIVE_REJECTIONS = 10
"""This many rejections in a row close a connection."""

BURST_SECONDS = 2.0
"""The events of this many seconds may arrive at once."""


def broadcast_quota(config: RealtimeConfig) -> Quota:
    """For events that are sent to all users."""
    return Quota("broadcasts", config.broadcasts_per_minute, 60.0)


def handshake_quota(config: RealtimeConfig) -> Quota:
    """For handshakes, counted per client address."""
    return Quota("handshakes", config.handshakes_per_minute, 60.0)


def event_quota(config: RealtimeConfig) -> Quota:
    """For every event, in addition to its own quota."""
    return Quota("events", round(config.events_per_second * BURST_SECONDS), BURST_SECONDS)
