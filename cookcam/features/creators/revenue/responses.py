"""Response bodies of the revenue and analytics routes; amounts in dollars.

The app reads the fields at the root, other clients those in `revenue`, `breakdown` and `analytics`.
Every object of the analytics is present; figures without data are 0.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from cookcam.features.creators.links.responses import AffiliateLinkRow
from cookcam.features.creators.models import (
    COLLECTIONS_PERCENT,
    REFERRALS_PERCENT,
    TIPS_PERCENT,
    Analytics,
    Month,
    MonthPayoutStatus,
    RecipeFigures,
    Referral,
    Tip,
    TipStatus,
)
from cookcam.features.creators.money import dollars
from cookcam.features.creators.revenue.service import Earnings
from cookcam.http.responses import response_from


class MonthlyRevenue(Struct, kw_only=True):
    """A month, computed from the ledger: `id` is derived from creator and month, `created_at` is
    the start of the month, and `updated_at` the time of its newest entry.
    """

    id: UUID
    creator_id: UUID
    month: int
    year: int
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    total_earnings: float
    active_referrals: int
    new_referrals: int
    lost_referrals: int
    payout_status: MonthPayoutStatus
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, creator_id: UUID, month: Month) -> MonthlyRevenue:
        begins = datetime(month.year, month.month, 1, tzinfo=UTC)
        return response_from(
            cls,
            month,
            id=uuid5(NAMESPACE_URL, f"cookcam:revenue:{creator_id}:{begins:%Y-%m}"),
            creator_id=creator_id,
            created_at=begins,
            updated_at=month.changed_at or begins,
            affiliate_earnings=dollars(month.affiliate_cents),
            tips_earnings=dollars(month.tips_cents),
            collections_earnings=dollars(month.collections_cents),
            total_earnings=dollars(month.total_cents),
        )


class RevenueRates(Struct):
    """In percent."""

    referrals_rate: int = REFERRALS_PERCENT
    tips_rate: int = TIPS_PERCENT
    collections_rate: int = COLLECTIONS_PERCENT


class RevenueResponse(Struct, kw_only=True):
    """`total_earnings` covers all time; `monthly_earnings` and the other earnings the month."""

    success: bool
    revenue: MonthlyRevenue
    total_earnings: float
    monthly_earnings: float
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    unpaid_balance: float
    active_referrals: int
    revenue_breakdown: RevenueRates

    @classmethod
    def of(cls, creator_id: UUID, earnings: Earnings) -> RevenueResponse:
        month, balance = earnings.month, earnings.balance
        return cls(
            success=True,
            revenue=MonthlyRevenue.of(creator_id, month),
            total_earnings=dollars(balance.total_cents),
            monthly_earnings=dollars(month.total_cents),
            affiliate_earnings=dollars(month.affiliate_cents),
            tips_earnings=dollars(month.tips_cents),
            collections_earnings=dollars(month.collections_cents),
            unpaid_balance=dollars(balance.available_cents),
            active_referrals=month.active_referrals,
            revenue_breakdown=RevenueRates(),
        )


class RatedRevenue(Struct):
    amount: float
    count: int
    rate: float


class AveragedRevenue(Struct):
    amount: float
    count: int
    average: float


class RevenueSources(Struct):
    subscription_referrals: RatedRevenue
    recipe_tips: AveragedRevenue
    premium_collections: RatedRevenue


class RevenueBreakdown(Struct, kw_only=True):
    month: int
    year: int
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    total_earnings: float
    active_referrals: int
    revenue_sources: RevenueSources


class RevenueBreakdownResponse(Struct):
    success: bool
    breakdown: RevenueBreakdown

    @classmethod
    def of(cls, month: Month) -> RevenueBreakdownResponse:
        affiliate, tips = dollars(month.affiliate_cents), dollars(month.tips_cents)
        collections = dollars(month.collections_cents)
        average = round(tips / month.tips, 2) if month.tips else 0.0
        return cls(
            True,
            RevenueBreakdown(
                month=month.month,
                year=month.year,
                affiliate_earnings=affiliate,
                tips_earnings=tips,
                collections_earnings=collections,
                total_earnings=dollars(month.total_cents),
                active_referrals=month.active_referrals,
                revenue_sources=RevenueSources(
                    RatedRevenue(affiliate, month.active_referrals, REFERRALS_PERCENT / 100),
                    AveragedRevenue(tips, month.tips, average),
                    RatedRevenue(collections, month.collections, COLLECTIONS_PERCENT / 100),
                ),
            ),
        )


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
        return response_from(
            cls,
            row,
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
        return response_from(
            cls,
            tip,
            tipper_id=None if tip.is_anonymous else tip.tipper_id,
            amount=dollars(tip.amount_cents),
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
