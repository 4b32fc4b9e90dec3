"""The creators' ledger: the only module that writes entries.

What a payment leaves to a creator is a function of what was told of it: the entry of the payment,
and the latest word on each of its refunds and disputes (`payment_returns`). `settle` books the
difference between that and what is booked. So it makes no difference in which order, how often and
how concurrently things are told. The counter side of each entry is posted by the database, in the
same transaction (migration `creator_journal`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.creators.money import part

# Whoever settles a payment is alone with it until the end of the transaction.
TURN: LiteralString = """
select pg_advisory_xact_lock(hashtextextended('cookcam.payment ' || %(payment_ref)s, 0))"""

EARN: LiteralString = """
insert into public.creator_ledger (
  creator_id, kind, amount_cents, currency, source_ref, conversion_id, tip_id, occurred_at,
  available_at
)
values (
  %(creator_id)s, %(kind)s, %(cents)s, %(currency)s, %(ref)s, %(conversion_id)s, %(tip_id)s,
  %(at)s, %(at)s::timestamptz + interval '7 days'
)
on conflict (source_ref) do nothing"""

# Of two words of one second the larger holds, unless the later one takes everything back.
RETURN: LiteralString = """
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

RETURNED: LiteralString = """
select max(paid_cents)::bigint as paid_cents, sum(back_cents)::bigint as back_cents,
  max(told_at) as told_at
from public.payment_returns where payment_ref = %(payment_ref)s having count(*) > 0"""

EARNED: LiteralString = """
select id, creator_id, amount_cents, currency, conversion_id, tip_id, available_at
from public.creator_ledger
where source_ref = %(ref)s and kind in ('commission', 'tip', 'collection')"""

CORRECTIONS: LiteralString = """
select coalesce(sum(amount_cents), 0)::bigint as cents, count(*)::integer as entries
from public.creator_ledger
where source_ref like %(prefix)s and kind in ('refund', 'adjustment')"""

CORRECT: LiteralString = """
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
    """What a payment brought a creator. `ref` is the `source_ref` of its entry, once for ever."""

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
class _Returned:
    paid_cents: int
    back_cents: int
    told_at: datetime


@frozen
class _Corrections:
    cents: int
    entries: int


@frozen
class Books:
    """Runs in the transaction it is given, which has to be the server's own."""

    tx: Transaction

    async def take_turn(self, payment_ref: str) -> None:
        """To be called before anything else about a payment is read or written."""
        await self.tx.fetch_value(TURN, payment_ref=payment_ref)

    async def earn(self, earning: Earning) -> bool:
        """Books a payment; False when it was booked before."""
        written = await self.tx.execute(
            EARN,
            creator_id=earning.creator_id,
            kind=earning.kind,
            cents=earning.cents,
            currency=earning.currency,
            ref=earning.ref,
            conversion_id=earning.conversion_id,
            tip_id=earning.tip_id,
            at=earning.at,
        )
        return written > 0

    async def note_return(
        self,
        payment_ref: str,
        ref: str,
        *,
        paid_cents: int,
        back_cents: int,
        currency: str,
        at: datetime,
    ) -> None:
        """Notes how much of a payment went back by `ref` up to now; older words change nothing."""
        await self.tx.execute(
            RETURN,
            payment_ref=payment_ref,
            ref=ref,
            paid_cents=paid_cents,
            back_cents=back_cents,
            currency=currency,
            at=at,
        )

    async def earned(self, source_ref: str) -> Entry | None:
        return await self.tx.fetch_optional(Entry, EARNED, ref=source_ref)

    async def settle(self, payment_ref: str, source_ref: str) -> int | None:
        """Books what is missing so that the creator keeps the share of what did not go back.

        Returns how many cents that is; None for a payment of which nothing is booked, and nothing
        is to correct. A refund lowers what may be paid out at once; a refund taken back is held as
        long as the earning is.
        """
        entry = await self.earned(source_ref)
        if entry is None:
            return None
        back = await self.tx.fetch_optional(_Returned, RETURNED, payment_ref=payment_ref)
        if back is None:
            return entry.amount_cents
        kept = max(0, back.paid_cents - back.back_cents)
        due = part(entry.amount_cents, kept, back.paid_cents)
        prefix = f"refund:{source_ref}:"
        known = await self.tx.fetch_one(
            _Corrections, CORRECTIONS, prefix=prefix.translate(_LIKE) + "%"
        )
        missing = due - entry.amount_cents - known.cents
        if missing:
            await self.tx.execute(
                CORRECT,
                creator_id=entry.creator_id,
                kind="refund" if missing < 0 else "adjustment",
                cents=missing,
                currency=entry.currency,
                ref=f"{prefix}{known.entries + 1}",
                conversion_id=entry.conversion_id,
                tip_id=entry.tip_id,
                at=back.told_at,
                available_at=entry.available_at,
            )
        return due
