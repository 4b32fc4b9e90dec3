"""What the creator routes answer with (`spec/payments-and-gamification.md` §6).

At the root, next to the envelopes, is what the app reads (`spec/client-contract.md` §5.5, §6.4,
§6.5): every object is there, with zeros where there is nothing. Money leaves in dollars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from cookcam.features.creators.models import (
    COLLECTIONS_PERCENT,
    REFERRALS_PERCENT,
    TIPS_PERCENT,
    AccountStatus,
    Analytics,
    Balance,
    Link,
    Month,
    PaidOut,
    Payout,
    PayoutStatus,
    RecipeFigures,
    Referral,
    StripeAccount,
    Tip,
    TipStatus,
)
from cookcam.features.creators.money import dollars
from cookcam.features.creators.revenue import Earnings
from cookcam.features.creators.tips import StartedTip

FullUrl = Callable[[Link], str]


def full_url(website: str) -> FullUrl:
    """The address to share: of the slug where a link has one, else of its code."""

    def url(link: Link) -> str:
        return f"{website}/c/{link.custom_slug}" if link.custom_slug else _by_code(link)

    def _by_code(link: Link) -> str:
        return f"{website}/ref/{link.link_code}"

    return url


# Links


class LinkAnswer(Struct, kw_only=True):
    id: UUID
    creator_id: UUID
    link_code: str
    custom_slug: str | None
    campaign_name: str
    is_active: bool
    click_count: int
    conversion_count: int
    created_at: datetime

    @classmethod
    def of(cls, link: Link) -> LinkAnswer:
        return cls(**_link(link))


class SharedLink(LinkAnswer, kw_only=True, rename={"camel_url": "fullUrl"}):
    """A link with its address, in both spellings."""

    camel_url: str
    full_url: str

    @classmethod
    def to_share(cls, link: Link, url: str) -> SharedLink:
        return cls(**_link(link), camel_url=url, full_url=url)


class NewLink(Struct, rename={"affiliate_link": "affiliateLink"}):
    success: bool
    affiliate_link: SharedLink
    full_url: str


class LinkList(Struct):
    success: bool
    links: list[SharedLink]


class Tracked(Struct):
    success: bool
    message: str


# Revenue


class RevenueAnswer(Struct, kw_only=True):
    """A month. It is no row: `id` is made of the creator and the month; it was created with the
    month, and updated with its newest entry.
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
    payout_status: PaidOut
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, creator_id: UUID, month: Month) -> RevenueAnswer:
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


class Rates(Struct):
    """In percent."""

    referrals_rate: int = REFERRALS_PERCENT
    tips_rate: int = TIPS_PERCENT
    collections_rate: int = COLLECTIONS_PERCENT


class RevenueReply(Struct, kw_only=True):
    """`total_earnings` is of a life, `monthly_earnings` and the kinds are of the month."""

    success: bool
    revenue: RevenueAnswer
    total_earnings: float
    monthly_earnings: float
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    unpaid_balance: float
    active_referrals: int
    revenue_breakdown: Rates

    @classmethod
    def of(cls, creator_id: UUID, earnings: Earnings) -> RevenueReply:
        month, balance = earnings.month, earnings.balance
        return cls(
            success=True,
            revenue=RevenueAnswer.of(creator_id, month),
            total_earnings=dollars(balance.total_cents),
            monthly_earnings=dollars(month.total_cents),
            affiliate_earnings=dollars(month.affiliate_cents),
            tips_earnings=dollars(month.tips_cents),
            collections_earnings=dollars(month.collections_cents),
            unpaid_balance=dollars(balance.available_cents),
            active_referrals=month.active_referrals,
            revenue_breakdown=Rates(),
        )


class Rated(Struct):
    amount: float
    count: int
    rate: float


class Averaged(Struct):
    amount: float
    count: int
    average: float


class Sources(Struct):
    subscription_referrals: Rated
    recipe_tips: Averaged
    premium_collections: Rated


class Breakdown(Struct, kw_only=True):
    month: int
    year: int
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    total_earnings: float
    active_referrals: int
    revenue_sources: Sources


