"""Queues scheduled notifications: check-ins, streak warnings and recent achievements.

Each batch is a transaction that holds an advisory lock, so one instance at a time queues, and
cancellation is safe at any point. The dedupe key contains the user's local day, so a user gets a
notification once whichever instance queues it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, LiteralString, TypeVar

from attrs import field, frozen

from cookcam.features.messaging.notifications import messages
from cookcam.features.messaging.notifications.messages import Notification
from cookcam.features.messaging.notifications.schedule_store import (
    ACHIEVEMENTS,
    CHECK_INS,
    STREAKS,
    CheckInDue,
    ScheduleStore,
    StreakDue,
    UnlockedAchievement,
)
from cookcam.lifecycle.background import run_periodically

R = TypeVar("R")

POLL_INTERVAL: Final = 120.0
"""Seconds, at most."""
BATCH: Final = 500
ACHIEVEMENT_MAX_AGE: Final = timedelta(hours=1)
"""Older achievements are not notified; otherwise enabling notifications would send all of them."""
ACHIEVEMENT_TTL: Final = timedelta(days=1)
"""Time until an achievement notification expires."""


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
        return (
            await self._queue_all(CheckInDue, CHECK_INS, _check_in, now)
            + await self._queue_all(StreakDue, STREAKS, _warning, now)
            + await self._queue_all(
                UnlockedAchievement,
                ACHIEVEMENTS,
                partial(_achievement, expires_at=now + ACHIEVEMENT_TTL),
                now,
            )
        )

    async def _queue_all(
        self,
        model: type[R],
        statement: LiteralString,
        notification: Callable[[R], Notification],
        now: datetime,
    ) -> int:
        total = 0
        while batch := await self.store.batch(
            model, statement, notification, now=now, since=now - ACHIEVEMENT_MAX_AGE, size=self.size
        ):
            found, added = batch
            total += added
            # Nothing added: another instance queued the same rows; the next run continues.
            if found < self.size or not added:
                break
        return total


def _check_in(due: CheckInDue) -> Notification:
    return messages.daily_checkin(due.user_id, due.day, due.ends)


def _warning(due: StreakDue) -> Notification:
    return messages.streak_warning(due.user_id, due.day, due.ends, due.streak)


def _achievement(won: UnlockedAchievement, expires_at: datetime) -> Notification:
    return messages.achievement(won.user_id, won.key, won.name, won.xp, expires_at)
