"""The SQL of payouts, as the server itself. Every change of a state names the states it is from."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import LiteralString
from uuid import UUID

import structlog
from attrs import field, frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.errors import Conflict, DatabaseError, NotFound
from cookcam.features.creators.models import Balance, Payout
from cookcam.features.idempotency.models import KeyReused
from cookcam.features.literals import refused

COLUMNS: LiteralString = """
  p.id, p.creator_id, p.stripe_account_id, p.amount_cents, p.currency, p.method, p.status,
  p.stripe_transfer_id, p.stripe_payout_id, p.notes, p.requested_at, p.processed_at, p.updated_at"""

RESERVE: LiteralString = """
select public.request_creator_payout(%(creator_id)s, %(cents)s, 'stripe', %(key)s)"""

READY: LiteralString = """
select exists (
  select from public.creator_stripe_accounts
  where creator_id = %(creator_id)s and account_status = 'active'
)"""

BEGIN = f"""
update public.creator_payouts p set status = 'processing'
where p.id = %(payout_id)s and p.status = 'pending'
returning {COLUMNS}"""  # noqa: S608 - constants

FIND = f"""
select {COLUMNS} from public.creator_payouts p where p.id = %(payout_id)s"""  # noqa: S608

# Also of a payout that was taken for failed: if the money left, it is not the creator's a second
# time. Not of one that was taken back: `payout:` events of Stripe come in any order.
SENT = f"""
update public.creator_payouts p set
  status = 'processing', stripe_transfer_id = %(transfer_id)s, transferred_at = %(at)s,
  notes = null, processed_at = null
where p.id = %(payout_id)s and p.stripe_transfer_id is null
  and p.status in ('pending', 'processing', 'failed')
  and p.amount_cents = %(cents)s and p.stripe_account_id = %(account_id)s
returning {COLUMNS}"""  # noqa: S608 - constants

FAIL = f"""
update public.creator_payouts p set status = 'failed', notes = %(notes)s, processed_at = now()
where p.id = %(payout_id)s and p.stripe_transfer_id is null
  and p.status in ('pending', 'processing')
returning {COLUMNS}"""  # noqa: S608 - constants

TAKEN_BACK: LiteralString = """
update public.creator_payouts p set
  status = 'failed', notes = 'The transfer was reversed', processed_at = now(),
  stripe_transfer_id = %(transfer_id)s
where p.id = %(payout_id)s and p.status in ('pending', 'processing', 'completed', 'failed')
  and (p.stripe_transfer_id is null or p.stripe_transfer_id = %(transfer_id)s)
  and p.amount_cents = %(cents)s and p.stripe_account_id = %(account_id)s"""

PART_TAKEN_BACK: LiteralString = """
update public.creator_payouts p set notes = %(notes)s
where p.stripe_transfer_id = %(transfer_id)s"""

# A payout of an account brings what was transferred to it before. One that is known to have failed
# does not, whichever of its events comes first.
PAID: LiteralString = """
update public.creator_payouts p set
  status = 'completed', stripe_payout_id = %(stripe_payout_id)s, notes = null,
  processed_at = %(at)s
where p.stripe_account_id = %(account_id)s and p.status = 'processing'
  and p.transferred_at <= %(made_at)s
  and p.stripe_payout_id is distinct from %(stripe_payout_id)s"""

# The money has left us and is at Stripe: it is still to be paid, and not the creator's to ask for
# again.
NOT_PAID = f"""
update public.creator_payouts p set
  status = 'processing', stripe_payout_id = %(stripe_payout_id)s, notes = %(notes)s,
  processed_at = null
where p.stripe_account_id = %(account_id)s
  and (
    (p.status = 'completed' and p.stripe_payout_id = %(stripe_payout_id)s)
    or (p.status = 'processing' and p.transferred_at <= %(made_at)s)
  )
returning {COLUMNS}"""  # noqa: S608 - constants

UNSETTLED = f"""
select {COLUMNS} from public.creator_payouts p
where p.status in ('pending', 'processing') and p.stripe_transfer_id is null
  and p.requested_at < %(before)s and p.requested_at > %(after)s
