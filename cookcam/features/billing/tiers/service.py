"""Tiers, their features, and the entitlements of users."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, cast, get_args
from uuid import UUID

import trio
from attrs import define, field, frozen

from cookcam.errors import NotFound
from cookcam.features.billing.errors import CreatorRequired, FeatureUnavailable, UpgradeRequired
from cookcam.features.billing.tiers.models import (
    FREE,
    REGULAR,
    Entitlement,
    Metric,
    Subscription,
    Tier,
    TierSlug,
    Usage,
)
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.billing.tiers.store import Feature, SubscriptionStore

LIFETIME: Final = 300.0
CREATOR_FEATURE = "creator_dashboard"
"""The feature that makes a user a creator."""
KEYS: Final[Mapping[str, str]] = {
    "premium_recipes": "unlimited_recipes",
    "advanced_nutrition": "nutrition_tracking",
    "creator_tools": "creator_dashboard",
    "analytics_dashboard": "revenue_analytics",
}


@frozen
class Contents:
    tiers: Sequence[Tier]
    features: Sequence[Feature]

    def tier(self, tier_id: int) -> Tier:
        return next(tier for tier in self.tiers if tier.id == tier_id)

    def has_feature(self, key: str) -> bool:
        """Whether the feature exists in any tier."""
        return any(item.feature_key == key for item in self.features)

    def features_of(self, tier: Tier) -> list[str]:
        """Keys, in alphabetical order."""
        return [item.feature_key for item in self.features if tier.id in item.tier_requirements]


@define(eq=False)
class Catalogue:
    """Tiers and features, cached for `LIFETIME` seconds. Concurrent callers of an expired cache
    each read it: none waits for another's timeout."""

    store: SubscriptionStore
    _contents: Contents = field(factory=lambda: Contents((), ()), init=False)
    _good_until: float = field(default=-math.inf, init=False)

    async def contents(self) -> Contents:
        if trio.current_time() >= self._good_until:
            self._contents = Contents(await self.store.tiers(), await self.store.features())
            self._good_until = trio.current_time() + LIFETIME
        return self._contents

    async def on_sale(self) -> list[Tier]:
        """Active tiers, the cheapest first."""
        return [tier for tier in (await self.contents()).tiers if tier.is_active]


@frozen
class Entitlements:
    """Read from the database each time, so that a payment is effective immediately.

    All methods raise ServiceUnavailable or DatabaseError when the read fails: an outage never
    downgrades a user to Free.
    """

    store: SubscriptionStore
    catalogue: Catalogue
    now: Callable[[], datetime]

    async def tier_of(self, user_id: UUID) -> Tier:
        contents = await self.catalogue.contents()
        return contents.tier(await self.store.tier_id(user_id))

    async def has_feature(self, user_id: UUID, key: str) -> bool:
        """False for an unknown key as well."""
        return await self.store.has_feature(user_id, key)

    async def status_of(self, user_id: UUID) -> Entitlement:
        """The tier, the subscription it comes from, and the keys of its features."""
        contents = await self.catalogue.contents()
        live = await self.store.live(user_id)
        entitling = live if live is not None and live.entitles(self.now()) else None
        tier = contents.tier(entitling.tier_id if entitling else FREE)
        return Entitlement(tier, entitling, contents.features_of(tier))

    async def subscription_of(self, user_id: UUID) -> Subscription | None:
        """The current subscription, though its period may be over; None for a user without any."""
        return await self.store.live(user_id)

    async def require_tier(self, user_id: UUID, slug: TierSlug) -> None:
        """Raises UpgradeRequired for a lower tier."""
        tier = await self.tier_of(user_id)
        if not tier.includes(slug):
            raise UpgradeRequired.of(tier.slug, slug)

    async def require_feature(self, user_id: UUID, key: str) -> None:
        """Raises FeatureUnavailable."""
        if not await self.has_feature(user_id, key):
            raise FeatureUnavailable.of(key)

    async def require_creator(self, user_id: UUID) -> None:
        """Raises CreatorRequired."""
        if not await self.has_feature(user_id, CREATOR_FEATURE):
            raise CreatorRequired()


@frozen
class Access:
    """Whether a user has a feature; `usage` where it is counted and limited."""

    granted: bool
    usage: Usage | None = None


@frozen
class Features:
    catalogue: Catalogue
    entitlements: Entitlements
    quotas: Quotas

    async def access(self, user_id: UUID, name: str) -> Access:
        """Whether the user has the feature; a limited one only until its limit is reached. Raises
        NotFound."""
        if name in get_args(Metric):
            usage = await self.quotas.usage(user_id, cast("Metric", name))
            return Access(not usage.exhausted, usage)
        if name == "unlimited_scans":
            usage = await self.quotas.usage(user_id, "daily_scans")
            return Access(usage.limit is None, usage)
        if name == "ad_free_experience":
            tier = await self.entitlements.tier_of(user_id)
            return Access(tier.id >= REGULAR)
        key = KEYS.get(name, name)
        if not (await self.catalogue.contents()).has_feature(key):
            raise NotFound("Unknown feature", error="Feature not found")
        return Access(await self.entitlements.has_feature(user_id, key))
