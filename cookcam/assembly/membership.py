"""What a user has bought and earned, and may do for it: asked by nearly every feature."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.gamification.service import Xp
from cookcam.features.gamification.store import XpStore
from cookcam.features.subscriptions import routes as subscription_routes
from cookcam.features.subscriptions.catalogue import Catalogue
from cookcam.features.subscriptions.entitlements import Entitlements
from cookcam.features.subscriptions.features import Features
from cookcam.features.subscriptions.ledger import SubscriptionLedger
from cookcam.features.subscriptions.quotas import Quotas
from cookcam.features.subscriptions.store import SubscriptionStore
from cookcam.realtime.hub import Hub
from cookcam.web import Routes


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
