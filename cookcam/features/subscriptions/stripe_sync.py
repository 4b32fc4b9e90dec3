"""Brings what Stripe tells of a subscription into the ledger, so that the newest holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import TypeAlias
from uuid import UUID

import structlog
from attrs import evolve, frozen

from cookcam.database import Transaction
from cookcam.features.subscriptions.catalogue import Catalogue
from cookcam.features.subscriptions.changes import SourceEvent
from cookcam.features.subscriptions.commissions import Commissions
from cookcam.features.subscriptions.ledger import Applied, SubscriptionLedger
from cookcam.features.subscriptions.ledger_store import LedgerStore
from cookcam.features.subscriptions.models import Subscription
from cookcam.features.subscriptions.refusals import UnknownSubscriber
from cookcam.features.subscriptions.store import SubscriptionStore
from cookcam.features.subscriptions.stripe_handlers import AfterCommit, OutOfOrder, Write
from cookcam.features.subscriptions.stripe_states import Seen, dated, order, tier_of
from cookcam.providers.stripe import Stripe
from cookcam.providers.stripe_models import Subscription as StripeSubscription

Then: TypeAlias = Callable[[Transaction, Subscription], Awaitable[AfterCommit | None]]
"""What else is written once the row is as Stripe told it."""

log = structlog.get_logger(__name__)


@frozen
class StripeSync:
    """`superseded` is called when a subscription has to be ended at Stripe."""

    stripe: Stripe
    ledger: SubscriptionLedger
    store: SubscriptionStore
    catalogue: Catalogue
    commissions: Commissions
    superseded: Callable[[], None]
    now: Callable[[], datetime]

    async def find(self, subscription_id: str) -> Subscription | None:
        return await self.store.find("stripe", subscription_id)

    async def read(
        self, subscription_id: str, known: Subscription | None, user_id: UUID | None = None
    ) -> Seen:
        """The subscription as it is at Stripe now; `known` is what was known of it before."""
        asked_at = self.now()
        told = await self.stripe.retrieve_subscription(subscription_id)
        return Seen.just_read(told, known, asked_at, user_id=user_id)

    def answered(
        self, told: StripeSubscription, known: Subscription, *, refunded: bool = False
    ) -> Seen:
        """Stripe's answer to a change that was asked for when `known` was known."""
        seen = Seen.just_read(told, known, self.now(), user_id=known.user_id)
        return evolve(seen, refunded=refunded)

    async def write_of(self, seen: Seen, source: SourceEvent, then: Then | None = None) -> Write:
        """Writes what was seen, unless something newer is known; and `then` what goes with it.

        A subscription that cannot be tied to a user, or to a tier, is logged and changes nothing.
        """
        user_id = seen.owner() or await self.store.owner_of(seen.subscription.customer_id)
        contents = await self.catalogue.contents()

        async def write(tx: Transaction) -> AfterCommit | None:
            row = await self._locked(tx, seen, user_id)
            owner = row.user_id if row is not None else user_id
            tier_id = tier_of(seen.subscription, contents, row)
            if owner is None or tier_id is None:
                log.error("subscription of nobody", subscription=seen.subscription.id)
                return None
            change = seen.change(owner, tier_id)
            if row is not None:
                match order(seen, change, row):
                    case "newer":
                        change = dated(change, row)
                    case "older":
                        return await _after(then, tx, row)
                    case "unclear":
                        raise OutOfOrder(self._rereading(seen, row, source, then))
            try:
                applied = await self.ledger.apply_in(tx, change, source_event=source)
            except UnknownSubscriber:
                # As a rule the end of one that was cancelled because its account was deleted.
                log.info("subscription of a deleted account", subscription=seen.subscription.id)
                return None
            if applied.ended:
                await self.commissions.on_ended(tx, applied.ended)
            after = await _after(then, tx, applied.subscription)
            return partial(self._announce, applied, after)

        return write

    def _rereading(
        self, seen: Seen, row: Subscription, source: SourceEvent, then: Then | None
    ) -> Callable[[], Awaitable[Write]]:
        async def read() -> Write:
            again = await self.read(row.provider_subscription_id or "", row, seen.user_id)
            return await self.write_of(evolve(again, refunded=seen.refunded), source, then)

        return read

    async def _locked(
        self, tx: Transaction, seen: Seen, user_id: UUID | None
    ) -> Subscription | None:
        """The row, once nobody else changes those of its user."""
        store, subscription_id = LedgerStore(tx), seen.subscription.id
        if user_id is not None:
            await store.lock(user_id)
        row = await self.store.find_in(tx, "stripe", subscription_id)
        if row is None or row.user_id == user_id:
            return row
        await store.lock(row.user_id)
        return await self.store.find_in(tx, "stripe", subscription_id)

    def _announce(self, applied: Applied, after: AfterCommit | None) -> None:
        self.ledger.announce(applied)
        if applied.superseded:
            self.superseded()
        if after is not None:
            after()


async def _after(then: Then | None, tx: Transaction, row: Subscription) -> AfterCommit | None:
    return None if then is None else await then(tx, row)
