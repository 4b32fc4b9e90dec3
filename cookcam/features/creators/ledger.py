"""The creators' ledger: the only module that writes entries.

A creator's share of a payment is a function of the payment's entry and the latest report of each of
its refunds and disputes (`payment_returns`). `settle` books the difference between that share and
the amount already booked, so the order, repetition and concurrency of reports do not matter. The
database posts the counter side of each entry in the same transaction (migration `creator_journal`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from attrs import asdict, frozen

from cookcam.database import Transaction
from cookcam.features.creators.money import prorate

# Serialises all work on a payment until the end of the transaction.
LOCK_PAYMENT: LiteralString = """
select pg_advisory_xact_lock(hashtextextended('cookcam.payment ' || %(payment_ref)s, 0))"""

INSERT_EARNING: LiteralString = """
insert into public.creator_ledger (
  creator_id, kind, amount_cents, currency, source_ref, conversion_id, tip_id, occurred_at,
  available_at
)
values (
  %(creator_id)s, %(kind)s, %(cents)s, %(currency)s, %(ref)s, %(conversion_id)s, %(tip_id)s,
  %(at)s, %(at)s::timestamptz + interval '7 days'
)
on conflict (source_ref) do nothing"""

# Of two reports with the same timestamp the larger amount is kept, unless the later report sets it
# to 0 (refund or dispute reverted).
UPSERT_RETURN: LiteralString = """
insert into public.payment_returns as r (
  payment_ref, ref, paid_cents, back_cents, currency, told_at
)
values (%(payment_ref)s, %(ref)s, %(paid_cents)s, %(back_cents)s, %(currency)s, %(at)s)
on conflict (payment_ref, ref) do update set
  back_cents = case
    when excluded.told_at = r.told_at and excluded.back_cents > 0
      then greatest(excluded.back_cents, r.back_cents)
    else excluded.back_cents
  end,
  paid_cents = excluded.paid_cents,
  told_at = excluded.told_at
where excluded.told_at >= r.told_at"""

RETURN_TOTALS: LiteralString = """
select max(paid_cents)::bigint as paid_cents, sum(back_cents)::bigint as back_cents,
  max(told_at) as reported_at
from public.payment_returns where payment_ref = %(payment_ref)s having count(*) > 0"""

FIND_ENTRY: LiteralString = """
select id, creator_id, amount_cents, currency, conversion_id, tip_id, available_at
from public.creator_ledger
where source_ref = %(ref)s and kind in ('commission', 'tip', 'collection')"""

CORRECTIONS: LiteralString = """
select coalesce(sum(amount_cents), 0)::bigint as cents, count(*)::integer as entries
from public.creator_ledger
where source_ref like %(prefix)s and kind in ('refund', 'adjustment')"""

INSERT_CORRECTION: LiteralString = """
insert into public.creator_ledger (
  creator_id, kind, amount_cents, currency, source_ref, conversion_id, tip_id, occurred_at,
  available_at
)
values (
  %(creator_id)s, %(kind)s, %(cents)s, %(currency)s, %(ref)s, %(conversion_id)s, %(tip_id)s,
  %(at)s, greatest(%(at)s::timestamptz, %(available_at)s)
)"""

_LIKE: Final = str.maketrans({"%": r"\%", "_": r"\_", "\\": r"\\"})


@frozen
class Earning:
    """A creator's earning from a payment. `ref` is the unique `source_ref` of its entry."""

    creator_id: UUID | None
    kind: str
    cents: int
    currency: str
    ref: str
    at: datetime
    conversion_id: UUID | None = None
    tip_id: UUID | None = None


@frozen
class Entry:
    """The entry of a payment."""

    id: int
    creator_id: UUID | None
    amount_cents: int
    currency: str
    conversion_id: UUID | None
    tip_id: UUID | None
    available_at: datetime


@frozen
class _ReturnTotals:
    paid_cents: int
    back_cents: int
    reported_at: datetime


@frozen
class _Corrections:
    cents: int
    entries: int


@frozen
class CreatorLedger:
    """Writes in the given transaction, which must run under the server's role."""

    tx: Transaction

    async def lock_payment(self, payment_ref: str) -> None:
        """Locks a payment. Call it before reading or writing other data of the payment."""
        await self.tx.fetch_value(LOCK_PAYMENT, payment_ref=payment_ref)

    async def record_earning(self, earning: Earning) -> bool:
        """Books an earning. Returns False when it was booked before."""
        return await self.tx.execute(INSERT_EARNING, **asdict(earning)) > 0

    async def record_return(
        self,
        payment_ref: str,
        ref: str,
        *,
        paid_cents: int,
        back_cents: int,
        currency: str,
        at: datetime,
    ) -> None:
        """Stores how much of a payment `ref` has returned in total. Ignores older reports."""
        await self.tx.execute(
            UPSERT_RETURN,
            payment_ref=payment_ref,
            ref=ref,
            paid_cents=paid_cents,
            back_cents=back_cents,
            currency=currency,
            at=at,
        )

    async def find_entry(self, source_ref: str) -> Entry | None:
        return await self.tx.fetch_optional(Entry, FIND_ENTRY, ref=source_ref)

    async def settle(self, payment_ref: str, source_ref: str) -> int | None:
        """Corrects the creator's share to the part of the payment that was not returned.

        Returns the share in cents; None when the payment has no entry. A refund lowers the payable
        balance at once. A reverted refund is held as long as the earning itself.
        """
        entry = await self.find_entry(source_ref)
        if entry is None:
            return None
        back = await self.tx.fetch_optional(_ReturnTotals, RETURN_TOTALS, payment_ref=payment_ref)
        if back is None:
            return entry.amount_cents
        remaining = max(0, back.paid_cents - back.back_cents)
        due = prorate(entry.amount_cents, remaining, back.paid_cents)
        prefix = f"refund:{source_ref}:"
        existing = await self.tx.fetch_one(
            _Corrections, CORRECTIONS, prefix=prefix.translate(_LIKE) + "%"
        )
        missing = due - entry.amount_cents - existing.cents
        if missing:
            await self.tx.execute(
                INSERT_CORRECTION,
                creator_id=entry.creator_id,
                kind="refund" if missing < 0 else "adjustment",
                cents=missing,
                currency=entry.currency,
                ref=f"{prefix}{existing.entries + 1}",
                conversion_id=entry.conversion_id,
                tip_id=entry.tip_id,
                at=back.reported_at,
                available_at=entry.available_at,
            )
        return due
