"""The SQL of Stripe's events, as SERVICE: the table is the server's own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, LiteralString

from attrs import frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import Conflict, DatabaseError
from cookcam.features.billing.webhooks.models import Claim, Claimed, Standing
from cookcam.integrations.stripe.events import Event

# `now()` is the time of the claim: what the function writes into `claimed_at`.
CLAIM: LiteralString = """
select
  public.claim_stripe_event(
    %(event_id)s, %(event_type)s, %(payload)s::jsonb, %(account_id)s, %(livemode)s
  ) as standing,
  now() as claimed_at"""

ACCEPT: LiteralString = """
insert into public.stripe_webhook_events (
  event_id, event_type, account_id, livemode, status, payload, provider_created_at,
  processing_duration_ms, processed_at
)
values (
  %(event_id)s, %(event_type)s, %(account_id)s, %(livemode)s, 'processed', %(payload)s::jsonb,
  %(created)s, 0, now()
)
on conflict (event_id) do nothing
returning event_id"""

KNOWN: LiteralString = """
select event_id from public.stripe_webhook_events where event_id = any(%(event_ids)s)"""

# Only the holder of the claim marks: who took too long has lost it to another.
DONE: LiteralString = """
update public.stripe_webhook_events set
  status = 'processed',
  processed_at = clock_timestamp(),
  processing_duration_ms = %(milliseconds)s
where event_id = %(event_id)s and status = 'processing' and claimed_at = %(claimed_at)s
returning event_id"""

# The tenth attempt was the last one, unless Stripe sends the event again.
FAILED: LiteralString = """
with given_back as (
update public.stripe_webhook_events set
  status = 'failed',
  error_message = %(reason)s,
  next_attempt_at = case
    when attempts >= 10 then null
    when %(at_once)s then now()
    else now() + (array['1 minute', '5 minutes', '30 minutes', '1 hour'])
      [least(attempts, 4)]::interval
  end
where event_id = %(event_id)s and status = 'processing' and claimed_at = %(claimed_at)s
returning attempts
)
select max(attempts) from given_back"""

DUE: LiteralString = """
update public.stripe_webhook_events set
  status = 'processing',
  attempts = attempts + 1,
  error_message = null,
  next_attempt_at = null,
  claimed_at = now()
where event_id in (
  select event_id from public.stripe_webhook_events
  where status <> 'processed' and attempts < 10
    and coalesce(next_attempt_at, claimed_at) <= now()
      - case status when 'processing' then interval '5 minutes' else interval '0' end
  order by coalesce(next_attempt_at, claimed_at)
  limit %(limit)s
  for update skip locked
)
returning event_id, event_type, payload, claimed_at"""

# Nobody works on them any more, and nobody will.
BURY: LiteralString = """
update public.stripe_webhook_events set
  status = 'failed',
  error_message = 'abandoned'
where status = 'processing' and attempts >= 10 and claimed_at < now() - interval '5 minutes'
returning event_id, event_type, payload, claimed_at"""


class ClaimLost(Conflict):
    """Somebody else works on the event by now."""


@frozen
class _Claimed:
    standing: Literal["claimed"] | Standing
    claimed_at: datetime


@frozen
class _Known:
    event_id: str


@frozen
class InboxStore:
    database: Database

    async def claim(self, event: Event, body: str | None) -> Claim | Standing:
        """Stores the event and gives the right to work on it; or says how it stands with it."""
        found = await self.database.write_one_as(SERVICE, _Claimed, CLAIM, **_columns(event, body))
        if found is None:
            raise DatabaseError()
        if found.standing == "claimed":
            return Claim(event.id, found.claimed_at)
        return found.standing

    async def accept(self, event: Event, body: str | None) -> Standing | None:
        """Stores an event that there is nothing to do about. None: it was new.

        Most of Stripe's events are such: they are stored and done in one statement.
        """
        columns = _columns(event, body)
        if await self.database.write_one_as(
            SERVICE, dict, ACCEPT, created=event.created, **columns
        ):
            return None
        claim = await self.claim(event, body)
        if not isinstance(claim, Claim):
            return claim
        await self.done_alone(claim, 0)
        return None

    async def known(self, event_ids: Sequence[str]) -> set[str]:
        """Those of the events that are stored, whatever became of them."""
        rows = await self.database.fetch_all_as(SERVICE, _Known, KNOWN, event_ids=list(event_ids))
        return {row.event_id for row in rows}

    async def due(self, limit: int) -> list[Claimed]:
        """Claims what failed and is to be tried again, and what its worker left behind."""
        async with self.database.transaction() as tx:
            return await tx.fetch_all(Claimed, DUE, limit=limit)

    async def bury(self) -> list[Claimed]:
        """Gives up what its worker left behind the last time there was."""
        async with self.database.transaction() as tx:
            return await tx.fetch_all(Claimed, BURY)

    async def done(self, tx: Transaction, claim: Claim, milliseconds: int) -> None:
        """Raises ClaimLost."""
        if not await tx.execute(DONE, **_mark(claim, milliseconds)):
            raise ClaimLost()

    async def done_alone(self, claim: Claim, milliseconds: int) -> None:
        """`done`, where nothing else is written. Raises ClaimLost."""
        if not await self.database.write_one_as(SERVICE, dict, DONE, **_mark(claim, milliseconds)):
            raise ClaimLost()

    async def failed(self, claim: Claim, reason: str, *, at_once: bool = False) -> int | None:
        """Gives the claim back; how often it was tried. None when another has it by now."""
        async with self.database.transaction() as tx:
            return await tx.fetch_value(
                FAILED,
                event_id=claim.event_id,
                claimed_at=claim.claimed_at,
                reason=reason,
                at_once=at_once,
            )


def _mark(claim: Claim, milliseconds: int) -> dict[str, object]:
    return {
        "event_id": claim.event_id,
        "claimed_at": claim.claimed_at,
        "milliseconds": milliseconds,
    }


def _columns(event: Event, body: str | None) -> dict[str, object]:
    return {
        "event_id": event.id,
        "event_type": event.type,
        "payload": body,
        "account_id": event.account,
        "livemode": event.livemode,
    }
