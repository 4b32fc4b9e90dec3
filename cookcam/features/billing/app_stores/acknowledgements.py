"""Acknowledges purchases at Google, which otherwise refunds them after three days.

Immediately after the purchase where that works; a background task retries with growing delays until
Google has refunded the purchase. The pending acknowledgement is stored with the purchase.
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
"""Seconds a client waits for the acknowledgement of its committed purchase."""

INTERVAL = 30.0
BATCH = 20

log = structlog.get_logger(__name__)


@frozen
class Acknowledgements:
    store: PurchaseStore
    google_play: GooglePlay

    async def now(self, purchase: Purchase) -> None:
        """Acknowledges after the commit. Raises nothing: a failure is retried."""
        if purchase.acknowledged or purchase.status not in LIVE:
            return
        with trio.move_on_after(TIMEOUT):
            await self._acknowledge(
                purchase.store_key, purchase.product.id, purchase.subscription_id
            )

    async def sweep(self) -> int:
        """Acknowledges due purchases; returns their number. Raises ServiceUnavailable."""
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
            # The purchase is over or already acknowledged: a retry would be rejected too.
            log.warning("Google rejected an acknowledgement", reason=error.reason)
            await self._stop_retrying(store_key)
        except AppError as error:
            log.warning("purchase could not be acknowledged", code=error.code)

    async def _stop_retrying(self, store_key: str) -> None:
        try:
            await self.store.acknowledged(store_key)
        except AppError as error:
            log.warning("purchase could not be acknowledged", code=error.code)
