"""Ends at Stripe what another subscription of the same user supersedes.

The rows are the queue: whatever is superseded and would be charged for again, until Stripe has been
told. So nothing is lost when the process dies between a purchase and the telling. What was paid for
stays until its period is over, as the fallback should the better one end; only what is overdue ends
at once, because its charges would be tried again. A second purchase of one tier within a day, as in
two tabs, is no fallback but a mistake: it ends at once, and its charge is taken back.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.features.billing.ledger.changes import SourceEvent
from cookcam.features.billing.stripe.handlers import carry_out
from cookcam.features.billing.stripe.sync import StripeSync
from cookcam.features.billing.tiers.models import Subscription

INTERVAL: Final = 60.0
SAME_PURCHASE: Final = timedelta(hours=24)
"""As long as the page of a checkout is open."""
BATCH: Final = 50

log = structlog.get_logger(__name__)


@define(eq=False)
class Bell:
    """Wakes the one who waits for it; rung before that, it is heard at once."""

    _rung: trio.Event = field(factory=trio.Event)

    def ring(self) -> None:
        self._rung.set()

    async def heard(self, at_most: float) -> None:
        """Returns when it rings, or after `at_most` seconds."""
        with trio.move_on_after(at_most):
            await self._rung.wait()
        self._rung = trio.Event()


@frozen
class Superseded:
    sync: StripeSync
    bell: Bell

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable while Stripe or the database is away."""
        while True:
            await self.end_all()
            await self.bell.heard(INTERVAL)

    async def end_all(self) -> int:
        """Ends at most `BATCH` of them; how many."""
        ended = 0
        for row in await self.sync.store.superseded(BATCH):
            try:
                await self._end(row)
                ended += 1
            except ServiceUnavailable:
                raise
            except AppError as error:
                log.error("superseded subscription goes on", subscription=row.id, exc_info=error)
        return ended

    async def _end(self, row: Subscription) -> None:
        counting = await self.sync.store.live(row.user_id)
        if counting is not None and is_second_purchase(row, counting):
            await self._reverse(row)
            return
        stripe, subscription_id = self.sync.stripe, row.provider_subscription_id or ""
        if row.told == "past_due":
            told = await stripe.cancel_subscription_now(subscription_id)
        else:
            told = await stripe.set_cancel_at_period_end(
                subscription_id,
                True,
                idempotency_key=f"superseded:{row.id}:{row.as_of.timestamp()}",
            )
        seen = self.sync.answered(told, row)
        await carry_out(
            self.sync.ledger.database, await self.sync.write_of(seen, SourceEvent("server"))
        )

    async def _reverse(self, row: Subscription) -> None:
        subscription_id, reversals = row.provider_subscription_id or "", self.sync.reversals
        if await reversals.exists("stripe", subscription_id):
            return  # the row follows with Stripe's event
        async with self.sync.ledger.database.transaction() as tx:
            await reversals.record(tx, "stripe", subscription_id, "second_purchase")
        self.sync.reversed()


def is_second_purchase(row: Subscription, counting: Subscription) -> bool:
    """Whether both are of one tier and were bought on Stripe's pages within a day."""
    return (
        row.provider == counting.provider == "stripe"
        and row.tier_id == counting.tier_id
        and abs(row.created_at - counting.created_at) < SAME_PURCHASE
    )
