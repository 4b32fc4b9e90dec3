"""Applies the state of Stripe's subscriptions to the ledger, so that the newest state is stored.

Events carry whole states, and the second in which they were created. They may arrive in any order,
and within about a second their order is unknown. So the state of an event is applied

- if it equals the stored one, or is newer by more than a second,
- if nothing can follow it (`canceled`, `incomplete_expired`), or the stored one is `incomplete`,
  to which no subscription returns.

It is outdated if the stored one is newer by more than a second, or if it is `incomplete` itself.
Otherwise the order is `unknown` and Stripe is read. A read is newer than the row that was stored
when it began. Of the events of one second, the last one to be processed either equals the row or
causes a read. So the row finally has Stripe's state, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

import structlog
from attrs import evolve, field, frozen

from cookcam.database import Transaction
from cookcam.errors import TransactionConflict
from cookcam.features.billing.commissions import Commissions
from cookcam.features.billing.errors import UnknownSubscriber
from cookcam.features.billing.ledger.changes import SourceEvent, SubscriptionChange, public_part
from cookcam.features.billing.ledger.ledger import Applied, SubscriptionLedger
from cookcam.features.billing.ledger.reversals import ReversalStore
from cookcam.features.billing.tiers.models import FREE, Status, Subscription, Tier
from cookcam.features.billing.tiers.service import Catalogue, Contents
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.billing import Price, SubscriptionItem
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription
from cookcam.integrations.stripe.reading import uuid_of

STATUSES: Final[Mapping[str, Status]] = {
    "active": "active",
    "trialing": "trialing",
    "past_due": "past_due",
    "canceled": "cancelled",
    "unpaid": "cancelled",
    "incomplete": "incomplete",
    "incomplete_expired": "expired",
}
"""Stripe's status → the stored status; any other is `cancelled`."""

FINAL: Final = frozenset({"canceled", "incomplete_expired"})
TICK: Final = timedelta(microseconds=1)
UNKNOWN_ORDER: Final = timedelta(seconds=1)
MAX_READS: Final = 4
"""Maximum reads of one subscription, if the stored row changes during each."""

PRODUCT: Final = "cookcam_tier_"

Order = Literal["newer", "older", "unknown"]

log = structlog.get_logger(__name__)


@frozen
class TierItem:
    """The item of a Stripe subscription that is a tier."""

    item: SubscriptionItem
    tier_id: int


@frozen
class SubscriptionSnapshot:
    """The state of a Stripe subscription at one moment.

    `as_of` is the time of the event, or of the read if `is_read`. `user_id` is the owner unless the
    stored row has another; `contents` has the tiers with which its items are compared.
    """

    subscription: StripeSubscription
    as_of: datetime
    is_read: bool
    user_id: UUID | None
    contents: Contents = field(repr=False)
    refunded: bool = False

    def change(
        self, current: Subscription | None, user_id: UUID | None
    ) -> SubscriptionChange | None:
        """None for a subscription without a user or a tier."""
        subscription = self.subscription
        tier_item = find_tier_item(subscription, self.contents, current)
        if user_id is None or tier_item is None:
            return None
        item = tier_item.item
        return SubscriptionChange(
            user_id=user_id,
            provider="stripe",
            provider_subscription_id=subscription.id,
            tier_id=tier_item.tier_id,
            status=STATUSES.get(subscription.status, "cancelled"),
            current_period_start=item.current_period_start,
            current_period_end=item.current_period_end,
            as_of=self.as_of,
            cancel_at_period_end=subscription.ends_with(item),
            canceled_at=subscription.canceled_at,
            provider_customer_id=subscription.customer_id,
            product_id=item.price.product_id,
            refunded=self.refunded,
        )


@frozen
class SyncResult:
    """The result of applying a snapshot. `subscription` is the row afterwards, or None.

    `is_unknown_order`: nothing was written, and Stripe must be read. `applied` is the change of the
    ledger; `has_reversal` means that a charge must be refunded.
    """

    subscription: Subscription | None = None
    is_unknown_order: bool = False
    applied: Applied | None = None
    has_reversal: bool = False


