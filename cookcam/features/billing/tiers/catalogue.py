"""Tiers and what each includes, read once in five minutes.

They change with a migration or by an administrator's hand. Who is entitled to which is never kept:
it is read where it is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import trio
from attrs import define, field, frozen

from cookcam.features.billing.tiers.models import Tier
from cookcam.features.billing.tiers.store import Feature, SubscriptionStore

LIFETIME: Final = 300.0


@frozen
class Contents:
    tiers: Sequence[Tier]
    features: Sequence[Feature]

    def tier(self, tier_id: int) -> Tier:
        return next(tier for tier in self.tiers if tier.id == tier_id)

    def has_feature(self, key: str) -> bool:
        """Whether there is such a feature, for anybody."""
        return any(item.feature_key == key for item in self.features)

    def features_of(self, tier: Tier) -> list[str]:
        """Keys, in alphabetical order."""
        return [item.feature_key for item in self.features if tier.id in item.tier_requirements]


@define(eq=False)
class Catalogue:
    """Whoever finds it too old reads it. Those who come meanwhile read it too, and wait for nobody:
    where the database does not answer, each is told so after one wait."""

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
