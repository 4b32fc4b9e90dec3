"""What a user has bought and earned, and may do for it: asked by nearly every feature."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.billing.ledger.ledger import SubscriptionLedger
from cookcam.features.billing.tiers import routes as subscription_routes
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.billing.tiers.service import Catalogue, Entitlements, Features
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.features.rewards.xp.service import Xp
from cookcam.features.rewards.xp.store import XpStore
from cookcam.http import Routes
from cookcam.realtime.hub import Hub


@frozen
class Membership:
    catalogue: Catalogue
    entitlements: Entitlements
    quotas: Quotas
    features: Features
    ledger: SubscriptionLedger
    xp: Xp

    @classmethod
    def of(cls, database: Database, hub: Hub, now: Callable[[], datetime]) -> Membership:
        """Users hear on `hub` what changed for them."""
        store = SubscriptionStore(database)
        catalogue = Catalogue(store)
        entitlements = Entitlements(store, catalogue, now)
        quotas = Quotas(database)
        return cls(
            catalogue=catalogue,
            entitlements=entitlements,
            quotas=quotas,
            features=Features(catalogue, entitlements, quotas),
            ledger=SubscriptionLedger(database, store, hub, now),
            xp=Xp(XpStore(), hub, now),
        )

    def routes(self) -> list[Routes]:
        return [subscription_routes.routes(self.catalogue, self.entitlements, self.features)]
