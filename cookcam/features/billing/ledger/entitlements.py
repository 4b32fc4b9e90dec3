"""What users are entitled to: the service other features ask."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.features.billing.ledger.refusals import (
    CreatorRequired,
    FeatureUnavailable,
    UpgradeRequired,
)
from cookcam.features.billing.tiers.catalogue import Catalogue
from cookcam.features.billing.tiers.models import FREE, Entitlement, Subscription, Tier, TierSlug
from cookcam.features.billing.tiers.store import SubscriptionStore

CREATOR_FEATURE = "creator_dashboard"
"""Who has this is a creator (`spec/payments-and-gamification.md` §1.5)."""


@frozen
class Entitlements:
    """Read from the database each time, so that what was paid counts at once.

    Everything raises ServiceUnavailable or DatabaseError when it cannot be read: nobody is taken
    for Free because of an outage.
    """

    store: SubscriptionStore
    catalogue: Catalogue
    now: Callable[[], datetime]

    async def tier_of(self, user_id: UUID) -> Tier:
        contents = await self.catalogue.contents()
        return contents.tier(await self.store.tier_id(user_id))

    async def has_feature(self, user_id: UUID, key: str) -> bool:
        """False for an unknown key as well. Keys: `spec/http-api-core.md` §3.11."""
        return await self.store.has_feature(user_id, key)

    async def status_of(self, user_id: UUID) -> Entitlement:
        """The tier, the subscription it comes from, and the keys of its features."""
        contents = await self.catalogue.contents()
        live = await self.store.live(user_id)
        entitling = live if live is not None and live.entitles(self.now()) else None
        tier = contents.tier(entitling.tier_id if entitling else FREE)
        return Entitlement(tier, entitling, contents.features_of(tier))

    async def subscription_of(self, user_id: UUID) -> Subscription | None:
        """The one that counts, though its period may be over; None for a user without any."""
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
