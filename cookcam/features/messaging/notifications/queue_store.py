"""The SQL of the notification queue, as SERVICE. `notification_logs` is both queue and log.

    queued ──► sending ──► sent, failed or skipped
       ▲          │
       └──────────┘ provider unavailable, or the claim expired after five minutes (sender crashed)

Every update of a claimed row checks that the claim is still held.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from attrs import asdict, field, frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.messaging.notifications.messages import Notification
from cookcam.integrations.push import PushProvider

Status = Literal["queued", "sent", "failed", "skipped"]

ADD = """
insert into public.notification_logs (user_id, type, title, body, data, dedupe_key, expires_at)
select user_id, type, title, body, data, dedupe_key, expires_at
from jsonb_to_recordset(%(notifications)s) as given (
  user_id uuid, type text, title text, body text, data jsonb, dedupe_key text,
  expires_at timestamptz
)
on conflict (user_id, dedupe_key) where dedupe_key is not null do nothing"""

CLAIM = """
update public.notification_logs set
  status = 'sending',
  attempts = attempts + 1,
  claimed_at = now(),
  next_attempt_at = null
where id in (
  select id from public.notification_logs
  where status in ('queued', 'sending')
    and case status
      when 'queued' then coalesce(next_attempt_at, created_at) <= now()
      else claimed_at < now() - interval '5 minutes'
    end
  order by created_at
  limit %(limit)s
  for update skip locked
)
returning id, user_id, type, title, body, data, attempts, claimed_at, expires_at"""

DEVICES = """
select d.token, d.provider, d.updated_at
from public.device_tokens d
join public.users u on u.id = d.user_id
where d.user_id = %(user_id)s and d.active and d.provider = any(%(providers)s)
  and u.notifications_enabled
order by d.updated_at desc
limit %(limit)s"""

SETTLE = """
update public.notification_logs set
  status = %(status)s,
  error_message = %(reason)s,
  sent_at = case when %(status)s = 'sent' then clock_timestamp() end,
  next_attempt_at = clock_timestamp() + %(pause)s * interval '1 second'
where id = %(id)s and status = 'sending' and claimed_at = %(claimed_at)s"""

# A device that registered again since the rejection stays active.
REJECT = """
update public.device_tokens set active = false
where token = %(token)s and updated_at = %(updated_at)s"""


@frozen
class ClaimedNotification:
    """A notification claimed by this process; `attempts` includes the current attempt."""

    id: UUID
    user_id: UUID
    type: str
    title: str = field(repr=False)
    body: str = field(repr=False)
    data: dict[str, str] = field(repr=False)
    attempts: int
    claimed_at: datetime
    expires_at: datetime


@frozen
class Device:
    token: str = field(repr=False)
    provider: PushProvider
    updated_at: datetime


@frozen
class SendResult:
    """The new status of a notification. `pause`: seconds until the next attempt."""

    status: Status
    reason: str | None = None
    pause: float | None = None


@frozen
class QueueStore:
    """`providers` are the configured push providers."""

    database: Database
    providers: Sequence[PushProvider]

    async def add(self, tx: Transaction, notifications: Sequence[Notification]) -> int:
        """Queues notifications; returns how many were not queued before."""
        rows = [_row(notification) for notification in notifications]
        return await tx.execute(ADD, notifications=Jsonb(rows))

    async def claim(self, limit: int) -> list[ClaimedNotification]:
        async with self.database.transaction() as tx:
            return await tx.fetch_all(ClaimedNotification, CLAIM, limit=limit)

    async def devices(self, user_id: UUID, limit: int) -> list[Device]:
        """The user's active devices; none when the user has disabled notifications."""
        return await self.database.fetch_all_as(
            SERVICE, Device, DEVICES, user_id=user_id, providers=list(self.providers), limit=limit
        )

    async def settle(
        self, claimed: ClaimedNotification, result: SendResult, rejected: Sequence[Device] = ()
    ) -> None:
        """Writes the result if the claim is still held, and deactivates rejected devices."""
        async with self.database.transaction() as tx:
            await tx.execute(
                SETTLE,
                id=claimed.id,
                claimed_at=claimed.claimed_at,
                status=result.status,
                reason=result.reason,
                pause=result.pause,
            )
            for device in rejected:
                await tx.execute(REJECT, token=device.token, updated_at=device.updated_at)


def _row(notification: Notification) -> dict[str, Any]:
    row = asdict(notification, recurse=False)
    return row | {
        "user_id": str(notification.user_id),
        "expires_at": notification.expires_at.isoformat(),
    }
