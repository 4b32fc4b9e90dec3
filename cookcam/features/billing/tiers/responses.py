"""Responses of the subscription routes. Amounts are in dollars; the app reads the root fields."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.billing.tiers.models import (
    CREATOR,
    PRODUCTS,
    Entitlement,
    Interval,
    Platform,
    Provider,
    ShownStatus,
    Status,
    Subscription,
    Tier,
    TierSlug,
    Usage,
)
from cookcam.http.responses import response_from


def dollars(cents: int) -> float:
    return cents / 100


class TierRow(Struct, kw_only=True):
    id: int
    name: str
    slug: TierSlug
    price_monthly: float
    price_yearly: float
    features: list[str]
    limits: dict[str, int]
    is_active: bool
    revenue_share_percentage: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, tier: Tier) -> TierRow:
        return response_from(
            cls,
            tier,
            price_monthly=dollars(tier.price_monthly_cents),
            price_yearly=dollars(tier.price_yearly_cents),
        )


class TierListResponse(Struct):
    success: bool
    tiers: list[TierRow]

    @classmethod
    def of(cls, tiers: Iterable[Tier]) -> TierListResponse:
        return cls(True, [TierRow.of(tier) for tier in tiers])


class SubscriptionRow(Struct, kw_only=True):
    """A subscription in its user's view."""

    id: UUID
    user_id: UUID
    tier_id: int
    status: Status
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    canceled_at: datetime | None
    provider: Provider
    provider_subscription_id: str | None
    provider_customer_id: str | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, row: Subscription) -> SubscriptionRow:
        return response_from(cls, row)


class SubscriptionStatusResponse(Struct, kw_only=True, rename={"is_creator": "isCreator"}):
    """A user's subscription status. Under 2,000 bytes, because the app stores it in its
    keychain."""

    success: bool
    subscription: SubscriptionRow | None
    tier: TierRow
    features: list[str]
    is_creator: bool
    id: UUID | None
    tier_slug: TierSlug
    status: ShownStatus
    trial_ends_at: datetime | None
    current_period_start: datetime | None
    current_period_end: datetime | None
    cancel_at_period_end: bool
    revenue_share_enabled: bool

    @classmethod
    def of(cls, entitlement: Entitlement) -> SubscriptionStatusResponse:
        tier, row = entitlement.tier, entitlement.subscription
        trial = row is not None and row.status == "trialing"
        return cls(
            success=True,
            subscription=SubscriptionRow.of(row) if row else None,
            tier=TierRow.of(tier),
            features=entitlement.features,
            is_creator=tier.id == CREATOR,
            id=row.id if row else None,
            tier_slug=tier.slug,
            status=entitlement.status,
            trial_ends_at=row.current_period_end if row and trial else None,
            current_period_start=row.current_period_start if row else None,
            current_period_end=row.current_period_end if row else None,
            cancel_at_period_end=row is not None and row.cancel_at_period_end,
            revenue_share_enabled=tier.revenue_share_percentage > 0,
        )


class CheckoutResponse(Struct, rename={"checkout_url": "checkoutUrl"}):
    success: bool
    checkout_url: str


class PortalResponse(Struct, rename={"portal_url": "portalUrl"}):
    success: bool
    portal_url: str


class TierChangeResponse(Struct):
    success: bool
    subscription: SubscriptionRow
    message: str

    @classmethod
    def of(cls, row: Subscription) -> TierChangeResponse:
        return cls(True, SubscriptionRow.of(row), "Subscription tier updated successfully")


class CancelResponse(Struct, rename={"managed_by": "managedBy"}):
    """`managedBy` is the app store in which the user has to cancel as well."""

    success: bool
    message: str
    managed_by: Provider | UnsetType = UNSET

    @classmethod
    def of(cls, at_once: bool, managed_by: Provider | None) -> CancelResponse:
        message = (
            "Subscription cancelled immediately"
            if at_once
            else "Subscription will be cancelled at the end of the billing period"
        )
        return cls(True, message, managed_by or UNSET)


class FeatureUsage(Struct):
    """`count` and `used` have the same value: the app reads both, in different places."""

    count: int
    used: int
    limit: int
    reset_at: datetime | None


class FeatureResponse(Struct, rename={"has_access": "hasAccess"}):
    success: bool
    has_access: bool
    usage: FeatureUsage | UnsetType = UNSET

    @classmethod
    def of(cls, has_access: bool, usage: Usage | None) -> FeatureResponse:
        if usage is None or usage.limit is None:
            return cls(True, has_access)
        counted = FeatureUsage(usage.used, usage.used, usage.limit, usage.resets_at)
        return cls(True, has_access, counted)


class ProductRow(Struct, rename={"product_id": "productId"}):
    id: str
    product_id: str
    platform: Platform
    tier_id: int
    tier_slug: TierSlug
    period: Interval
    price: float
    currency: str


class ProductListResponse(Struct):
    success: bool
    products: list[ProductRow]

    @classmethod
    def of(cls, tiers: Mapping[int, Tier]) -> ProductListResponse:
        """The products on sale, of active tiers."""
        return cls(
            True,
            [
                ProductRow(
                    item.id,
                    item.id,
                    item.platform,
                    item.tier_id,
                    tier.slug,
                    item.interval,
                    dollars(
                        tier.price_monthly_cents
                        if item.interval == "month"
                        else tier.price_yearly_cents
                    ),
                    tier.currency,
                )
                for item in PRODUCTS
                if not item.legacy and (tier := tiers.get(item.tier_id)) is not None
            ],
        )
