"""The SQL of the notification queue, as SERVICE. `notification_logs` is inbox, queue and log.

    queued ──► sending ──► sent, failed or skipped
       ▲          │
       └──────────┘ quiet hours, provider unavailable, or the claim expired after five minutes
                    (sender crashed)

Every update of a claimed row checks that the claim is still held.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from attrs import asdict, field, frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.messaging.notifications.messages import Channel, Notification
from cookcam.http.responses import to_json
from cookcam.integrations.push import PushProvider

Status = Literal["queued", "sent", "failed", "skipped"]

CHANNEL: Final = "cookcam_notifications"
"""A trigger of `20250601005000_notification_inbox.sql` notifies here of new rows."""

ADD = """
insert into public.notification_logs (
  user_id, channel, type, title, body, data, dedupe_key, expires_at
)
select user_id, channel, type, title, body, data, dedupe_key, expires_at
from jsonb_to_recordset(%(notifications)s) as given (
  user_id uuid, channel text, type text, title text, body text, data jsonb, dedupe_key text,
  expires_at timestamptz
)
on conflict (user_id, dedupe_key) where dedupe_key is not null do nothing"""

CLAIM = """
with due as (
  select id from public.notification_logs
  where status in ('queued', 'sending')
    and channel = any(%(channels)s)
    and case status
      when 'queued' then coalesce(next_attempt_at, created_at) <= now()
      else claimed_at < now() - interval '5 minutes'
    end
  order by created_at
  limit %(limit)s
  for update skip locked
),
claimed as (
  update public.notification_logs n set
    status = 'sending',
    attempts = n.attempts + 1,
    claimed_at = now(),
    next_attempt_at = null
  from due where n.id = due.id
  returning n.*
)
select c.id, c.user_id, c.channel, c.type, c.title, c.body, c.data, c.attempts, c.claimed_at,
  c.created_at, c.expires_at, c.shown_at, u.email,
  u.notifications_enabled
    and u.notification_preferences -> c.type is distinct from 'false'::jsonb as wanted,
  public.quiet_until(%(now)s, u.timezone, u.quiet_hours_start, u.quiet_hours_end) as quiet_until,
  coalesce((
    select jsonb_agg(
      jsonb_build_object('token', d.token, 'provider', d.provider, 'updated_at', d.updated_at)
      order by d.updated_at desc
    )
    from (
      select * from public.device_tokens d
      where d.user_id = c.user_id and d.active and d.provider = any(%(providers)s)
      order by d.updated_at desc limit %(devices)s
    ) d
  ), '[]') as devices
from claimed c join public.users u on u.id = c.user_id
order by c.created_at, c.id"""

SETTLE = """
update public.notification_logs n set
  status = r.status,
  error_message = r.reason,
  sent_at = case when r.status = 'sent' then clock_timestamp() end,
  shown_at = coalesce(n.shown_at, case when r.shown then clock_timestamp() end),
  next_attempt_at = clock_timestamp() + r.pause * interval '1 second'
from jsonb_to_recordset(%(results)s) as r (
  id uuid, claimed_at timestamptz, status text, reason text, shown boolean, pause double precision
)
where n.id = r.id and n.status = 'sending' and n.claimed_at = r.claimed_at"""

# A device that registered again since the rejection stays.
REMOVE_DEAD = """
delete from public.device_tokens d
using jsonb_to_recordset(%(devices)s) as dead (token text, updated_at timestamptz)
where d.token = dead.token and d.updated_at = dead.updated_at"""

# The device may have been removed meanwhile.
ADD_TICKETS = """
insert into public.push_tickets (id, token, notification_id)
select t.id, d.token, n.id
from jsonb_to_recordset(%(tickets)s) as t (id text, token text, notification_id uuid)
join public.device_tokens d on d.token = t.token
left join public.notification_logs n on n.id = t.notification_id
for key share of d
on conflict (id) do nothing"""

LIST_FAILED = """
select id, channel, type, attempts, error_message, created_at from public.notification_logs
where status = 'failed' order by created_at, id limit %(limit)s"""

# Reminders are of use on their day only. Others are wanted a day longer, if they have expired.
REQUEUE = """
update public.notification_logs set
  status = 'queued',
  attempts = 0,
  next_attempt_at = now(),
  error_message = null,
  expires_at = greatest(expires_at, now() + interval '1 day')
