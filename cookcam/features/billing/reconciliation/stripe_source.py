"""Stripe as a source: a list of everything, 100 at a time, and single readings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from attrs import evolve, frozen

from cookcam.features.billing.reconciliation.sources import Gone, Listing, Told, UnknownCursor
from cookcam.features.billing.stripe.sync import STATUSES, find_tier_item, uuid_of
from cookcam.features.billing.tiers.models import Provider, Subscription
from cookcam.features.billing.tiers.service import Catalogue, Contents
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe import NoSuchObject, Stripe
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription
from cookcam.integrations.stripe.reading import MalformedObject

PATIENT: Final = RetryPolicy(deadline=25.0, attempts=3, initial_delay=1.0)
"""`spec/payments-and-gamification.md` §7.3."""


@frozen
class StripeSource:
    """`stripe` repeats as long as its policy says: give it `Stripe.with_policy(PATIENT)`."""

    stripe: Stripe
    catalogue: Catalogue
    store: SubscriptionStore
    now: Callable[[], datetime]

    provider: Provider = "stripe"
    lists: bool = True

    async def page(self, after: str | None) -> Listing:
        asked_at = self.now()
        try:
            page = await self.stripe.list_subscriptions(starting_after=after)
        except NoSuchObject:
            raise UnknownCursor from None
        contents = await self.catalogue.contents()
        told = [_told(item, contents, await self._known(item), asked_at) for item in page.items]
        return Listing(told, page.next_after, page.unreadable)

    async def look(self, known: Subscription) -> Told | Gone:
        asked_at = self.now()
        try:
            item = await self.stripe.retrieve_subscription(known.provider_subscription_id or "")
        except NoSuchObject:
            return Gone()
        return _told(item, await self.catalogue.contents(), known, asked_at)

    async def of_user(self, user_id: UUID) -> Sequence[Told]:
        customer_id = await self.store.customer_of(user_id)
        if customer_id is None:
            return ()
        asked_at, contents = self.now(), await self.catalogue.contents()
        try:
            page = await self.stripe.list_subscriptions(customer_id=customer_id)
        except NoSuchObject:
            return ()
        if page.unreadable:
            raise MalformedObject
        told = [_told(item, contents, await self._known(item), asked_at) for item in page.items]
        return [evolve(one, user_id=one.user_id or user_id) for one in told]

    async def _known(self, item: StripeSubscription) -> Subscription | None:
        """The row of a subscription of several items: its product helps to tell which is ours."""
        return await self.store.find("stripe", item.id) if len(item.items) > 1 else None


def _told(
    item: StripeSubscription, contents: Contents, known: Subscription | None, asked_at: datetime
) -> Told:
    sold = find_tier_item(item, contents, known)
    # What is not of ours has the first item's period: `Corrections` says that it has no tier.
    of = sold.item if sold is not None else item.items[0]
    return Told(
        provider="stripe",
        provider_subscription_id=item.id,
        status=STATUSES.get(item.status, "cancelled"),
        current_period_start=of.current_period_start,
        current_period_end=of.current_period_end,
        as_of=item.as_of or asked_at,
        begun_at=item.created,
        user_id=uuid_of(item.metadata.get("user_id")),
        tier_id=sold.tier_id if sold is not None else None,
        cancel_at_period_end=item.ends_with(of),
        canceled_at=item.canceled_at,
        provider_customer_id=item.customer_id,
        product_id=of.price.product_id,
    )
