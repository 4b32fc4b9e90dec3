"""The SQL of payouts, under the server's role. Every status change checks the previous status."""

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
from cookcam.features.literals import rejected_field
from cookcam.features.operations.idempotency.models import KeyReused

COLUMNS: LiteralString = """
  p.id, p.creator_id, p.stripe_account_id, p.amount_cents, p.currency, p.method, p.status,
  p.stripe_transfer_id, p.stripe_payout_id, p.notes, p.requested_at, p.processed_at, p.updated_at"""

RESERVE: LiteralString = """
select public.request_creator_payout(%(creator_id)s, %(cents)s, 'stripe', %(key)s)"""

HAS_ACTIVE_ACCOUNT: LiteralString = """
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

# Includes payouts marked failed: if the transfer was made after all, the money must not be payable
# again. Excludes reversed ones, since Stripe's events arrive in any order.
MARK_SENT = f"""
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

MARK_REVERSED: LiteralString = """
update public.creator_payouts p set
  status = 'failed', notes = 'The transfer was reversed', processed_at = now(),
  stripe_transfer_id = %(transfer_id)s
where p.id = %(payout_id)s and p.status in ('pending', 'processing', 'completed', 'failed')
  and (p.stripe_transfer_id is null or p.stripe_transfer_id = %(transfer_id)s)
  and p.amount_cents = %(cents)s and p.stripe_account_id = %(account_id)s"""

SET_NOTES: LiteralString = """
update public.creator_payouts p set notes = %(notes)s
where p.stripe_transfer_id = %(transfer_id)s"""

# A bank payout of an account covers the transfers made before it. A failed bank payout covers none,
# whichever of its events arrives first.
MARK_PAID: LiteralString = """
update public.creator_payouts p set
  status = 'completed', stripe_payout_id = %(stripe_payout_id)s, notes = null,
  processed_at = %(at)s
where p.stripe_account_id = %(account_id)s and p.status = 'processing'
  and p.transferred_at <= %(made_at)s
  and p.stripe_payout_id is distinct from %(stripe_payout_id)s"""

# The money is already in the creator's Stripe account: it is still to be paid by the bank, and must
# not become payable again.
MARK_UNPAID = f"""
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
        """Reserves the amount for a new payout and marks it `processing`.

        A `key` that was used before returns its payout. Raises ValidationError for an amount below
        the minimum or above the balance, Conflict without an active account, KeyReused (409) for a
        key that was used for another amount, and NotFound for a deleted user.
        """
        async with self.database.transaction() as tx:
            try:
                payout_id = await tx.fetch_value(
                    RESERVE, creator_id=creator_id, cents=cents, key=key
                )
            except DatabaseError as error:
                raise _rejection(error) from error
            if not await tx.fetch_value(HAS_ACTIVE_ACCOUNT, creator_id=creator_id):
                message = "Stripe account not ready"
                raise Conflict(message, error=message)
            begun = await tx.fetch_optional(Payout, BEGIN, payout_id=payout_id)
            return begun or await tx.fetch_one(Payout, FIND, payout_id=payout_id)

    async def find(self, payout_id: UUID) -> Payout:
        return await self.database.fetch_one_as(SERVICE, Payout, FIND, payout_id=payout_id)

    async def mark_sent(self, payout: Payout, transfer_id: str, at: datetime) -> Payout:
        """Stores the transfer; returns the current payout."""
        async with self.database.transaction() as tx:
            changed = await PayoutRows(tx).mark_sent(
                payout.id,
                transfer_id,
                account_id=payout.stripe_account_id or "",
                cents=payout.amount_cents,
                at=at,
            )
            return changed or await tx.fetch_one(Payout, FIND, payout_id=payout.id)

    async def fail(self, payout_id: UUID, notes: str) -> Payout:
        """Marks the payout failed, which releases the money; returns the current payout."""
        async with self.database.transaction() as tx:
            failed = await tx.fetch_optional(Payout, FAIL, payout_id=payout_id, notes=notes)
            return failed or await tx.fetch_one(Payout, FIND, payout_id=payout_id)

    async def unsettled(self, *, before: datetime, after: datetime, limit: int) -> Sequence[Payout]:
        """Payouts without a known transfer, oldest first."""
        return await self.database.fetch_all_as(
            SERVICE, Payout, UNSETTLED, before=before, after=after, limit=limit
        )

    async def history(
        self, creator_id: UUID, limit: int, offset: int
    ) -> tuple[Sequence[Payout], int]:
        """A page of payouts, newest first, and their total number."""
        payouts = await self.database.fetch_all_as(
            SERVICE, Payout, HISTORY, creator_id=creator_id, limit=limit, offset=offset
        )
        total = await self.database.fetch_value_as(SERVICE, COUNT, creator_id=creator_id)
        return payouts, total

    async def balance(self, creator_id: UUID) -> Balance:
        return await self.database.fetch_one_as(SERVICE, Balance, BALANCE, creator_id=creator_id)


@frozen
class PayoutRows:
    """Writes in the given transaction."""

    tx: Transaction

    async def mark_sent(
        self, payout_id: UUID, transfer_id: str, *, account_id: str, cents: int, at: datetime
    ) -> Payout | None:
        return await self.tx.fetch_optional(
            Payout,
            MARK_SENT,
            payout_id=payout_id,
            transfer_id=transfer_id,
            account_id=account_id,
            cents=cents,
            at=at,
        )

    async def mark_reversed(
        self, payout_id: UUID, transfer_id: str, *, account_id: str, cents: int
    ) -> None:
        await self.tx.execute(
            MARK_REVERSED,
            payout_id=payout_id,
            transfer_id=transfer_id,
            account_id=account_id,
            cents=cents,
        )

    async def set_notes(self, transfer_id: str, notes: str) -> None:
        await self.tx.execute(SET_NOTES, transfer_id=transfer_id, notes=notes)

    async def mark_paid(
        self, account_id: str, stripe_payout_id: str, *, made_at: datetime, at: datetime
    ) -> int:
        return await self.tx.execute(
            MARK_PAID,
            account_id=account_id,
            stripe_payout_id=stripe_payout_id,
            made_at=made_at,
            at=at,
        )

    async def mark_unpaid(
        self, account_id: str, stripe_payout_id: str, *, made_at: datetime, notes: str
    ) -> Sequence[Payout]:
        """Marks the payouts that the bank did not pay; returns them."""
        return await self.tx.fetch_all(
            Payout,
            MARK_UNPAID,
            account_id=account_id,
            stripe_payout_id=stripe_payout_id,
            made_at=made_at,
            notes=notes,
        )


def _rejection(error: DatabaseError) -> Exception:
    """Translates P0001 and P0002 of `request_creator_payout` into the API's errors."""
    cause = error.__cause__
    reason = getattr(getattr(cause, "diag", None), "message_primary", None)
    if getattr(cause, "sqlstate", None) == "P0001":
        if reason == "below_minimum":
            return rejected_field("Minimum payout amount is $10", "amount")
        if reason == "key_reused":
            return KeyReused()
        if reason == "insufficient_balance":
            return rejected_field("Insufficient balance", "amount")
    if getattr(cause, "sqlstate", None) == "P0002":
        return NotFound("User not found", error="User not found")
    structlog.get_logger(__name__).error("payout was not reserved", reason=reason)
    return error
