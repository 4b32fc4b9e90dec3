"""Fetches the receipts of pushes that Expo accepted: what became of each at APNs or FCM.

Expo recommends to ask after 15 minutes, and keeps receipts for a day. A dead device is deleted; any
other error is written to the notification and logged, because the operator has to act.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog
from attrs import frozen

from cookcam.database import Database, Jsonb
from cookcam.integrations.push import PushResult
from cookcam.integrations.push.expo import MAX_RECEIPTS
from cookcam.lifecycle.background import run_periodically

POLL_INTERVAL: Final = 120.0
"""Seconds, at most."""

# Another instance, or this one after a failure, asks again after 15 minutes.
CLAIM = """
update public.push_tickets set next_check_at = now() + interval '15 minutes'
where id in (
  select id from public.push_tickets
  where next_check_at <= now() and created_at > now() - interval '24 hours'
  order by next_check_at
  limit %(limit)s
  for update skip locked
)
returning id"""

# A device that registered again after the push stays.
SETTLE = """
with outcome as (
  select * from jsonb_to_recordset(%(outcomes)s) as o (id text, dead boolean, reason text)
),
done as (
  delete from public.push_tickets t using outcome o where t.id = o.id
  returning t.token, t.notification_id, t.created_at, o.dead, o.reason
),
removed as (
  delete from public.device_tokens d using done
  where done.dead and d.token = done.token and d.updated_at <= done.created_at
)
update public.notification_logs n set error_message = done.reason
from done where n.id = done.notification_id and done.reason <> ''"""


@frozen
class Ticket:
    id: str


class ReceiptService(Protocol):
    async def receipts(self, tickets: Sequence[str]) -> Mapping[str, PushResult]: ...


@frozen
class ReceiptStore:
    database: Database

    async def claim(self, limit: int) -> list[str]:
        """Claims tickets whose receipts are due, for 15 minutes."""
        async with self.database.transaction() as tx:
            return [one.id for one in await tx.fetch_all(Ticket, CLAIM, limit=limit)]

    async def settle(self, receipts: Mapping[str, PushResult]) -> None:
        outcomes = [
            {"id": ticket, "dead": receipt.verdict == "gone", "reason": receipt.reason}
            for ticket, receipt in receipts.items()
        ]
        async with self.database.transaction() as tx:
            await tx.execute(SETTLE, outcomes=Jsonb(outcomes))


@frozen
class Receipts:
    """`report` is called with the verdict of each receipt."""

    store: ReceiptStore
    service: ReceiptService
    report: Callable[[str], None]

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable while Expo or the database is unavailable."""
        await run_periodically(self.fetch_due, POLL_INTERVAL)

    async def fetch_due(self) -> int:
        """Fetches the receipts that are due; returns how many there were."""
        done = 0
        while tickets := await self.store.claim(MAX_RECEIPTS):
            receipts = await self.service.receipts(tickets)
            await self.store.settle(receipts)
            for receipt in receipts.values():
                self.report(receipt.verdict)
                if receipt.verdict == "refused":
                    log = structlog.get_logger("cookcam.notifications")
                    log.error("push not delivered", code=receipt.reason)
            done += len(receipts)
        return done