where status = 'failed' and channel <> 'reminder'
  and (%(id)s::uuid is null or id = %(id)s::uuid)"""


@frozen
class Device:
    """`updated_at` is the time of the last registration, as PostgreSQL writes it."""

    token: str = field(repr=False)
    provider: PushProvider
    updated_at: str


def _devices(rows: Sequence[dict[str, Any]]) -> list[Device]:
    return [Device(**row) for row in rows]


@frozen
class ClaimedNotification:
    """A notification claimed by this process; `attempts` includes the current attempt.

    `wanted`: the user accepts pushes of this type. `quiet_until` is the end of the user's quiet
    hours, None outside them. `devices` are the user's active ones, the latest first.
    """

    id: UUID
    user_id: UUID
    channel: Channel
    type: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    data: dict[str, Any] = field(repr=False)
    attempts: int
    claimed_at: datetime
    created_at: datetime
    expires_at: datetime
    shown_at: datetime | None
    email: str | None = field(repr=False)
    wanted: bool
    quiet_until: datetime | None
    devices: list[Device] = field(converter=_devices, repr=False)


@frozen
class SendResult:
    """The new status of a notification. `shown`: it was sent to the sockets. `pause`: seconds until
    the next attempt."""

    status: Status
    reason: str | None = None
    pause: float | None = None
    shown: bool = False


@frozen
class SentTicket:
    """The ticket of a push that the provider accepted."""

    id: str
    token: str = field(repr=False)
    notification_id: UUID


@frozen
class FailedNotification:
    """A notification that was given up; its text is not read."""

    id: UUID
    channel: Channel
    type: str
    attempts: int
    error_message: str | None
    created_at: datetime


@frozen
class QueueStore:
    """`providers` are the configured push providers. Without `mail`, no mails are queued."""

    database: Database
    providers: Sequence[PushProvider]
    mail: bool = False

    async def add(self, tx: Transaction, notifications: Sequence[Notification]) -> int:
        """Writes notifications in the transaction of what they tell, under any role.

        Returns how many were not written before.
        """
        rows = [
            asdict(notification, recurse=False)
            for notification in notifications
            if self.mail or notification.channel != "mail"
        ]
        if not rows:
            return 0
        async with tx.acting_as(SERVICE):
            return await tx.execute(ADD, notifications=_encoded(rows))

    async def claim(
        self, channels: Sequence[Channel], now: datetime, *, limit: int, devices: int
    ) -> list[ClaimedNotification]:
        """Claims due notifications, the oldest first; at most `devices` of each user's devices."""
        async with self.database.transaction() as tx:
            return await tx.fetch_all(
                ClaimedNotification,
                CLAIM,
                channels=list(channels),
                now=now,
                providers=list(self.providers),
                limit=limit,
                devices=devices,
            )

    async def settle(
        self,
        results: Sequence[tuple[ClaimedNotification, SendResult]],
        dead: Sequence[Device] = (),
        tickets: Sequence[SentTicket] = (),
    ) -> None:
        """Writes the results of the claims that are still held, and the tickets; deletes dead
        devices."""
        rows = [
            # isoformat: JSON times of the API have milliseconds, and this one is compared.
            {"id": claimed.id, "claimed_at": claimed.claimed_at.isoformat(), **asdict(result)}
            for claimed, result in results
        ]
        async with self.database.transaction() as tx:
            await tx.execute(SETTLE, results=_encoded(rows))
            if dead:
                await tx.execute(REMOVE_DEAD, devices=_encoded([asdict(one) for one in dead]))
            if tickets:
                await tx.execute(ADD_TICKETS, tickets=_encoded([asdict(one) for one in tickets]))

    async def failed(self, limit: int) -> list[FailedNotification]:
        """The notifications that were given up, oldest first."""
        return await self.database.fetch_all_as(
            SERVICE, FailedNotification, LIST_FAILED, limit=limit
        )

    async def requeue(self, notification_id: UUID | None = None) -> int:
        """Make all failed notifications due now, or the one, with all their attempts again.

        Reminders stay. Returns their number. What was shown to the sockets is not shown again.
        """
        async with self.database.transaction() as tx:
            return await tx.execute(REQUEUE, id=notification_id)


def _encoded(rows: object) -> Jsonb:
    return Jsonb(rows, dumps=to_json)
