"""The app stores as sources: they have no list, so each subscription is looked at by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.errors import ServiceError
from cookcam.features.billing.app_stores.models import Environment, Purchase
from cookcam.features.billing.app_stores.states import of_apple, of_google
from cookcam.features.billing.errors import PurchaseRejected
from cookcam.features.billing.reconciliation.sources import Gone, Listing, Told, UnknownCursor
from cookcam.features.billing.tiers.models import Provider, Subscription, product_of
from cookcam.integrations.app_store import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.store_calls import UNKNOWN, StoreRejected


@frozen
class WithoutList:
    """What a source answers that has no list and knows nobody's subscriptions by the user."""

    lists: bool = False

    async def page(self, after: str | None) -> Listing:
        """Raises UnknownCursor: no place is there."""
        raise UnknownCursor

    async def of_user(self, user_id: UUID) -> Sequence[Told]:
        return ()


@frozen(kw_only=True)
class AppStoreSource(WithoutList):
    """`app_store` needs the key of the App Store Server API. Test purchases are looked for where
    they entitle, and gone where they do not."""

    app_store: AppStore
    allow_sandbox: bool

    provider: Provider = "ios"

    async def look(self, known: Subscription) -> Told | Gone:
        found = await self._look_in("production", known)
        if isinstance(found, Gone) and self.allow_sandbox:
            return await self._look_in("sandbox", known)
        return found

    async def _look_in(self, environment: Environment, known: Subscription) -> Told | Gone:
        transaction_id = known.provider_subscription_id or ""
        try:
            told = await self.app_store.subscription(transaction_id, environment)
        except StoreRejected as refused:
            return _gone(refused)
        return _told(lambda: of_apple(told), known.created_at)


@frozen(kw_only=True)
class GooglePlaySource(WithoutList):
    """Test purchases are gone where they do not entitle."""

    google_play: GooglePlay
    allow_sandbox: bool

    provider: Provider = "android"

    async def look(self, known: Subscription) -> Told | Gone:
        token = known.provider_subscription_id or ""
        try:
            told = await self.google_play.subscription(token, _is_sold)
        except StoreRejected as refused:
            return _gone(refused)
        if told.test and not self.allow_sandbox:
            return Gone()
        return _told(lambda: of_google(told, known=known), known.created_at)


def _gone(refused: StoreRejected) -> Gone:
    """Raises ServiceError unless the store has the subscription not, beyond doubt."""
    if refused.reason != UNKNOWN:
        raise ServiceError from refused
    return Gone()


def _is_sold(product_id: str) -> bool:
    return product_of("android", product_id) is not None


def _told(read: Callable[[], Purchase], begun_at: datetime) -> Told:
    """Raises ServiceError for a product that is not ours: whoever asks showed us nothing wrong."""
    try:
        purchase = read()
    except PurchaseRejected as rejected:
        raise ServiceError from rejected
    return Told(
        provider=purchase.product.platform,
        provider_subscription_id=purchase.subscription_id,
        status=purchase.status or "incomplete",
        current_period_start=purchase.period_start,
        current_period_end=purchase.period_end,
        as_of=purchase.as_of,
        begun_at=begun_at,
        tier_id=purchase.product.tier_id,
        cancel_at_period_end=purchase.will_end,
        canceled_at=purchase.canceled_at,
        product_id=purchase.product.id,
        grace_until=purchase.grace_until,
    )
