"""Response bodies of the revenue routes; amounts in dollars.

The app reads the fields at the root, other clients those in `revenue` and `breakdown`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from cookcam.features.creators.models import (
    COLLECTIONS_PERCENT,
    REFERRALS_PERCENT,
    TIPS_PERCENT,
    Month,
    MonthPayoutStatus,
)
from cookcam.features.creators.money import dollars
from cookcam.features.creators.revenue.service import Earnings


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
        return cls(
            id=uuid5(NAMESPACE_URL, f"cookcam:revenue:{creator_id}:{begins:%Y-%m}"),
            creator_id=creator_id,
            month=month.month,
            year=month.year,
            affiliate_earnings=dollars(month.affiliate_cents),
            tips_earnings=dollars(month.tips_cents),
            collections_earnings=dollars(month.collections_cents),
            total_earnings=dollars(month.total_cents),
            active_referrals=month.active_referrals,
            new_referrals=month.new_referrals,
            lost_referrals=month.lost_referrals,
            payout_status=month.payout_status,
            created_at=begins,
            updated_at=month.changed_at or begins,
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
