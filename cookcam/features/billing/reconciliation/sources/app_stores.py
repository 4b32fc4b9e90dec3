"""Subscriptions of the App Store and Google Play, which have no list: fetched one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.errors import ServiceError
from cookcam.features.billing.app_stores.models import Environment, Purchase
from cookcam.features.billing.app_stores.states import of_apple, of_google
from cookcam.features.billing.errors import PurchaseRejected
from cookcam.features.billing.reconciliation.sources.models import (
    InvalidCursor,
    ProviderSubscription,
    SubscriptionPage,
    UnknownSubscription,
)
from cookcam.features.billing.tiers.models import Provider, Subscription, product_of
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.provider_calls import UNKNOWN, StoreRejected


@frozen
class SourceWithoutList:
    """The methods of a source whose provider has no list."""

    can_list: bool = False

    async def list_page(self, after: str | None) -> SubscriptionPage:
        raise InvalidCursor

    async def list_of_user(self, user_id: UUID) -> Sequence[ProviderSubscription]:
        return ()


@frozen(kw_only=True)
class AppStoreSource(SourceWithoutList):
    """`app_store` needs the key of the App Store Server API.

    Without `allow_sandbox` test purchases count as unknown.
    """

    app_store: AppStore
    allow_sandbox: bool

    provider: Provider = "ios"

    async def fetch(self, stored: Subscription) -> ProviderSubscription | UnknownSubscription:
        subscription = await self._fetch_from("production", stored)
        if isinstance(subscription, UnknownSubscription) and self.allow_sandbox:
            return await self._fetch_from("sandbox", stored)
        return subscription

    async def _fetch_from(
        self, environment: Environment, stored: Subscription
    ) -> ProviderSubscription | UnknownSubscription:
        transaction_id = stored.provider_subscription_id or ""
        try:
            subscription = await self.app_store.subscription(transaction_id, environment)
        except StoreRejected as rejection:
            return _unknown(rejection)
        return _convert(lambda: of_apple(subscription), stored.created_at)


@frozen(kw_only=True)
class GooglePlaySource(SourceWithoutList):
    """Without `allow_sandbox` test purchases count as unknown."""

    google_play: GooglePlay
    allow_sandbox: bool

    provider: Provider = "android"

    async def fetch(self, stored: Subscription) -> ProviderSubscription | UnknownSubscription:
        token = stored.provider_subscription_id or ""
        try:
            subscription = await self.google_play.subscription(token, _is_sold)
        except StoreRejected as rejection:
            return _unknown(rejection)
        if subscription.test and not self.allow_sandbox:
            return UnknownSubscription()
        return _convert(lambda: of_google(subscription, existing=stored), stored.created_at)


def _unknown(rejection: StoreRejected) -> UnknownSubscription:
    """Raises ServiceError unless the store definitely does not have the subscription."""
    if rejection.reason != UNKNOWN:
        raise ServiceError from rejection
    return UnknownSubscription()


def _is_sold(product_id: str) -> bool:
    return product_of("android", product_id) is not None


def _convert(parse: Callable[[], Purchase], created_at: datetime) -> ProviderSubscription:
    """Raises ServiceError for a product that we do not sell: the caller sent no purchase."""
    try:
        purchase = parse()
    except PurchaseRejected as rejection:
        raise ServiceError from rejection
    return ProviderSubscription(
        provider=purchase.product.platform,
        provider_subscription_id=purchase.subscription_id,
        status=purchase.status or "incomplete",
        current_period_start=purchase.period_start,
        current_period_end=purchase.period_end,
        as_of=purchase.as_of,
        created_at=created_at,
        tier_id=purchase.product.tier_id,
        cancel_at_period_end=purchase.will_end,
        canceled_at=purchase.canceled_at,
        product_id=purchase.product.id,
        grace_until=purchase.grace_until,
    )
