"""The SQL of tips, under the server's role."""

from __future__ import annotations

from datetime import datetime
from typing import LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import Database, Transaction
from cookcam.features.creators.ledger import CreatorLedger, Earning
from cookcam.features.creators.models import Tip

COLUMNS: LiteralString = """
  t.id, t.recipe_id, t.creator_id, t.tipper_id, t.amount_cents, t.currency, t.message,
  t.is_anonymous, t.stripe_payment_intent_id, t.status, t.processed_at, t.created_at"""

ADD = f"""
insert into public.creator_tips as t (
  recipe_id, creator_id, tipper_id, amount_cents, message, is_anonymous
)
values (
  %(recipe_id)s, %(creator_id)s, %(tipper_id)s, %(cents)s, %(message)s, %(is_anonymous)s
)
returning {COLUMNS}"""  # noqa: S608 - constants

SET_PAYMENT: LiteralString = """
update public.creator_tips set stripe_payment_intent_id = %(payment_id)s
where id = %(tip_id)s and stripe_payment_intent_id is null"""

FAIL: LiteralString = """
update public.creator_tips set status = 'failed', processed_at = now()
where id = %(tip_id)s and status = 'pending'"""

LOCK = f"""
select {COLUMNS} from public.creator_tips t
where t.id = %(tip_id)s for no key update"""  # noqa: S608 - constants

OF_PAYMENT = f"""
select {COLUMNS} from public.creator_tips t
where t.stripe_payment_intent_id = %(payment_id)s for no key update"""  # noqa: S608 - constants

COMPLETE: LiteralString = """
update public.creator_tips set status = 'completed', processed_at = %(at)s,
  stripe_payment_intent_id = %(payment_id)s
where id = %(tip_id)s and status in ('pending', 'failed')"""

SET_STATUS: LiteralString = """
update public.creator_tips set status = %(status)s
where id = %(tip_id)s and status in ('completed', 'refunded') and status <> %(status)s"""


@frozen
class TipStore:
    database: Database = field(repr=False)

    async def add(
        self,
        *,
        recipe_id: UUID,
        creator_id: UUID,
        tipper_id: UUID,
        cents: int,
        message: str | None,
        is_anonymous: bool,
    ) -> Tip:
        async with self.database.transaction() as tx:
            return await tx.fetch_one(
                Tip,
                ADD,
                recipe_id=recipe_id,
                creator_id=creator_id,
                tipper_id=tipper_id,
                cents=cents,
                message=message,
                is_anonymous=is_anonymous,
            )

    async def set_payment(self, tip_id: UUID, payment_id: str) -> None:
        """Stores the Stripe payment of the tip."""
        async with self.database.transaction() as tx:
            await tx.execute(SET_PAYMENT, tip_id=tip_id, payment_id=payment_id)

    async def fail(self, tip_id: UUID) -> None:
        async with self.database.transaction() as tx:
            await TipRows(tx).fail(tip_id)


@frozen
class TipRows:
    """Reads and writes in the given transaction."""

    tx: Transaction

    async def lock(self, tip_id: UUID) -> Tip | None:
        return await self.tx.fetch_optional(Tip, LOCK, tip_id=tip_id)

    async def fail(self, tip_id: UUID) -> None:
        await self.tx.execute(FAIL, tip_id=tip_id)

    async def complete(self, tip: Tip, payment_id: str, cents: int, at: datetime) -> None:
        """Completes a paid tip and books it for the creator, less amounts already returned."""
        await self.tx.execute(COMPLETE, tip_id=tip.id, payment_id=payment_id, at=at)
        await CreatorLedger(self.tx).record_earning(
            Earning(tip.creator_id, "tip", cents, tip.currency, f"tip:{tip.id}", at, tip_id=tip.id)
        )
        await self.settle(payment_id)

    async def settle(self, payment_id: str) -> None:
        """Corrects the booked amount of a tip by the returned amounts of its payment."""
        tip = await self.tx.fetch_optional(Tip, OF_PAYMENT, payment_id=payment_id)
        if tip is None:
            return
        share = await CreatorLedger(self.tx).settle(payment_id, f"tip:{tip.id}")
        if share is not None:
            status = "completed" if share else "refunded"
            await self.tx.execute(SET_STATUS, tip_id=tip.id, status=status)
