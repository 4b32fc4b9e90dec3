"""Ends subscriptions at Stripe that another subscription of the same user supersedes.

The rows are the queue: superseded subscriptions that Stripe would renew. So none is lost when the
process is killed between a purchase and the request to Stripe. A superseded subscription ends with
its period, as the fallback should the better one end; an overdue one ends immediately, because
Stripe would retry its charges. A second purchase of one tier within a day, as in two tabs, is a
mistake: it ends immediately, and its charge is refunded.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from attrs import frozen

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.features.billing.ledger.changes import SourceEvent
from cookcam.features.billing.stripe.sync import StripeSync
from cookcam.features.billing.tiers.models import Subscription
from cookcam.lifecycle.background import Bell

INTERVAL: Final = 60.0
SAME_PURCHASE: Final = timedelta(hours=24)
"""The lifetime of a checkout page."""
BATCH: Final = 50

log = structlog.get_logger(__name__)


@frozen
class Superseded:
    sync: StripeSync
    bell: Bell

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable while Stripe or the database is
        unavailable."""
        while True:
            await self.end_all()
            await self.bell.wait(INTERVAL)

    async def end_all(self) -> int:
        """Ends at most `BATCH` subscriptions; returns their number."""
        ended = 0
        for row in await self.sync.store.superseded(BATCH):
            try:
                await self._end(row)
                ended += 1
            except ServiceUnavailable:
                raise
            except AppError as error:
                log.error(
                    "superseded subscription could not be ended",
                    subscription=row.id,
                    exc_info=error,
                )
        return ended

    async def _end(self, row: Subscription) -> None:
        live = await self.sync.store.live(row.user_id)
        if live is not None and is_second_purchase(row, live):
            await self._reverse(row)
            return
        stripe, subscription_id = self.sync.stripe, row.provider_subscription_id or ""
        if row.provider_status == "past_due":
            changed = await stripe.cancel_subscription_now(subscription_id)
        else:
            changed = await stripe.set_cancel_at_period_end(
                subscription_id,
                True,
                idempotency_key=f"superseded:{row.id}:{row.as_of.timestamp()}",
            )
        snapshot = await self.sync.from_response(changed, row)
        await self.sync.store_snapshot(snapshot, SourceEvent("server"))

    async def _reverse(self, row: Subscription) -> None:
        subscription_id, reversals = row.provider_subscription_id or "", self.sync.reversals
        if await reversals.exists("stripe", subscription_id):
            return  # the row follows with Stripe's event
        async with self.sync.ledger.database.transaction() as tx:
            await reversals.record(tx, "stripe", subscription_id, "second_purchase")
        self.sync.reversed()


def is_second_purchase(row: Subscription, live: Subscription) -> bool:
    """Whether both have the same tier and were bought on Stripe's pages within a day."""
    return (
        row.provider == live.provider == "stripe"
        and row.tier_id == live.tier_id
        and abs(row.created_at - live.created_at) < SAME_PURCHASE
    )
