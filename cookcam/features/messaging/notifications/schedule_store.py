"""The SQL that selects the recipients of scheduled notifications, as SERVICE."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime
from typing import LiteralString, TypeVar
from uuid import UUID

from attrs import frozen

from cookcam.features.messaging.notifications.messages import Notification
from cookcam.features.messaging.notifications.queue_store import QueueStore

R = TypeVar("R")

# A transaction-level lock, because session locks do not work through a transaction pooler.
TRY_LOCK = "select pg_try_advisory_xact_lock(hashtextextended('cookcam.notifications', 0))"

REACHABLE: LiteralString = """exists (
    select from public.device_tokens d
    where d.user_id = u.id and d.active and d.provider = any(%(providers)s)
  )"""


def recipients(kind: LiteralString, key: LiteralString) -> LiteralString:
    """Condition on `users u`: has a device, accepts this type and has not got this notification."""
    return f"""u.notifications_enabled
  and u.notification_preferences -> '{kind}' is distinct from 'false'::jsonb
  and {REACHABLE}
  and not exists (
    select from public.notification_logs n
    where n.user_id = u.id and n.dedupe_key = '{kind}:' || {key}
  )"""


def zones_where(when: LiteralString) -> LiteralString:
    """A CTE of the time zones of users with devices, where `when` holds for the local `day`."""
    return f"""
with zones as (
  select z.timezone, day.today, day.began, day.ends
  from (
    select distinct u.timezone
    from public.device_tokens d join public.users u on u.id = d.user_id
    where d.active and d.provider = any(%(providers)s)
  ) z
  cross join lateral public.local_day(%(now)s, z.timezone) as day
  where {when}
)"""  # noqa: S608 - constants


# From 10:00 local time; after noon, for instance after an outage, the check-in is dropped. Users
# who have scanned or cooked something today have checked in already.
CHECK_INS: LiteralString = f"""{
    zones_where(
        "%(now)s >= day.began + interval '10 hours' and %(now)s < day.began + interval '12 hours'"
    )
}
select u.id as user_id, zones.today as day, zones.ends
from zones join public.users u on u.timezone = zones.timezone
where {recipients("daily_checkin", "zones.today")}
  and not exists (
    select from public.daily_cooks c
    where c.user_id = u.id and c.cook_date = zones.today and not c.freeze_used
  )
  and not exists (
    select from public.ingredient_scans s where s.user_id = u.id and s.created_at >= zones.began
  )
order by u.id
limit %(batch)s"""  # noqa: S608 - constants

# Streaks that end today: unbroken until yesterday, by cooking or by frozen days.
STREAKS: LiteralString = f"""{zones_where("%(now)s >= day.ends - interval '2 hours'")}
select u.id as user_id, zones.today as day, zones.ends, s.current_streak as streak
from zones
join public.users u on u.timezone = zones.timezone
join public.user_streaks s on s.user_id = u.id
where {recipients("streak_warning", "zones.today")}
  and s.current_streak > 0
  and s.last_cook_date < zones.today
  and public.all_frozen(u.id, s.last_cook_date, zones.today)
order by u.id
limit %(batch)s"""  # noqa: S608 - constants


@frozen
class CheckInDue:
    user_id: UUID
    day: date
    ends: datetime


@frozen
class StreakDue:
    user_id: UUID
    day: date
    ends: datetime
    streak: int


@frozen
class ScheduleStore:
    queue: QueueStore

    async def batch(
        self,
        model: type[R],
        statement: LiteralString,
        notification: Callable[[R], Notification],
        now: datetime,
        size: int,
    ) -> tuple[int, int] | None:
        """Queues a batch; returns (rows selected, notifications added). None when another instance
        holds the lock."""
        async with self.queue.database.transaction() as tx:
            if not await tx.fetch_value(TRY_LOCK):
                return None
            rows = await tx.fetch_all(
                model,
                statement,
                now=now,
                providers=list(self.queue.providers),
                batch=size,
            )
            return len(rows), await self.queue.add(tx, [notification(row) for row in rows])
