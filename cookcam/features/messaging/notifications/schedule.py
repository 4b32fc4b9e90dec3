"""Queues the reminders: check-ins and streak warnings.

Each batch is a transaction that holds an advisory lock, so one instance at a time queues, and
cancellation is safe at any point. The dedupe key contains the user's local day, so a user gets a
notification once whichever instance queues it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final, LiteralString, TypeVar

from attrs import field, frozen

from cookcam.features.messaging.notifications import messages
from cookcam.features.messaging.notifications.messages import Notification
from cookcam.features.messaging.notifications.schedule_store import (
    CHECK_INS,
    STREAKS,
    CheckInDue,
    ScheduleStore,
    StreakDue,
)
from cookcam.lifecycle.background import run_periodically

R = TypeVar("R")

POLL_INTERVAL: Final = 120.0
"""Seconds, at most."""
BATCH: Final = 500


@frozen
class Schedule:
    """`now` is UTC."""

    store: ScheduleStore
    now: Callable[[], datetime]
    size: int = field(default=BATCH, kw_only=True)

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable during a database outage."""
        await run_periodically(self.queue_due, POLL_INTERVAL)

    async def queue_due(self) -> int:
        """Queues the notifications due now; returns how many. Does nothing while another instance
        holds the lock."""
        now = self.now()
        check_ins = await self._queue_all(CheckInDue, CHECK_INS, _check_in, now)
        return check_ins + await self._queue_all(StreakDue, STREAKS, _warning, now)

    async def _queue_all(
        self,
        model: type[R],
        statement: LiteralString,
        notification: Callable[[R], Notification],
        now: datetime,
    ) -> int:
        total = 0
        while batch := await self.store.batch(model, statement, notification, now, self.size):
            selected, added = batch
            total += added
            # Nothing added: another instance queued the same rows; the next run continues.
            if selected < self.size or not added:
                break
        return total


def _check_in(due: CheckInDue) -> Notification:
    return messages.daily_checkin(due.user_id, due.day, due.ends)


def _warning(due: StreakDue) -> Notification:
    return messages.streak_warning(due.user_id, due.day, due.ends, due.streak)
