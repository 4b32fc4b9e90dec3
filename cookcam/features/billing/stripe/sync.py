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
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange
from cookcam.features.billing.ledger.ledger import Applied, SubscriptionLedger
from cookcam.features.billing.ledger.refusals import UnknownSubscriber
from cookcam.features.billing.ledger.reversals import ReversalStore
from cookcam.features.billing.ledger.store import Standing
from cookcam.features.billing.stripe.handlers import AfterCommit, OutOfOrder, Write
from cookcam.features.billing.stripe.states import Seen, dated, order, sold_by
from cookcam.features.billing.tiers.catalogue import Catalogue, Contents
from cookcam.features.billing.tiers.models import Subscription
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription

Then: TypeAlias = Callable[[Transaction, Subscription], Awaitable[AfterCommit | None]]
"""What else is written once the row is as Stripe told it."""

log = structlog.get_logger(__name__)


@frozen
class StripeSync:
    """`superseded` is called when a subscription has to be ended at Stripe, `reversed` when a
    charge of it has to be taken back."""

    stripe: Stripe
    ledger: SubscriptionLedger
    store: SubscriptionStore
    catalogue: Catalogue
    commissions: Commissions
    reversals: ReversalStore
    superseded: Callable[[], None]
    reversed: Callable[[], None]
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
        telling = _Telling(seen, source, then or _nothing_else, user_id, contents)
        return partial(self._write, telling)

    async def _write(self, telling: _Telling, tx: Transaction) -> AfterCommit | None:
        standing = await self.ledger.standing(
            tx,
            telling.user_id,
            "stripe",
            telling.seen.subscription.id,
            source_event=telling.source,
        )
        change = telling.change(standing)
        if change is None:
            log.error("subscription of nobody", subscription=telling.seen.subscription.id)
            return None
        if standing.known is None:
            return await self._apply(telling, standing, change, tx)
        match order(telling.seen, change, standing.known):
            case "newer":
                return await self._apply(telling, standing, dated(change, standing.known), tx)
            case "older":
                return await telling.then(tx, standing.known)
            case "unclear":
                raise OutOfOrder(partial(self._read_again, telling, standing.known))

    async def _apply(
        self, telling: _Telling, standing: Standing, change: SubscriptionChange, tx: Transaction
    ) -> AfterCommit | None:
        try:
            applied = await self.ledger.apply_to(standing, tx, change, source_event=telling.source)
        except UnknownSubscriber:
            return await self._nobodys(telling.seen.subscription, tx)
        if applied.ended:
            await self.commissions.on_ended(tx, applied.ended)
        after = await telling.then(tx, applied.subscription)
        return partial(self._announce, applied, after)

    async def _nobodys(self, told: StripeSubscription, tx: Transaction) -> AfterCommit:
        """A subscription of a user who does not exist (any more) is ended and refunded. The end of
        one that was cancelled with its account is no charge."""
        if told.is_over:
            log.info("subscription of a deleted account", subscription=told.id)
            await self.reversals.reopen(tx, "stripe", told.id)
        else:
            log.warning("Stripe charges a closed account", subscription=told.id)
            await self.reversals.record(tx, "stripe", told.id, "closed_account")
        return self.reversed

    async def _read_again(self, telling: _Telling, known: Subscription) -> Write:
        seen = telling.seen
        again = await self.read(seen.subscription.id, known, seen.user_id)
        return await self.write_of(
            evolve(again, refunded=seen.refunded), telling.source, telling.then
        )

    def _announce(self, applied: Applied, after: AfterCommit | None) -> None:
        self.ledger.announce(applied)
        if applied.superseded:
            self.superseded()
        if after is not None:
            after()


@frozen
class _Telling:
    """What is to be written: what was seen, why, whose it should be, and what goes with it."""

    seen: Seen
    source: SourceEvent
    then: Then
    user_id: UUID | None
    contents: Contents

    def change(self, standing: Standing) -> SubscriptionChange | None:
        """None for a subscription that cannot be tied to a user, or to a tier."""
        sold = sold_by(self.seen.subscription, self.contents, standing.known)
        if standing.user_id is None or sold is None:
            return None
        return self.seen.change(standing.user_id, sold)


async def _nothing_else(tx: Transaction, row: Subscription) -> None:
    """`Then`, for what ends with the row."""