@frozen
class StripeSync:
    """`superseded` is called when a subscription must be cancelled at Stripe, `reversed` when a
    charge must be refunded."""

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

    # Snapshots

    async def from_event(
        self, subscription: StripeSubscription, created: datetime
    ) -> SubscriptionSnapshot:
        return await self._snapshot(subscription, created, is_read=False)

    async def read(
        self, subscription_id: str, current: Subscription | None, user_id: UUID | None = None
    ) -> SubscriptionSnapshot:
        """Reads the subscription from Stripe. `current` is the row before the read; `user_id`
        the user if neither the subscription nor a row names one."""
        requested_at = self.now()
        subscription = await self.stripe.retrieve_subscription(subscription_id)
        as_of = _as_of_reading(subscription, requested_at, current)
        return await self._snapshot(subscription, as_of, user_id=user_id)

    async def read_again(self, snapshot: SubscriptionSnapshot) -> SubscriptionSnapshot:
        """The subscription's current state, for a snapshot whose order was unknown."""
        subscription_id = snapshot.subscription.id
        latest = await self.read(
            subscription_id, await self.find(subscription_id), snapshot.user_id
        )
        return evolve(latest, refunded=snapshot.refunded)

    async def from_response(
        self, subscription: StripeSubscription, row: Subscription, *, refunded: bool = False
    ) -> SubscriptionSnapshot:
        """Stripe's response to a change of `row`'s subscription."""
        as_of = _as_of_reading(subscription, self.now(), row)
        return await self._snapshot(subscription, as_of, user_id=row.user_id, refunded=refunded)

    async def from_list(
        self, subscription: StripeSubscription, requested_at: datetime, user_id: UUID
    ) -> SubscriptionSnapshot:
        """A subscription of a list that was requested at that time."""
        as_of = subscription.as_of or requested_at
        return await self._snapshot(subscription, as_of, user_id=user_id)

    async def _snapshot(
        self,
        subscription: StripeSubscription,
        as_of: datetime,
        *,
        is_read: bool = True,
        user_id: UUID | None = None,
        refunded: bool = False,
    ) -> SubscriptionSnapshot:
        owner = (
            uuid_of(subscription.metadata.get("user_id"))
            or user_id
            or await self.store.owner_of(subscription.customer_id)
        )
        contents = await self.catalogue.contents()
        return SubscriptionSnapshot(subscription, as_of, is_read, owner, contents, refunded)

    # Writing

    async def store_snapshot(self, snapshot: SubscriptionSnapshot, source: SourceEvent) -> None:
        """Applies a snapshot in a separate transaction. Raises TransactionConflict when the row
        changes during each of `MAX_READS` reads."""
        for _ in range(MAX_READS):
            async with self.ledger.database.transaction() as tx:
                result = await self.apply(tx, snapshot, source)
            if not result.is_unknown_order:
                self.after_commit(result)
                return
            snapshot = await self.read_again(snapshot)
        raise TransactionConflict()

    async def apply(
        self, tx: Transaction, snapshot: SubscriptionSnapshot, source: SourceEvent
    ) -> SyncResult:
        """Writes the snapshot, unless the stored row is newer. `after_commit` follows.

        A subscription without a user or a tier is logged and changes nothing.
        """
        subscription = snapshot.subscription
        state = await self.ledger.lock(
            tx, snapshot.user_id, "stripe", subscription.id, source_event=source
        )
        current = state.current
        change = snapshot.change(current, state.user_id)
        if change is None:
            log.error("subscription without a user", subscription=subscription.id)
            return SyncResult()
        if current is not None:
            match compare(snapshot, change, current):
                case "older":
                    return SyncResult(current)
                case "unknown":
                    return SyncResult(current, is_unknown_order=True)
                case "newer":
                    change = date_after(change, current)
        try:
            applied = await self.ledger.apply_to(state, tx, change, source_event=source)
        except UnknownSubscriber:
            return await self._reverse_charge(tx, subscription)
        if applied.ended:
            await self.commissions.on_ended(tx, applied.ended)
        return SyncResult(applied.subscription, applied=applied)

    def after_commit(self, result: SyncResult) -> None:
        """Notifies the user and wakes the background tasks."""
        if result.applied is not None:
            self.ledger.announce(result.applied)
            if result.applied.superseded:
                self.superseded()
        if result.has_reversal:
            self.reversed()

    async def _reverse_charge(
        self, tx: Transaction, subscription: StripeSubscription
    ) -> SyncResult:
        """Ends and refunds a subscription whose user does not exist (any more). The end of one that
        was cancelled with its account is not a charge."""
        if subscription.is_over:
            log.info("subscription of a deleted account", subscription=subscription.id)
            await self.reversals.reopen(tx, "stripe", subscription.id)
        else:
            log.warning("Stripe charges a closed account", subscription=subscription.id)
            await self.reversals.record(tx, "stripe", subscription.id, "closed_account")
        return SyncResult(has_reversal=True)


