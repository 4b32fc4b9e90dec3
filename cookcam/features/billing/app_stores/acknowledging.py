"""Google is told of every purchase that we took: otherwise it refunds it after three days.

At once where that works; a background task does the rest, with longer and longer pauses, until
Google has refunded it anyway. That we owe it is written with the purchase itself.
"""

from __future__ import annotations

import random

import structlog
import trio
from attrs import frozen

from cookcam.errors import AppError
from cookcam.features.billing.app_stores.models import Purchase
from cookcam.features.billing.app_stores.store import PurchaseStore
from cookcam.features.billing.tiers.models import LIVE
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.provider_calls import StoreRejected

TIMEOUT = 5.0
"""Seconds a client waits for it. Once the purchase is committed it has what it came for."""

INTERVAL = 30.0
BATCH = 20

log = structlog.get_logger(__name__)


@frozen
class Acknowledging:
    store: PurchaseStore
    google_play: GooglePlay

    async def now(self, purchase: Purchase) -> None:
        """After the commit. Raises nothing: what fails here is tried again."""
        if purchase.acknowledged or purchase.status not in LIVE:
            return
        with trio.move_on_after(TIMEOUT):
            await self._acknowledge(
                purchase.store_key, purchase.product.id, purchase.subscription_id
            )

    async def sweep(self) -> int:
        """What is due; how many there were. Raises ServiceUnavailable without a database."""
        due = await self.store.unacknowledged(BATCH)
        for one in due:
            await self._acknowledge(one.store_key, one.product_id, one.token)
        return len(due)

    async def run(self) -> None:
        """Background task."""
        while True:
            if await self.sweep() < BATCH:
                await trio.sleep(INTERVAL * random.uniform(0.5, 1.0))  # noqa: S311 - jitter

    async def _acknowledge(self, store_key: str, product_id: str, token: str) -> None:
        try:
            await self.google_play.acknowledge(product_id, token)
            await self.store.acknowledged(store_key)
        except StoreRejected as error:
            # Over, or acknowledged by somebody else: Google will say so the next time as well.
            log.warning("Google takes no acknowledgement", reason=error.reason)
            await self._give_up(store_key)
        except AppError as error:
            log.warning("a purchase is still to be acknowledged", code=error.code)

    async def _give_up(self, store_key: str) -> None:
        try:
            await self.store.acknowledged(store_key)
        except AppError as error:
            log.warning("a purchase is still to be acknowledged", code=error.code)
