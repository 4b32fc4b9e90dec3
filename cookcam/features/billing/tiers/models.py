"""Tiers, subscriptions, and when a subscription entitles.

Money is in cents.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, Literal
from uuid import UUID

from attrs import frozen

TierSlug = Literal["free", "regular", "creator"]
Status = Literal["active", "trialing", "past_due", "cancelled", "expired", "incomplete"]
Provider = Literal["stripe", "ios", "android", "manual"]
ShownStatus = Literal["active", "trial", "expired"]
Platform = Literal["ios", "android"]
Interval = Literal["month", "year"]
Metric = Literal["daily_scans", "monthly_recipes", "saved_recipes"]

FREE: Final = 1
REGULAR: Final = 2
CREATOR: Final = 3

LIVE: Final[frozenset[Status]] = frozenset({"active", "trialing", "past_due"})
"""Statuses of a subscription that its provider continues."""

GRACE: Final = timedelta(days=7)
"""How long after its period a subscription entitles while its payment is overdue, if its provider
reports no grace period."""

UNLIMITED: Final = -1

RANKS: Final[Mapping[TierSlug, int]] = {"free": FREE, "regular": REGULAR, "creator": CREATOR}


SLUGS: Final[Mapping[int, TierSlug]] = {tier_id: slug for slug, tier_id in RANKS.items()}


def tier_slug(text: str) -> TierSlug | None:
    """The tier of that name; `premium` is an old name of `regular`."""
    slug = "regular" if text == "premium" else text
    return slug if slug in RANKS else None


@frozen
class Tier:
    """A row of `subscription_tiers`. A missing limit, or -1, means unlimited."""

    id: int
    slug: TierSlug
    name: str
    price_monthly_cents: int
    price_yearly_cents: int
    currency: str
    features: list[str]
    limits: dict[str, int]
    revenue_share_percentage: int
    is_active: bool
    created_at: datetime
    updated_at: datetime

    def limit(self, metric: Metric) -> int | None:
        """The limit, or None if unlimited."""
        limit = self.limits.get(metric, UNLIMITED)
        return None if limit == UNLIMITED else limit

    def includes(self, slug: TierSlug) -> bool:
        """Free < regular < creator."""
        return RANKS[self.slug] >= RANKS[slug]


@frozen
class Subscription:
    """A row of `user_subscriptions`.

    `status` decides entitlement. For a row that another one supersedes it is `cancelled`, and
    `superseded_status` is the provider's status. `as_of` is the provider's time of this state.
    `grace_until` is the end of the grace period for overdue payments, if the provider reports it.
    """

    id: UUID
    user_id: UUID
    tier_id: int
    status: Status
    superseded_status: Status | None
    current_period_start: datetime
    current_period_end: datetime
    cancel_at_period_end: bool
    canceled_at: datetime | None
    last_verified_at: datetime | None
    provider: Provider
    provider_subscription_id: str | None
    provider_customer_id: str | None
    product_id: str | None
    as_of: datetime
    created_at: datetime
    updated_at: datetime
    grace_until: datetime | None = None

    @property
    def provider_status(self) -> Status:
        """The status at the provider, whether or not another subscription supersedes it."""
        return self.superseded_status or self.status

    def is_of(self, provider: Provider, subscription_id: str | None) -> bool:
        """Whether it has this id at this provider."""
        return self.provider == provider and self.provider_subscription_id == subscription_id

    def entitles(self, at: datetime) -> bool:
        """The same rule as SQL's `user_tier_id`."""
        return entitles(self.status, self.current_period_end, at, self.grace_until)


def entitles(
    status: Status, period_end: datetime, at: datetime, grace_until: datetime | None = None
) -> bool:
    """While a paid or trial period lasts, and until `grace_until` while a payment is overdue, or
    for `GRACE` after the period."""
    if status in ("active", "trialing"):
        return period_end > at
    return status == "past_due" and (grace_until or period_end + GRACE) > at


@frozen
class Entitlement:
    """A user's current tier, its subscription (None: Free), and its features."""

    tier: Tier
    subscription: Subscription | None
    features: list[str]

    @property
    def status(self) -> ShownStatus:
        return shown_status(self.subscription.status if self.subscription else None)


def shown_status(entitling: Status | None) -> ShownStatus:
    """The status that clients see, given the status of the entitling subscription.

    Without one it is `expired`, also for Free, because the app unlocks features only for `active`.
    """
    if entitling is None:
        return "expired"
    return "trial" if entitling == "trialing" else "active"


@frozen
class Usage:
    """How much of a metric was used; `limit` None: unlimited, `resets_at` None: never."""

    metric: Metric
    used: int
    limit: int | None
    resets_at: datetime | None

    @property
    def exhausted(self) -> bool:
        return self.limit is not None and self.used >= self.limit


@frozen
class Product:
    """A product of an app store. `legacy` ones are no longer sold, but still entitle."""

    id: str
    platform: Platform
    tier_id: int
    interval: Interval
    legacy: bool = False


PRODUCTS: Final[tuple[Product, ...]] = (
    Product("com.cookcam.pro.monthly", "ios", REGULAR, "month"),
    Product("com.cookcam.pro.yearly", "ios", REGULAR, "year"),
    Product("com.cookcam.creator.monthly", "ios", CREATOR, "month"),
    Product("com.cookcam.creator.yearly", "ios", CREATOR, "year"),
    Product("com.cookcam.monthly", "ios", REGULAR, "month", legacy=True),
    Product("cookcam_pro_monthly", "android", REGULAR, "month"),
    Product("cookcam_pro_yearly", "android", REGULAR, "year"),
    Product("cookcam_creator_monthly", "android", CREATOR, "month"),
    Product("cookcam_creator_yearly", "android", CREATOR, "year"),
    Product("com.cookcam.monthly", "android", REGULAR, "month", legacy=True),
)


def product_of(platform: Platform, product_id: str) -> Product | None:
    """The product with exactly that id, or None."""
    return next(
        (item for item in PRODUCTS if item.platform == platform and item.id == product_id), None
    )