order by p.requested_at, p.id limit %(limit)s"""  # noqa: S608 - constants

HISTORY = f"""
select {COLUMNS} from public.creator_payouts p
where p.creator_id = %(creator_id)s
order by p.requested_at desc, p.id limit %(limit)s offset %(offset)s"""  # noqa: S608 - constants

COUNT: LiteralString = """
select count(*)::integer from public.creator_payouts where creator_id = %(creator_id)s"""

BALANCE: LiteralString = """
select
  coalesce((
    select sum(l.amount_cents) from public.creator_ledger l where l.creator_id = %(creator_id)s
  ), 0)::bigint as total_cents,
  public.calculate_creator_unpaid_balance(%(creator_id)s) as available_cents,
  greatest(0, coalesce((
    select sum(l.amount_cents) from public.creator_ledger l
    where l.creator_id = %(creator_id)s and l.available_at > now()
  ), 0))::bigint as pending_cents,
  (
    select max(p.processed_at) from public.creator_payouts p
    where p.creator_id = %(creator_id)s and p.status = 'completed'
  ) as last_payout_at"""


@frozen
class PayoutStore:
    database: Database = field(repr=False)

    async def reserve(self, creator_id: UUID, cents: int, key: str) -> Payout:
        """The creator's money is promised to a new payout, which Stripe is about to be asked for.

        With a `key` that was used before it is the payout of then. Raises ValidationError for less
        than the minimum or more than there is, Conflict without an account that can be paid,
        KeyReused (409) for a key that was used for another amount, NotFound for a user who is gone.
        """
        async with self.database.transaction() as tx:
            try:
                payout_id = await tx.fetch_value(
                    RESERVE, creator_id=creator_id, cents=cents, key=key
                )
            except DatabaseError as error:
                raise _refusal(error) from error
            if not await tx.fetch_value(READY, creator_id=creator_id):
                words = "Stripe account not ready"
                raise Conflict(words, error=words)
            begun = await tx.fetch_optional(Payout, BEGIN, payout_id=payout_id)
            return begun or await tx.fetch_one(Payout, FIND, payout_id=payout_id)

    async def find(self, payout_id: UUID) -> Payout:
        return await self.database.fetch_one_as(SERVICE, Payout, FIND, payout_id=payout_id)

    async def sent(self, payout: Payout, transfer_id: str, at: datetime) -> Payout:
        """The transfer is made; the payout as it is now."""
        async with self.database.transaction() as tx:
            changed = await PayoutRows(tx).sent(
                payout.id,
                transfer_id,
                account_id=payout.stripe_account_id or "",
                cents=payout.amount_cents,
                at=at,
            )
            return changed or await tx.fetch_one(Payout, FIND, payout_id=payout.id)

    async def fail(self, payout_id: UUID, notes: str) -> Payout:
        """There will be no transfer, and the money is the creator's again; as it is now."""
        async with self.database.transaction() as tx:
            failed = await tx.fetch_optional(Payout, FAIL, payout_id=payout_id, notes=notes)
            return failed or await tx.fetch_one(Payout, FIND, payout_id=payout_id)

    async def unsettled(self, *, before: datetime, after: datetime, limit: int) -> Sequence[Payout]:
        """Oldest first."""
        return await self.database.fetch_all_as(
            SERVICE, Payout, UNSETTLED, before=before, after=after, limit=limit
        )

    async def history(
        self, creator_id: UUID, limit: int, offset: int
    ) -> tuple[Sequence[Payout], int]:
        """A page, newest first, and how many there are."""
        payouts = await self.database.fetch_all_as(
            SERVICE, Payout, HISTORY, creator_id=creator_id, limit=limit, offset=offset
        )
        total = await self.database.fetch_value_as(SERVICE, COUNT, creator_id=creator_id)
        return payouts, total

    async def balance(self, creator_id: UUID) -> Balance:
        return await self.database.fetch_one_as(SERVICE, Balance, BALANCE, creator_id=creator_id)


@frozen
class PayoutRows:
    """Runs in the transaction it is given."""

    tx: Transaction

    async def sent(
        self, payout_id: UUID, transfer_id: str, *, account_id: str, cents: int, at: datetime
    ) -> Payout | None:
        return await self.tx.fetch_optional(
            Payout,
            SENT,
            payout_id=payout_id,
            transfer_id=transfer_id,
            account_id=account_id,
            cents=cents,
            at=at,
        )

    async def taken_back(
        self, payout_id: UUID, transfer_id: str, *, account_id: str, cents: int
    ) -> None:
        await self.tx.execute(
            TAKEN_BACK,
            payout_id=payout_id,
            transfer_id=transfer_id,
            account_id=account_id,
            cents=cents,
        )

    async def note(self, transfer_id: str, notes: str) -> None:
        await self.tx.execute(PART_TAKEN_BACK, transfer_id=transfer_id, notes=notes)

    async def paid(
        self, account_id: str, stripe_payout_id: str, *, made_at: datetime, at: datetime
    ) -> int:
        return await self.tx.execute(
            PAID,
            account_id=account_id,
            stripe_payout_id=stripe_payout_id,
            made_at=made_at,
            at=at,
        )

    async def not_paid(
        self, account_id: str, stripe_payout_id: str, *, made_at: datetime, notes: str
    ) -> Sequence[Payout]:
        """Those that the bank did not pay, as they are now."""
        return await self.tx.fetch_all(
            Payout,
            NOT_PAID,
            account_id=account_id,
            stripe_payout_id=stripe_payout_id,
            made_at=made_at,
            notes=notes,
        )


def _refusal(error: DatabaseError) -> Exception:
    """What `request_creator_payout` means by its P0001 and P0002, in the words clients know."""
    cause = error.__cause__
    words = getattr(getattr(cause, "diag", None), "message_primary", None)
    if getattr(cause, "sqlstate", None) == "P0001":
        if words == "below_minimum":
            return refused("Minimum payout amount is $10", "amount")
        if words == "key_reused":
            return KeyReused()
        if words == "insufficient_balance":
            return refused("Insufficient balance", "amount")
    if getattr(cause, "sqlstate", None) == "P0002":
        return NotFound("User not found", error="User not found")
    structlog.get_logger(__name__).error("payout was not reserved", words=words)
    return error
