"""Stored webhook events: one store, with a table for Stripe and one for the app stores.

The tables are accessed as SERVICE; no user can read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, LiteralString
from uuid import UUID

from attrs import asdict, field, frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import Conflict, DatabaseError

EventProvider = Literal["stripe", "ios", "android"]
Rejection = Literal["duplicate", "in_progress"]

MAX_ATTEMPTS: Final = 10
"""After the tenth failed attempt an event is a dead letter until its provider sends it again."""


@frozen
class EventTable:
    """A table of events. `key` are the columns that identify an event, `key_values` their values,
    `identity` how they are read back. `claim` and `accept` are the table's statements for new
    events, `record` what a processed event stores beside its time.
    """

    name: LiteralString
    key: LiteralString
    key_values: LiteralString
    identity: LiteralString
    claim: LiteralString
    accept: LiteralString
    record: LiteralString

    @property
    def returned(self) -> LiteralString:
        return f"{self.identity}, payload, claimed_at"

    @property
    def claimed_row(self) -> LiteralString:
        """The row, while the claim is valid: a slow worker may have lost it to another."""
        return (
            f"({self.key}) = ({self.key_values})"
            " and status = 'processing' and claimed_at = %(claimed_at)s"
        )

    @property
    def done(self) -> LiteralString:
        return f"""
update {self.name} set processed_at = clock_timestamp(), {self.record}
where {self.claimed_row}
returning attempts"""  # noqa: S608 - constants

    @property
    def failed(self) -> LiteralString:
        return f"""
with released as (
  update {self.name} set
    status = 'failed',
    error_message = %(reason)s,
    attempts = case when %(is_final)s then 10 else attempts end,
    next_attempt_at = case
      when attempts >= 10 or %(is_final)s then null
      when %(immediately)s then now()
      else now() + (array['1 minute', '5 minutes', '30 minutes', '1 hour'])
        [least(attempts, 4)]::interval
    end
  where {self.claimed_row}
  returning attempts
)
select max(attempts) from released"""  # noqa: S608 - constants

    @property
    def claim_due(self) -> LiteralString:
        return f"""
update {self.name} set
  status = 'processing',
  attempts = attempts + 1,
  error_message = null,
  next_attempt_at = null,
  claimed_at = now()
where ({self.key}) in (
  select {self.key} from {self.name}
  where status in ('processing', 'failed') and attempts < 10
    and coalesce(next_attempt_at, claimed_at) <= now()
      - case status when 'processing' then interval '5 minutes' else interval '0' end
  order by coalesce(next_attempt_at, claimed_at)
  limit %(limit)s
  for update skip locked
)
returning {self.returned}"""  # noqa: S608 - constants

    @property
    def abandon(self) -> LiteralString:
        """Records the last attempt of killed workers."""
        return f"""
update {self.name} set status = 'failed', error_message = 'abandoned'
where status = 'processing' and attempts >= 10 and claimed_at < now() - interval '5 minutes'
returning {self.returned}"""  # noqa: S608 - constants

    @property
    def event_id(self) -> LiteralString:
        """The column with the provider's id of the event."""
        return self.key.rpartition(", ")[2]

    @property
    def list_failed(self) -> LiteralString:
        return f"""
select {self.identity}, attempts, next_attempt_at, error_message, received_at from {self.name}
where status = 'failed'
order by received_at
limit %(limit)s"""  # noqa: S608 - constants

    @property
    def requeue(self) -> LiteralString:
        return f"""
update {self.name} set attempts = 1, next_attempt_at = now()
where status = 'failed' and case
  when %(event_id)s::text is null then next_attempt_at is null
  else {self.event_id} = %(event_id)s
end"""  # noqa: S608 - constants


