"""When runs happen: daily, when somebody asks, and when one was interrupted or missed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.features.billing.reconciliation.models import OVERDUE
from cookcam.features.billing.reconciliation.service import Reconciliation

FIRST_RETRY_DELAY: Final = (5.0, 15.0)
"""Seconds from the start to the first look: the server comes first."""

CHECK_INTERVAL: Final = 300.0
"""Seconds between two looks at the clock, which may be set, and at what other processes ran."""

SAME: Final = timedelta(minutes=10)
"""Clocks differ: a run that began this long before its time is the one of that time."""


def next_time(at: time, now: datetime) -> datetime:
    """The next moment after `now` when it is `at`, UTC."""
    today = datetime.combine(now.date(), at, UTC)
    return today if today > now else today + timedelta(days=1)


@define(eq=False)
class Daily:
    """`at` is the time of day, UTC; None: only when asked or interrupted. `now` is UTC."""

    reconciliation: Reconciliation
    at: time | None
    now: Callable[[], datetime]
    _said_overdue: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Background task. Raises an AppError when the database fails; started again, it goes on
        with the run that was interrupted. Cancelled at any moment it loses no more than a page."""
        due = self._next()
        await self._wait(random.uniform(*FIRST_RETRY_DELAY))  # noqa: S311 - jitter
        await self._catch_up()
        while True:
            if self.reconciliation.is_requested:
                try:
                    await self.reconciliation.run()
                finally:
                    self.reconciliation.answered()
            elif due is not None and self.now() >= due:
                await self.reconciliation.run(unless_since=due - SAME)
                due = self._next()
            await self._watch()
            seconds = (due - self.now()).total_seconds() if due is not None else CHECK_INTERVAL
            await self._wait(min(max(seconds, 0.0), CHECK_INTERVAL))

    async def _wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.reconciliation.requested()

    async def _catch_up(self) -> None:
        """What a process that died has left, or nobody was there for."""
        last = await self.reconciliation.store.last_run()
        if last is None:
            return
        if last.finished_at is None:
            await self.reconciliation.run()
        elif self.at is not None:
            missed = next_time(self.at, self.now()) - timedelta(days=1) - SAME
            if last.began_at < missed:
                await self.reconciliation.run(unless_since=missed)

    async def _watch(self) -> None:
        newest = await self.reconciliation.show_newest()
        overdue = newest is not None and newest.reconciled_at < self.now() - OVERDUE
        if overdue and not self._said_overdue and self.at is not None:
            structlog.get_logger("cookcam.reconciliation").error("reconciliation is overdue")
        self._said_overdue = overdue

    def _next(self) -> datetime | None:
        return None if self.at is None else next_time(self.at, self.now())
