"""What the app asks for by name, and what that is here.

The app's names are older than the feature keys (`spec/client-contract.md` §12.3); every key of
`spec/http-api-core.md` §3.11 and every metric is a name as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast, get_args
from uuid import UUID

from attrs import frozen

from cookcam.errors import NotFound
from cookcam.features.billing.ledger.entitlements import Entitlements
from cookcam.features.billing.tiers.catalogue import Catalogue
from cookcam.features.billing.tiers.models import REGULAR, Metric, Usage
from cookcam.features.billing.tiers.quotas import Quotas

KEYS: Final[Mapping[str, str]] = {
    "premium_recipes": "unlimited_recipes",
    "advanced_nutrition": "nutrition_tracking",
    "creator_tools": "creator_dashboard",
    "analytics_dashboard": "revenue_analytics",
}


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
        """A limited feature is there while something of the limit is left. Raises NotFound."""
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
