"""The rules of analytics (docs/analytics.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final
from uuid import UUID

import trio
from attrs import frozen

from cookcam.cache import Cache
from cookcam.features.operations.analytics.models import DAYS, AnalyticsEvent, Timeframe
from cookcam.features.operations.analytics.requests import TrackedEvent
from cookcam.features.operations.analytics.store import EventStore, copy_row
from cookcam.features.operations.row_buffer import RowBuffer
from cookcam.lifecycle.background import run_periodically

CACHE_SECONDS: Final = 300
MAINTENANCE_INTERVAL: Final = 6 * 3600.0

WRITE_INTERVAL: Final = 0.2
"""Seconds between two writes of events: a write of a second's events takes the processor for long
enough that other requests wait for it."""
EVENTS_AT_ONCE: Final = 50
"""Events encoded before other tasks get a turn: about a millisecond."""


@frozen
class Analytics:
    store: EventStore
    buffer: RowBuffer
    cache: Cache
    now: Callable[[], datetime]

    async def track(self, user_id: UUID, events: Sequence[TrackedEvent]) -> list[UUID]:
        """Accept all events or none; returns their ids.

        Raises ValidationError, ServiceOverloaded while the buffer is full.
        """
        now = self.now()
        ids: list[UUID] = []
        rows: list[bytes] = []
        for event in events:
            accepted = AnalyticsEvent.create(
                user_id, event.event_type, event.event_data, event.metadata, event.session_id, now
            )
            ids.append(accepted.id)
            rows.append(copy_row(accepted))
            if len(rows) % EVENTS_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
        self.buffer.add(rows)
        return ids

    async def dashboard(self, user_id: UUID, timeframe: Timeframe) -> dict[str, Any]:
        """The user's own figures, up to CACHE_SECONDS old."""
        produce = partial(self.store.dashboard, user_id, timeframe, DAYS[timeframe])
        return await self.cache.get_or(
            "dashboard", f"{user_id}:{timeframe}", CACHE_SECONDS, produce
        )

    async def overview(self, timeframe: Timeframe) -> dict[str, Any]:
        """The figures of all users, up to CACHE_SECONDS old."""
        produce = partial(self.store.overview, timeframe, DAYS[timeframe])
        return await self.cache.get_or("dashboard", timeframe, CACHE_SECONDS, produce)

    async def business(self) -> dict[str, Any]:
        """The business figures, up to CACHE_SECONDS old."""
        return await self.cache.get_or("dashboard", "business", CACHE_SECONDS, self.store.business)

    async def maintain_partitions(self) -> None:
        """Background task: keeps partitions two months ahead and drops the expired ones."""
        await run_periodically(self.store.maintain_partitions, MAINTENANCE_INTERVAL, at_once=True)
