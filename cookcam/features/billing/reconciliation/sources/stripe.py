"""Stripe's subscriptions: listed 100 at a time, or fetched one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from attrs import evolve, frozen

from cookcam.features.billing.reconciliation.sources.models import (
    InvalidCursor,
    ProviderSubscription,
    SubscriptionPage,
    UnknownSubscription,
)
from cookcam.features.billing.stripe.sync import STATUSES, find_tier_item
from cookcam.features.billing.tiers.models import Provider, Subscription
from cookcam.features.billing.tiers.service import Catalogue, Contents
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.integrations.retry import RetryPolicy
from cookcam.integrations.stripe import NoSuchObject, Stripe
from cookcam.integrations.stripe.billing import Subscription as StripeSubscription
from cookcam.integrations.stripe.reading import MalformedObject, uuid_of

BACKGROUND_RETRIES: Final = RetryPolicy(deadline=25.0, attempts=3, initial_delay=1.0)


@frozen
class StripeSource:
    """In a run, open it with `Stripe.with_policy(BACKGROUND_RETRIES)`: no user is waiting."""

    stripe: Stripe
    catalogue: Catalogue
    store: SubscriptionStore
    now: Callable[[], datetime]

    provider: Provider = "stripe"
    can_list: bool = True

    async def list_page(self, after: str | None) -> SubscriptionPage:
        requested_at = self.now()
        try:
            page = await self.stripe.list_subscriptions(starting_after=after)
        except NoSuchObject:
            raise InvalidCursor from None
        items = await self._convert_all(page.items, requested_at)
        return SubscriptionPage(items, page.next_after, page.unreadable)

    async def fetch(self, stored: Subscription) -> ProviderSubscription | UnknownSubscription:
        requested_at = self.now()
        try:
            item = await self.stripe.retrieve_subscription(stored.provider_subscription_id or "")
        except NoSuchObject:
            return UnknownSubscription()
        return _convert(item, await self.catalogue.contents(), stored, requested_at)

    async def list_of_user(self, user_id: UUID) -> Sequence[ProviderSubscription]:
        customer_id = await self.store.customer_of(user_id)
        if customer_id is None:
            return ()
        requested_at = self.now()
        try:
            page = await self.stripe.list_subscriptions(customer_id=customer_id)
        except NoSuchObject:
            return ()
        if page.unreadable:
            raise MalformedObject
        items = await self._convert_all(page.items, requested_at)
        return [evolve(item, user_id=item.user_id or user_id) for item in items]

    async def _convert_all(
        self, items: Sequence[StripeSubscription], requested_at: datetime
    ) -> list[ProviderSubscription]:
        contents = await self.catalogue.contents()
        return [
            _convert(item, contents, await self._find_stored(item), requested_at) for item in items
        ]

    async def _find_stored(self, item: StripeSubscription) -> Subscription | None:
        """The row of a subscription of several items: its product tells which of them is ours."""
        return await self.store.find("stripe", item.id) if len(item.items) > 1 else None


def _convert(
    item: StripeSubscription,
    contents: Contents,
    stored: Subscription | None,
    requested_at: datetime,
) -> ProviderSubscription:
    sold = find_tier_item(item, contents, stored)
    # A subscription without an item of ours has the period of its first item, and no tier.
    sold_item = sold.item if sold is not None else item.items[0]
    return ProviderSubscription(
        provider="stripe",
        provider_subscription_id=item.id,
        status=STATUSES.get(item.status, "cancelled"),
        current_period_start=sold_item.current_period_start,
        current_period_end=sold_item.current_period_end,
        as_of=item.as_of or requested_at,
        created_at=item.created,
        user_id=uuid_of(item.metadata.get("user_id")),
        tier_id=sold.tier_id if sold is not None else None,
        cancel_at_period_end=item.ends_with(sold_item),
        canceled_at=item.canceled_at,
        provider_customer_id=item.customer_id,
        product_id=sold_item.price.product_id,
    )
