"""What a subscription of Stripe is here, and which of two states of it is the newer one.

Pure rules. Events tell whole states, and the second in which they were created: within a second or
so their order is unknown, and they arrive in any. So a state that an event tells is taken

- if it is the same as the known one, or newer by more than a second,
- if nothing can follow it (`canceled`, `incomplete_expired`), or the known one is `incomplete`,
  to which no subscription comes back.

It is old if the known one is newer by more than a second, or if it is the `incomplete` one itself.
In all other cases Stripe is asked (`unclear`). What was read holds against whatever was known
before the reading began. Of the events of one second the last that is worked on either agrees with
the row or causes a reading, so that the row ends as Stripe has it, in whatever order they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from attrs import evolve, frozen

from cookcam.features.billing.ledger.changes import SubscriptionChange, public_part
from cookcam.features.billing.tiers.catalogue import Contents
from cookcam.features.billing.tiers.models import FREE, Status, Subscription, Tier
from cookcam.integrations.stripe.billing import Price, SubscriptionItem
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription

STATUSES: Final[Mapping[str, Status]] = {
    "active": "active",
    "trialing": "trialing",
    "past_due": "past_due",
    "canceled": "cancelled",
    "unpaid": "cancelled",
    "incomplete": "incomplete",
    "incomplete_expired": "expired",
}
"""Stripe's words; any other is `cancelled` (`spec/payments-and-gamification.md` §5.5)."""

FINAL: Final = frozenset({"canceled", "incomplete_expired"})
TICK: Final = timedelta(microseconds=1)
UNKNOWN_ORDER: Final = timedelta(seconds=1)

PRODUCT: Final = "cookcam_tier_"

Order = Literal["newer", "older", "unclear"]


@frozen
class Sold:
    """The item of a subscription that is ours, and the tier it is paid for."""

    item: SubscriptionItem
    tier_id: int


@frozen
class Seen:
    """A subscription as Stripe told it. `as_of` is when an event that told it was created, or when
    it was read; `read` says which. `user_id` is whose it should be, where it does not say itself.
    """

    subscription: StripeSubscription
    as_of: datetime
    read: bool = False
    user_id: UUID | None = None
    refunded: bool = False

    @classmethod
    def just_read(
        cls,
        subscription: StripeSubscription,
        known: Subscription | None,
        fallback: datetime,
        *,
        user_id: UUID | None = None,
        refunded: bool = False,
    ) -> Seen:
        """A reading that began when `known` was known: it is newer, whatever the clocks say."""
        as_of = subscription.as_of or fallback
        if known is not None:
            as_of = max(as_of, known.as_of + TICK)
        return cls(subscription, as_of, True, user_id, refunded)

    def owner(self) -> UUID | None:
        """The user that the subscription names, or else the one who is expected."""
        return uuid_of(self.subscription.metadata.get("user_id")) or self.user_id

    def change(self, user_id: UUID, sold: Sold) -> SubscriptionChange:
        told, item = self.subscription, sold.item
        return SubscriptionChange(
            user_id=user_id,
            provider="stripe",
            provider_subscription_id=told.id,
            tier_id=sold.tier_id,
            status=STATUSES.get(told.status, "cancelled"),
            current_period_start=item.current_period_start,
            current_period_end=item.current_period_end,
            as_of=self.as_of,
            cancel_at_period_end=told.ends_with(item),
            canceled_at=told.canceled_at,
            provider_customer_id=told.customer_id,
            product_id=item.price.product_id,
            refunded=self.refunded,
        )


def order(seen: Seen, change: SubscriptionChange, known: Subscription) -> Order:
    """Whether what was seen is newer than what is known; see the module's description."""
    if seen.read:
        return "newer" if seen.as_of > known.as_of else "unclear"
    if public_part(change.onto(known)) == public_part(_as_told(known)):
        return "newer" if seen.as_of > known.as_of else "older"
    if change.status == "incomplete":
        return "older"
    if seen.subscription.status in FINAL or known.told == "incomplete":
        return "newer"
    if seen.as_of > known.as_of + UNKNOWN_ORDER:
        return "newer"
    return "older" if seen.as_of < known.as_of - UNKNOWN_ORDER else "unclear"


def dated(change: SubscriptionChange, known: Subscription) -> SubscriptionChange:
    """The change with a time that shows that it is newer than what is known."""
    return evolve(change, as_of=max(change.as_of, known.as_of + TICK))


def sold_by(
    told: StripeSubscription, contents: Contents, known: Subscription | None
) -> Sold | None:
    """The item that is ours, and its tier; None where nothing tells the tier.

    An item is ours by its product, or else by its price. Of several at the price of a tier it is
    that of the existing row's product, then of the tier that the metadata names. Where no item
    tells a tier the metadata does, which may lag behind the price; then the existing row.
    """
    tiers = {tier.id: tier for tier in contents.tiers if tier.id != FREE}
    noted = _number(told.metadata.get("tier_id", ""))
    noted = noted if noted in tiers else None
    of_product = [
        Sold(item, tier_id)
        for item in told.items
        if (tier_id := _tier_of_product(item.price.product_id)) in tiers
    ]
    of_price = [
        Sold(item, tier.id)
        for item in told.items
        for tier in tiers.values()
        if costs(tier, item.price)
    ]
    if of_product:
        return max(of_product, key=lambda sold: sold.tier_id)
    if of_price:
        return max(
            of_price,
            key=lambda sold: (
                known is not None and sold.item.price.product_id == known.product_id,
                sold.tier_id == noted,
                sold.tier_id,
            ),
        )
    tier_id = noted or (known.tier_id if known is not None else None)
    if tier_id is None:
        return None
    return Sold(_likeliest(told.items, known), tier_id)


def _likeliest(items: Sequence[SubscriptionItem], known: Subscription | None) -> SubscriptionItem:
    """The item of the existing row's product; else the first in a rhythm that we sell."""
    return min(
        items,
        key=lambda item: (
            known is None or item.price.product_id != known.product_id,
            item.price.interval is None,
        ),
    )


def costs(tier: Tier, price: Price) -> bool:
    cents = {"month": tier.price_monthly_cents, "year": tier.price_yearly_cents}
    return (
        price.interval is not None
        and cents[price.interval] == price.amount_cents
        and tier.currency.lower() == price.currency
    )


def _tier_of_product(product_id: str) -> int | None:
    return _number(product_id.removeprefix(PRODUCT)) if product_id.startswith(PRODUCT) else None


def uuid_of(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 5 else None


def _as_told(known: Subscription) -> Subscription:
    return evolve(known, status=known.told, superseded_status=None)