def compare(
    snapshot: SubscriptionSnapshot, change: SubscriptionChange, current: Subscription
) -> Order:
    """Whether the snapshot is newer than the stored row, by the rules of this module."""
    if snapshot.is_read:
        return "newer" if snapshot.as_of > current.as_of else "unknown"
    reported = evolve(current, status=current.provider_status, superseded_status=None)
    if public_part(change.onto(current)) == public_part(reported):
        return "newer" if snapshot.as_of > current.as_of else "older"
    if change.status == "incomplete":
        return "older"
    if snapshot.subscription.status in FINAL or current.provider_status == "incomplete":
        return "newer"
    if snapshot.as_of > current.as_of + UNKNOWN_ORDER:
        return "newer"
    return "older" if snapshot.as_of < current.as_of - UNKNOWN_ORDER else "unknown"


def date_after(change: SubscriptionChange, current: Subscription) -> SubscriptionChange:
    """The change with a time later than that of the stored row."""
    return evolve(change, as_of=max(change.as_of, current.as_of + TICK))


def _as_of_reading(
    subscription: StripeSubscription, requested_at: datetime, current: Subscription | None
) -> datetime:
    """The time of a read: later than the row that was stored when it began, even if the clocks
    differ."""
    as_of = subscription.as_of or requested_at
    return as_of if current is None else max(as_of, current.as_of + TICK)


def find_tier_item(
    subscription: StripeSubscription, contents: Contents, current: Subscription | None
) -> TierItem | None:
    """The item that is a tier; None if neither items, metadata nor row name a tier.

    An item is recognised by its product, or else by its price. Of several at the price of a tier,
    the one with the existing row's product is used, then the one of the tier in the metadata. If no
    item names a tier, the metadata does, which may be older than the price; then the existing row.
    """
    tiers = {tier.id: tier for tier in contents.tiers if tier.id != FREE}
    in_metadata = _number(subscription.metadata.get("tier_id", ""))
    in_metadata = in_metadata if in_metadata in tiers else None
    by_product = [
        TierItem(item, tier_id)
        for item in subscription.items
        if (tier_id := _tier_of_product(item.price.product_id)) in tiers
    ]
    by_price = [
        TierItem(item, tier.id)
        for item in subscription.items
        for tier in tiers.values()
        if has_price_of(tier, item.price)
    ]
    if by_product:
        return max(by_product, key=lambda candidate: candidate.tier_id)
    if by_price:
        return max(
            by_price,
            key=lambda candidate: (
                current is not None and candidate.item.price.product_id == current.product_id,
                candidate.tier_id == in_metadata,
                candidate.tier_id,
            ),
        )
    tier_id = in_metadata or (current.tier_id if current is not None else None)
    if tier_id is None:
        return None
    return TierItem(_likeliest_item(subscription.items, current), tier_id)


def _likeliest_item(
    items: Sequence[SubscriptionItem], current: Subscription | None
) -> SubscriptionItem:
    """The item of the existing row's product; else the first with an interval that is sold."""
    return min(
        items,
        key=lambda item: (
            current is None or item.price.product_id != current.product_id,
            item.price.interval is None,
        ),
    )


def has_price_of(tier: Tier, price: Price) -> bool:
    cents = {"month": tier.price_monthly_cents, "year": tier.price_yearly_cents}
    return (
        price.interval is not None
        and cents[price.interval] == price.amount_cents
        and tier.currency.lower() == price.currency
    )


def _tier_of_product(product_id: str) -> int | None:
    return _number(product_id.removeprefix(PRODUCT)) if product_id.startswith(PRODUCT) else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else None
