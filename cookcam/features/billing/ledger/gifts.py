"""Granted days of Regular: the reward of a mystery box.

All granted days of a user are one subscription of provider `manual` that does not renew. Further
days extend it; after its end they begin now. A paid subscription takes precedence
(`changes.elect`), and no days are granted to a user who has one, because they would pass unused.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.ledger.ledger import Applied, SubscriptionLedger
from cookcam.features.billing.stripe.sync import TICK
from cookcam.features.billing.tiers.models import REGULAR, entitles


@frozen
class Gifts:
    """Grants days of Regular. Call both methods in one transaction that has locked the user."""

    ledger: SubscriptionLedger

    async def may_grant(self, tx: Transaction, user_id: UUID) -> bool:
        """False while the user has another subscription that its provider still renews, even if its
        period is over."""
        rows = await self.ledger.store.live_rows_in(tx, user_id)
        return all(row.provider_subscription_id == gift_id(user_id) for row in rows)

    async def grant(self, tx: Transaction, user_id: UUID, days: int, *, ref: str) -> Applied:
        """`ref` identifies the reason of the grant. Call `announce` after the commit."""
        now = self.ledger.now()
        existing = await self.ledger.store.find_in(tx, "manual", gift_id(user_id))
        start, end, as_of = now, now, now
        if existing is not None:
            as_of = max(now, existing.as_of + TICK)
            if entitles(existing.provider_status, existing.current_period_end, now):
                start, end = existing.current_period_start, existing.current_period_end
        change = SubscriptionChange(
            user_id=user_id,
            provider="manual",
            provider_subscription_id=gift_id(user_id),
            tier_id=REGULAR,
            status="active",
            current_period_start=start,
            current_period_end=end + timedelta(days=days),
            as_of=as_of,
            cancel_at_period_end=True,
        )
        return await self.ledger.apply_in(tx, change, source_event=SourceEvent("server", ref))

    def announce(self, applied: Applied) -> None:
        self.ledger.announce(applied)


def gift_id(user_id: UUID) -> str:
    return f"gift:{user_id}"
