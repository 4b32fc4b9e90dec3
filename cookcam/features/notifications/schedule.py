"""Queues what time brings: check-ins, warnings before a streak ends, achievements just won.

Each batch is a transaction that holds the lock of the schedule, so that one instance at a time does
this, and it may be cancelled at any moment. The key of a notification is of the person's local day,
so that nobody gets one twice, whoever queues it. Source: `spec/payments-and-gamification.md` §12.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Final, LiteralString, TypeVar

import trio
from attrs import field, frozen

from cookcam.features.notifications import messages
from cookcam.features.notifications.messages import Notification
from cookcam.features.notifications.schedule_store import (
    ACHIEVEMENTS,
    CHECK_INS,
    STREAKS,
    Day,
    ScheduleStore,
    Streak,
    Won,
)

R = TypeVar("R")

EVERY: Final = 120.0
"""Seconds between two looks, at most."""
BATCH: Final = 500
NEWS: Final = timedelta(hours=1)
"""How long ago an achievement may have been won to be told of: else switching notifications on
would tell of all there ever were."""
OF_USE: Final = timedelta(days=1)
"""How long an achievement is worth telling."""


@frozen
class Schedule:
    """`now` is UTC."""

    store: ScheduleStore
    now: Callable[[], datetime]
    size: int = field(default=BATCH, kw_only=True)

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable while the database is away."""
        while True:
            # Not at once, and not all instances at the same moment.
            await trio.sleep(EVERY * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
            await self.look()

    async def look(self) -> int:
        """Queues all that is due now, unless another instance does; how many notifications."""
        now = self.now()
        return (
            await self._all(Day, CHECK_INS, _check_in, now)
            + await self._all(Streak, STREAKS, _warning, now)
            + await self._all(
                Won, ACHIEVEMENTS, partial(_achievement, expires_at=now + OF_USE), now
            )
        )

    async def _all(
        self,
        model: type[R],
        statement: LiteralString,
        notification: Callable[[R], Notification],
        now: datetime,
    ) -> int:
        total = 0
        while batch := await self.store.batch(
            model, statement, notification, now=now, since=now - NEWS, size=self.size
        ):
            found, added = batch
            total += added
            # None added: somebody else queued the same; the next look goes on.
            if found < self.size or not added:
                break
        return total


def _check_in(due: Day) -> Notification:
    return messages.daily_checkin(due.user_id, due.day, due.ends)


def _warning(due: Streak) -> Notification:
    return messages.streak_warning(due.user_id, due.day, due.ends, due.streak)


def _achievement(won: Won, expires_at: datetime) -> Notification:
    return messages.achievement(won.user_id, won.key, won.name, won.xp, expires_at)
