"""Response of the analytics route: earnings, referrals, recipes and tips of a creator.

The app reads the objects at the root, other clients those in `analytics`. Every object is present;
figures without data are 0.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.creators.links.responses import AffiliateLinkRow
from cookcam.features.creators.models import Analytics, RecipeFigures, Referral, Tip, TipStatus
from cookcam.features.creators.money import dollars
from cookcam.features.creators.revenue.responses import MonthlyRevenue


class ReferredSubscriber(Struct):
    id: UUID
    email: str | None
    created_at: datetime | None


class ReferredSubscription(Struct):
    tier_id: int
    status: str | None
    current_period_end: datetime | None


class ReferralSummary(Struct, kw_only=True):
    """`subscriber` is null once the account is deleted; the address is masked."""

    id: UUID
    link_code: str | None
    creator_id: UUID
    subscriber_id: UUID | None
    subscription_id: UUID | None
    tier_id: int
    is_active: bool
    converted_at: datetime
    deactivated_at: datetime | None
    subscriber: ReferredSubscriber | None
    subscription: ReferredSubscription

    @classmethod
    def of(cls, row: Referral) -> ReferralSummary:
        subscriber_id = row.subscriber_id
        return cls(
            id=row.id,
            link_code=row.link_code,
            creator_id=row.creator_id,
            subscriber_id=subscriber_id,
            subscription_id=row.subscription_id,
            tier_id=row.tier_id,
            is_active=row.is_active,
            converted_at=row.converted_at,
            deactivated_at=row.deactivated_at,
            subscriber=ReferredSubscriber(subscriber_id, masked(row.email), row.subscriber_since)
            if subscriber_id
            else None,
            subscription=ReferredSubscription(
                row.tier_id, row.subscription_status, row.current_period_end
            ),
        )


def masked(email: str | None) -> str | None:
    """Masks an address as `a***@example.com`."""
    if email is None:
        return None
    name, at, domain = email.rpartition("@")
    return f"{name[0]}***@{domain}" if at and name else "***"


class ReferralTotals(Struct):
    total: int
    active: int
    data: list[ReferralSummary]


class CreatorRecipeSummary(Struct):
    id: UUID
    title: str
    views_count: int
    saves_count: int
    completion_rate: float

    @classmethod
    def of(cls, row: RecipeFigures) -> CreatorRecipeSummary:
        return cls(row.id, row.title, row.view_count, row.saves_count, row.completion_rate)


class TipSummary(Struct, kw_only=True):
    """A tip in the creator's view; `tipper_id` is null when the tip is anonymous."""

    id: UUID
    recipe_id: UUID | None
    creator_id: UUID | None
    tipper_id: UUID | None
    amount: float
    currency: str
    message: str | None
    is_anonymous: bool
    status: TipStatus
    processed_at: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, tip: Tip) -> TipSummary:
        return cls(
            id=tip.id,
            recipe_id=tip.recipe_id,
            creator_id=tip.creator_id,
            tipper_id=None if tip.is_anonymous else tip.tipper_id,
            amount=dollars(tip.amount_cents),
            currency=tip.currency,
            message=tip.message,
            is_anonymous=tip.is_anonymous,
            status=tip.status,
            processed_at=tip.processed_at,
            created_at=tip.created_at,
        )


class CreatorEarnings(Struct):
    total_earnings: float
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    active_referrals: int


class StripeAccountState(
    Struct,
    rename={
        "is_connected": "isConnected",
        "can_receive_payouts": "canReceivePayouts",
        "account_id": "accountId",
    },
):
    is_connected: bool
    can_receive_payouts: bool
    account_id: str | None


class CreatorAnalytics(
    Struct,
    kw_only=True,
    rename={
        "affiliate_links": "affiliateLinks",
        "recent_tips": "recentTips",
        "last_updated": "lastUpdated",
    },
):
    revenue: MonthlyRevenue
    affiliate_links: list[AffiliateLinkRow]
    referrals: ReferralTotals
    recipes: list[CreatorRecipeSummary]
    recent_tips: list[TipSummary]
    last_updated: datetime


class CreatorAnalyticsResponse(
    Struct,
    kw_only=True,
    rename={"recent_tips": "recentTips", "stripe_account": "stripeAccount"},
):
    success: bool
    analytics: CreatorAnalytics
    revenue: CreatorEarnings
    referrals: ReferralTotals
    recipes: list[CreatorRecipeSummary]
    recent_tips: list[TipSummary]
    stripe_account: StripeAccountState

    @classmethod
    def of(cls, creator_id: UUID, analytics: Analytics, now: datetime) -> CreatorAnalyticsResponse:
        month, account = analytics.month, analytics.account
        referrals = ReferralTotals(
            analytics.referrals_total,
            analytics.referrals_active,
            [ReferralSummary.of(row) for row in analytics.referrals],
        )
        recipes = [CreatorRecipeSummary.of(row) for row in analytics.recipes]
        tips = [TipSummary.of(tip) for tip in analytics.tips]
        return cls(
            success=True,
            analytics=CreatorAnalytics(
                revenue=MonthlyRevenue.of(creator_id, month),
                affiliate_links=[AffiliateLinkRow.of(link) for link in analytics.links],
                referrals=referrals,
                recipes=recipes,
                recent_tips=tips,
                last_updated=now,
            ),
            revenue=CreatorEarnings(
                dollars(month.total_cents),
                dollars(month.affiliate_cents),
                dollars(month.tips_cents),
                dollars(month.collections_cents),
                month.active_referrals,
            ),
            referrals=referrals,
            recipes=recipes,
            recent_tips=tips,
            stripe_account=StripeAccountState(
                account is not None and account.account_status != "disabled",
                account is not None and account.is_active,
                account.stripe_account_id if account else None,
            ),
        )