# In the claims `now()` is the time of the claim: the functions write it into `claimed_at`.
STRIPE_EVENTS: Final = EventTable(
    name="public.stripe_webhook_events",
    key="event_id",
    key_values="%(event_id)s",
    identity="'stripe' as provider, event_id, event_type",
    claim="""
select
  public.claim_stripe_event(
    %(event_id)s, %(event_type)s, %(payload)s::jsonb, %(account_id)s, %(livemode)s
  ) as outcome,
  now() as claimed_at""",
    accept="""
insert into public.stripe_webhook_events (
  event_id, event_type, account_id, livemode, status, payload, provider_created_at,
  processing_duration_ms, processed_at
)
values (
  %(event_id)s, %(event_type)s, %(account_id)s, %(livemode)s, 'processed', %(payload)s::jsonb,
  %(created)s, 0, now()
)
on conflict (event_id) do nothing
returning event_id""",
    record="status = 'processed', processing_duration_ms = %(milliseconds)s",
)

APP_STORE_EVENTS: Final = EventTable(
    name="public.iap_webhook_logs",
    key="platform, notification_id",
    key_values="%(provider)s, %(event_id)s",
    identity="platform as provider, notification_id as event_id, notification_type as event_type",
    claim="""
select
  public.claim_iap_notification(
    %(provider)s, %(event_id)s, %(event_type)s, %(payload)s::jsonb
  ) as outcome,
  now() as claimed_at""",
    accept="""
insert into public.iap_webhook_logs (
  platform, notification_id, notification_type, status, payload, processed_at
)
values (
  %(provider)s, %(event_id)s, %(event_type)s, 'ignored', %(payload)s::jsonb, now()
)
on conflict (platform, notification_id) do nothing
returning notification_id as event_id""",
    record="""
  status = case when %(ignored)s then 'ignored' else 'processed' end,
  subtype = %(subtype)s,
  store_key = %(store_key)s,
  user_id = %(user_id)s,
  error_message = null""",
)

EXISTING: LiteralString = """
select event_id from public.stripe_webhook_events where event_id = any(%(event_ids)s)"""


@frozen
class EventHeader:
    """The columns of a stored event. The app stores' table has no account, mode and time."""

    provider: EventProvider
    event_id: str
    event_type: str
    account_id: str | None = None
    livemode: bool = True
    created: datetime | None = None


@frozen
class Claim:
    """The right to process an event. It expires five minutes after `claimed_at`."""

    provider: EventProvider
    event_id: str
    event_type: str
    claimed_at: datetime


@frozen
class ClaimedEvent:
    """A stored event that was claimed. `payload` is None where PostgreSQL could not store it."""

    provider: EventProvider
    event_id: str
    event_type: str
    payload: Mapping[str, Any] | None = field(repr=False)
    claimed_at: datetime

    @property
    def claim(self) -> Claim:
        return Claim(self.provider, self.event_id, self.event_type, self.claimed_at)


@frozen(kw_only=True)
class EventResult:
    """The result of an event, stored in its row; Stripe's table has none of these columns."""

    ignored: bool = False
    subtype: str | None = None
    store_key: str | None = None
    user_id: UUID | None = None


class ClaimLost(Conflict):
    """The claim expired and another worker has the event."""


@frozen
class FailedEvent:
    """An event that failed; without `next_attempt_at` it is a dead letter."""

    provider: EventProvider
    event_id: str
    event_type: str
    attempts: int
    next_attempt_at: datetime | None
    error_message: str | None
    received_at: datetime


@frozen
class _ClaimOutcome:
    outcome: Literal["claimed"] | Rejection
    claimed_at: datetime


@frozen
class _EventId:
    event_id: str


