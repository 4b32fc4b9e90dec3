"""When runs happen: daily, on request, and after one was interrupted or missed."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, time, timedelta
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.features.billing.reconciliation.models import MAX_AGE
from cookcam.features.billing.reconciliation.service import Reconciliation

START_DELAY: Final = (5.0, 15.0)
"""Range in seconds, from the start of the server to the first run."""

CHECK_INTERVAL: Final = 300.0
"""Seconds between two checks of the clock, which may be set, and of other processes' runs."""

CLOCK_TOLERANCE: Final = timedelta(minutes=10)
"""A run of another instance that began this long before the time counts: clocks differ."""


def next_time(at: time, now: datetime) -> datetime:
    """The next moment after `now` when it is `at`, UTC."""
    today = datetime.combine(now.date(), at, UTC)
    return today if today > now else today + timedelta(days=1)


@define(eq=False)
class Schedule:
    """`at` is the daily time, UTC; None: only requested and interrupted runs. `now` is UTC."""

    reconciliation: Reconciliation
    at: time | None
    now: Callable[[], datetime]
    _overdue_reported: bool = field(default=False, init=False)

    async def run(self) -> None:
        """Background task. Raises an AppError when the database fails; when it is started again, it
        resumes the interrupted run. Cancellation loses at most the page in progress."""
        due = self._next()
        await self._wait(random.uniform(*START_DELAY))  # noqa: S311 - jitter
        await self._catch_up()
        while True:
            if self.reconciliation.is_requested:
                try:
                    await self.reconciliation.run()
                finally:
                    self.reconciliation.clear_request()
            elif due is not None and self.now() >= due:
                await self.reconciliation.run(unless_since=due - CLOCK_TOLERANCE)
                due = self._next()
            await self._export_newest()
            seconds = (due - self.now()).total_seconds() if due is not None else CHECK_INTERVAL
            await self._wait(min(max(seconds, 0.0), CHECK_INTERVAL))

    async def _wait(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self.reconciliation.wait_for_request()

    async def _catch_up(self) -> None:
        """Resumes an interrupted run, or makes up for a missed one."""
        last = await self.reconciliation.store.last_run()
        if last is None:
            return
        if last.finished_at is None:
            await self.reconciliation.run()
        elif self.at is not None:
            missed = next_time(self.at, self.now()) - timedelta(days=1) - CLOCK_TOLERANCE
            if last.began_at < missed:
                await self.reconciliation.run(unless_since=missed)

    async def _export_newest(self) -> None:
        newest = await self.reconciliation.export_newest()
        overdue = newest is not None and newest.reconciled_at < self.now() - MAX_AGE
        if overdue and not self._overdue_reported and self.at is not None:
            structlog.get_logger("cookcam.reconciliation").error("reconciliation is overdue")
        self._overdue_reported = overdue

    def _next(self) -> datetime | None:
        return None if self.at is None else next_time(self.at, self.now())
