"""Days of Regular that are given, not paid for: the reward of a mystery box.

All that a user was given is one subscription of provider `manual` that does not renew. More days go
to its end while it lasts, and begin now when it is over. A subscription that is paid for counts
before it (`changes.elect`), and nothing is given beside one: there it would pass unused.
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
    """Both are called in one transaction of the server, which holds the user's row."""

    ledger: SubscriptionLedger

    async def are_of_use(self, tx: Transaction, user_id: UUID) -> bool:
        """False while any other subscription goes on, though its period may be over: its provider
        still renews it."""
        rows = await self.ledger.store.live_rows_in(tx, user_id)
        return all(row.provider_subscription_id == gift_id(user_id) for row in rows)

    async def give(self, tx: Transaction, user_id: UUID, days: int, *, ref: str) -> Applied:
        """`ref` names what they are given for. `announce` once that is committed."""
        now = self.ledger.now()
        known = await self.ledger.store.find_in(tx, "manual", gift_id(user_id))
        start, end, as_of = now, now, now
        if known is not None:
            as_of = max(now, known.as_of + TICK)
            if entitles(known.provider_status, known.current_period_end, now):
                start, end = known.current_period_start, known.current_period_end
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