@frozen
class WebhookEventStore:
    database: Database
    table: EventTable

    async def claim(self, header: EventHeader, payload: str | None) -> Claim | Rejection:
        """Stores the event and claims it, unless it was processed or is being processed.

        The claim is committed when this returns.
        """
        row = await self.database.write_one_as(
            SERVICE, _ClaimOutcome, self.table.claim, payload=payload, **asdict(header)
        )
        if row is None:
            raise DatabaseError()
        if row.outcome != "claimed":
            return row.outcome
        return Claim(header.provider, header.event_id, header.event_type, row.claimed_at)

    async def accept(self, header: EventHeader, payload: str | None) -> Rejection | None:
        """Stores an event that nothing handles as processed, in one statement: most of Stripe's
        are such. Returns None unless it had been stored before.
        """
        if await self.database.write_one_as(
            SERVICE, _EventId, self.table.accept, payload=payload, **asdict(header)
        ):
            return None
        claim = await self.claim(header, payload)
        if not isinstance(claim, Claim):
            return claim
        await self.mark_ignored(claim, 0)
        return None

    async def existing(self, event_ids: Sequence[str]) -> set[str]:
        """The ids of Stripe's events that are stored, in any state."""
        rows = await self.database.fetch_all_as(
            SERVICE, _EventId, EXISTING, event_ids=list(event_ids)
        )
        return {row.event_id for row in rows}

    async def claim_due(self, limit: int) -> list[ClaimedEvent]:
        """Claims failed events that are due and events of workers that were killed.

        SKIP LOCKED: no event is claimed by two instances.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch_all(ClaimedEvent, self.table.claim_due, limit=limit)

    async def abandon(self) -> list[ClaimedEvent]:
        """Turns events whose last worker was killed into dead letters."""
        async with self.database.transaction() as tx:
            return await tx.fetch_all(ClaimedEvent, self.table.abandon)

    async def failed(self, limit: int) -> list[FailedEvent]:
        """The failed events, oldest first."""
        return await self.database.fetch_all_as(
            SERVICE, FailedEvent, self.table.list_failed, limit=limit
        )

    async def requeue(self, event_id: str | None = None) -> int:
        """Make all dead letters due now, or the one failed event, with all their attempts again.

        Returns their number. The servers process them within their poll interval.
        """
        async with self.database.transaction() as tx:
            return await tx.execute(self.table.requeue, event_id=event_id)

    async def mark_done(
        self, tx: Transaction, claim: Claim, milliseconds: int, result: EventResult
    ) -> None:
        """Marks the event as processed in the transaction that applied it. Raises ClaimLost."""
        if not await tx.execute(self.table.done, **_mark(claim, milliseconds, result)):
            raise ClaimLost()

    async def mark_ignored(self, claim: Claim, milliseconds: int) -> None:
        """Marks an event that changes nothing. Raises ClaimLost."""
        mark = _mark(claim, milliseconds, EventResult(ignored=True))
        if not await self.database.write_one_as(SERVICE, dict, self.table.done, **mark):
            raise ClaimLost()

    async def mark_failed(
        self, claim: Claim, reason: str, *, immediately: bool = False, is_final: bool = False
    ) -> int | None:
        """Releases the claim; the event is due again after 1, 5 and 30 minutes, then hourly, or
        never when `is_final`.

        Returns the number of attempts, or None if the claim was lost.
        """
        async with self.database.transaction() as tx:
            return await tx.fetch_value(
                self.table.failed,
                provider=claim.provider,
                event_id=claim.event_id,
                claimed_at=claim.claimed_at,
                reason=reason,
                immediately=immediately,
                is_final=is_final,
            )


def webhook_stores(database: Database) -> list[WebhookEventStore]:
    """The store of each table of events."""
    return [WebhookEventStore(database, table) for table in (STRIPE_EVENTS, APP_STORE_EVENTS)]


def storable(body: bytes) -> str | None:
    """The event's JSON, or None if PostgreSQL cannot store it: its text has no NUL."""
    return None if b"\\u0000" in body else body.decode()


def _mark(claim: Claim, milliseconds: int, result: EventResult) -> dict[str, object]:
    return {
        "provider": claim.provider,
        "event_id": claim.event_id,
        "claimed_at": claim.claimed_at,
        "milliseconds": milliseconds,
        "ignored": result.ignored,
        "subtype": result.subtype,
        "store_key": result.store_key,
        "user_id": result.user_id,
    }
