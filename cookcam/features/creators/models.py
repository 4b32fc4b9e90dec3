"""Links, tips, accounts, payouts and earnings of creators. Money in cents, times in UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from attrs import frozen

AccountStatus = Literal["pending", "active", "restricted", "disabled"]
PayoutStatus = Literal["pending", "processing", "completed", "failed", "cancelled"]
TipStatus = Literal["pending", "completed", "failed", "refunded"]
MonthPayoutStatus = Literal["pending", "paid", "partially_paid"]

REFERRALS_PERCENT: Final = 30
TIPS_PERCENT: Final = 100
COLLECTIONS_PERCENT: Final = 70
"""The creator's share of the receipts by source, in percent; the same for all creators."""

CURRENCY: Final = "usd"


@frozen
class Link:
    """A row of `creator_affiliate_links`."""

    id: UUID
    creator_id: UUID
    link_code: str
    custom_slug: str | None
    campaign_name: str
    is_active: bool
    click_count: int
    conversions_count: int
    created_at: datetime


@frozen
class Visit:
    """A click on a link. `visitor` is a hash of the IP address, which is not stored."""

    source: str | None
    visitor: str
    user_agent: str | None
    referrer: str | None
    at: datetime


@frozen
class StripeAccount:
    """A row of `creator_stripe_accounts`: the account as last reported by Stripe."""

    creator_id: UUID
    stripe_account_id: str
    account_status: AccountStatus
    details_submitted: bool
    charges_enabled: bool
    payouts_enabled: bool
    country: str
    currency: str

    @property
    def is_active(self) -> bool:
        return self.account_status == "active"


@frozen
class Payout:
    """A row of `creator_payouts`.

    `processing` without `stripe_transfer_id`: the transfer was or will be requested, and its result
    is unknown. With it: the money is in the creator's Stripe account.
    """

    id: UUID
    creator_id: UUID | None
    stripe_account_id: str | None
    amount_cents: int
    currency: str
    method: str
    status: PayoutStatus
    stripe_transfer_id: str | None
    stripe_payout_id: str | None
    notes: str | None
    requested_at: datetime
    processed_at: datetime | None
    updated_at: datetime

    @property
    def is_unsettled(self) -> bool:
        return self.status in ("pending", "processing") and self.stripe_transfer_id is None


@frozen
class Balance:
    """A creator's earnings in total, the part payable now, and the part still held."""

    total_cents: int
    available_cents: int
    pending_cents: int
    last_payout_at: datetime | None


@frozen
class Month:
    """A creator's earnings in a month, from the ledger.

    `changed_at` is when its newest entry was written; None for a month without any.
    """

    year: int
    month: int
    affiliate_cents: int
    tips_cents: int
    collections_cents: int
    total_cents: int
    active_referrals: int
    new_referrals: int
    lost_referrals: int
    payout_status: MonthPayoutStatus
    tips: int
    collections: int
    changed_at: datetime | None


@frozen
class Referral:
    """A conversion, with the subscriber's data that the creator may see."""

    id: UUID
    link_id: UUID | None
    link_code: str | None
    creator_id: UUID
    subscriber_id: UUID | None
    subscription_id: UUID | None
    tier_id: int
    converted_at: datetime
    deactivated_at: datetime | None
    is_active: bool
    email: str | None
    subscriber_since: datetime | None
    subscription_status: str | None
    current_period_end: datetime | None


@frozen
class RecipeFigures:
    id: UUID
    title: str
    view_count: int
    saves_count: int
    completion_rate: float


@frozen
class Tip:
    """A row of `creator_tips`."""

    id: UUID
    recipe_id: UUID | None
    creator_id: UUID | None
    tipper_id: UUID | None
    amount_cents: int
    currency: str
    message: str | None
    is_anonymous: bool
    stripe_payment_intent_id: str | None
    status: TipStatus
    processed_at: datetime | None
    created_at: datetime


@frozen
class Analytics:
    month: Month
    links: Sequence[Link]
    referrals: Sequence[Referral]
    referrals_total: int
    referrals_active: int
    recipes: Sequence[RecipeFigures]
    tips: Sequence[Tip]
    account: StripeAccount | None