class BreakdownReply(Struct):
    success: bool
    breakdown: Breakdown

    @classmethod
    def of(cls, month: Month) -> BreakdownReply:
        affiliate, tips = dollars(month.affiliate_cents), dollars(month.tips_cents)
        collections = dollars(month.collections_cents)
        average = round(tips / month.tips, 2) if month.tips else 0.0
        return cls(
            True,
            Breakdown(
                month=month.month,
                year=month.year,
                affiliate_earnings=affiliate,
                tips_earnings=tips,
                collections_earnings=collections,
                total_earnings=dollars(month.total_cents),
                active_referrals=month.active_referrals,
                revenue_sources=Sources(
                    Rated(affiliate, month.active_referrals, REFERRALS_PERCENT / 100),
                    Averaged(tips, month.tips, average),
                    Rated(collections, month.collections, COLLECTIONS_PERCENT / 100),
                ),
            ),
        )


# Analytics


class Subscriber(Struct):
    id: UUID
    email: str | None
    created_at: datetime | None


class SubscriptionPart(Struct):
    tier_id: int
    status: str | None
    current_period_end: datetime | None


class ReferralAnswer(Struct, kw_only=True):
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
    subscriber: Subscriber | None
    subscription: SubscriptionPart

    @classmethod
    def of(cls, row: Referral) -> ReferralAnswer:
        known = row.subscriber_id
        return cls(
            id=row.id,
            link_code=row.link_code,
            creator_id=row.creator_id,
            subscriber_id=known,
            subscription_id=row.subscription_id,
            tier_id=row.tier_id,
            is_active=row.is_active,
            converted_at=row.converted_at,
            deactivated_at=row.deactivated_at,
            subscriber=Subscriber(known, masked(row.email), row.subscriber_since)
            if known
            else None,
            subscription=SubscriptionPart(
                row.tier_id, row.subscription_status, row.current_period_end
            ),
        )


def masked(email: str | None) -> str | None:
    """`a***@example.com`: enough to recognise somebody one knows, too little to write to."""
    if email is None:
        return None
    name, at, domain = email.rpartition("@")
    return f"{name[0]}***@{domain}" if at and name else "***"


class Referrals(Struct):
    total: int
    active: int
    data: list[ReferralAnswer]


class RecipeAnswer(Struct):
    id: UUID
    title: str
    views_count: int
    saves_count: int
    completion_rate: float

    @classmethod
    def of(cls, row: RecipeFigures) -> RecipeAnswer:
        return cls(row.id, row.title, row.view_count, row.saves_count, row.completion_rate)


class TipAnswer(Struct, kw_only=True):
    """A tip as its creator sees it: who wants to be anonymous is."""

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
    def of(cls, tip: Tip) -> TipAnswer:
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


class Totals(Struct):
    total_earnings: float
    affiliate_earnings: float
    tips_earnings: float
    collections_earnings: float
    active_referrals: int


class StripeState(
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


class AnalyticsPart(
    Struct,
    kw_only=True,
    rename={
        "affiliate_links": "affiliateLinks",
        "recent_tips": "recentTips",
        "last_updated": "lastUpdated",
    },
):
    revenue: RevenueAnswer
    affiliate_links: list[LinkAnswer]
    referrals: Referrals
    recipes: list[RecipeAnswer]
    recent_tips: list[TipAnswer]
    last_updated: datetime


class AnalyticsReply(
    Struct,
    kw_only=True,
    rename={"recent_tips": "recentTips", "stripe_account": "stripeAccount"},
):
    success: bool
    analytics: AnalyticsPart
    revenue: Totals
    referrals: Referrals
    recipes: list[RecipeAnswer]
    recent_tips: list[TipAnswer]
    stripe_account: StripeState

    @classmethod
    def of(cls, creator_id: UUID, found: Analytics, now: datetime) -> AnalyticsReply:
        month, account = found.month, found.account
        referrals = Referrals(
            found.referrals_total,
            found.referrals_active,
            [ReferralAnswer.of(row) for row in found.referrals],
        )
        recipes = [RecipeAnswer.of(row) for row in found.recipes]
        tips = [TipAnswer.of(tip) for tip in found.tips]
        return cls(
            success=True,
            analytics=AnalyticsPart(
                revenue=RevenueAnswer.of(creator_id, month),
                affiliate_links=[LinkAnswer.of(link) for link in found.links],
                referrals=referrals,
                recipes=recipes,
                recent_tips=tips,
                last_updated=now,
            ),
            revenue=Totals(
                dollars(month.total_cents),
                dollars(month.affiliate_cents),
                dollars(month.tips_cents),
                dollars(month.collections_cents),
                month.active_referrals,
            ),
            referrals=referrals,
            recipes=recipes,
            recent_tips=tips,
            stripe_account=StripeState(
                account is not None and account.account_status != "disabled",
                account is not None and account.is_active,
                account.stripe_account_id if account else None,
            ),
        )


# Balance and payouts


class BalanceReply(Struct, kw_only=True):
    success: bool
    total_earnings: float
    available_balance: float
    pending_balance: float
    last_payout_date: datetime | None
    next_payout_date: datetime

    @classmethod
    def of(cls, balance: Balance, next_payday: datetime) -> BalanceReply:
        return cls(
            success=True,
            total_earnings=dollars(balance.total_cents),
            available_balance=dollars(balance.available_cents),
            pending_balance=dollars(balance.pending_cents),
            last_payout_date=balance.last_payout_at,
            next_payout_date=next_payday,
        )


class PayoutAnswer(Struct, kw_only=True):
    id: UUID
    creator_id: UUID | None
    stripe_account_id: str | None
    amount: float
    currency: str
    method: str
    status: PayoutStatus
    stripe_transfer_id: str | None
    stripe_payout_id: str | None
    notes: str | None
    requested_at: datetime
    processed_at: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, payout: Payout) -> PayoutAnswer:
        return cls(
            id=payout.id,
            creator_id=payout.creator_id,
            stripe_account_id=payout.stripe_account_id,
            amount=dollars(payout.amount_cents),
            currency=payout.currency,
            method=payout.method,
            status=payout.status,
            stripe_transfer_id=payout.stripe_transfer_id,
            stripe_payout_id=payout.stripe_payout_id,
            notes=payout.notes,
            requested_at=payout.requested_at,
            processed_at=payout.processed_at,
            created_at=payout.requested_at,
            updated_at=payout.updated_at,
        )


class PayoutReply(Struct):
    success: bool
    payout: PayoutAnswer
    message: str


class Pagination(Struct):
    limit: int
    offset: int
    total: int


class PayoutList(Struct):
    success: bool
    payouts: list[PayoutAnswer]
    pagination: Pagination

    @classmethod
    def of(cls, payouts: Sequence[Payout], pagination: Pagination) -> PayoutList:
        return cls(True, [PayoutAnswer.of(payout) for payout in payouts], pagination)


class TipReply(Struct, rename={"client_secret": "clientSecret", "tip_id": "tipId"}):
    success: bool
    message: str
    client_secret: str
    tip_id: UUID

    @classmethod
    def of(cls, started: StartedTip) -> TipReply:
        return cls(True, "Tip sent successfully", started.client_secret, started.tip.id)


# Stripe Connect


class Onboarded(Struct, rename={"account_id": "accountId", "onboarding_url": "onboardingUrl"}):
    success: bool
    account_id: str
    onboarding_url: str


class AccountAnswer(
    Struct,
    kw_only=True,
    rename={
        "details_submitted": "detailsSubmitted",
        "charges_enabled": "chargesEnabled",
        "payouts_enabled": "payoutsEnabled",
    },
):
    status: AccountStatus
    details_submitted: bool
    charges_enabled: bool
    payouts_enabled: bool
    country: str
    currency: str
    stripe_account_id: str


class NoAccount(
    Struct, rename={"has_account": "hasAccount", "needs_onboarding": "needsOnboarding"}
):
    success: bool
    has_account: bool
    needs_onboarding: bool


class AccountState(NoAccount):
    account: AccountAnswer

    @classmethod
    def of(cls, account: StripeAccount) -> AccountState:
        return cls(
            success=True,
            has_account=True,
            needs_onboarding=account.account_status == "pending",
            account=AccountAnswer(
                status=account.account_status,
                details_submitted=account.details_submitted,
                charges_enabled=account.charges_enabled,
                payouts_enabled=account.payouts_enabled,
                country=account.country,
                currency=account.currency,
                stripe_account_id=account.stripe_account_id,
            ),
        )


class Dashboard(Struct, rename={"dashboard_url": "dashboardUrl"}):
    success: bool
    dashboard_url: str


class AccountLinkReply(Struct):
    """`expires_at` is in milliseconds since 1970."""

    success: bool
    url: str
    expires_at: int


class Refreshed(Struct):
    success: bool
    message: str


def _link(link: Link) -> dict[str, Any]:
    return {
        "id": link.id,
        "creator_id": link.creator_id,
        "link_code": link.link_code,
        "custom_slug": link.custom_slug,
        "campaign_name": link.campaign_name,
        "is_active": link.is_active,
        "click_count": link.click_count,
        "conversion_count": link.conversions_count,
        "created_at": link.created_at,
    }
