"""Builds the services of creators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from cookcam.config.readers import Secret
from cookcam.database import Database
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.creators.commissions.service import CreatorCommissions
from cookcam.features.creators.commissions.store import AttributionStore
from cookcam.features.creators.connect.events import CreatorEvents
from cookcam.features.creators.connect.return_urls import ReturnUrls
from cookcam.features.creators.connect.service import StripeAccounts
from cookcam.features.creators.connect.store import AccountStore
from cookcam.features.creators.links.service import Links, Visitors
from cookcam.features.creators.links.store import LinkStore
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.payouts.store import PayoutStore
from cookcam.features.creators.revenue.service import Revenue
from cookcam.features.creators.revenue.store import RevenueStore
from cookcam.features.creators.tips.service import Tips
from cookcam.features.creators.tips.store import TipStore
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.integrations.stripe import Stripe
from cookcam.realtime.hub import Hub


@frozen
class Creators:
    links: Links
    tips: Tips
    payouts: Payouts
    accounts: StripeAccounts
    revenue: Revenue
    commissions: CreatorCommissions
    events: CreatorEvents

    @classmethod
    def of(
        cls,
        database: Database,
        stripe: Stripe | None,
        recipes: Recipes,
        referrals: Referrals,
        hub: Hub,
        now: Callable[[], datetime],
        *,
        returns: ReturnUrls,
        secret: Secret,
    ) -> Creators:
        """`stripe` is None when payments are not configured; `secret` keys the visitor hashes."""
        links = Links(LinkStore(database), referrals, Visitors(secret), now)
        tips = Tips(TipStore(database), recipes, stripe)
        payouts = Payouts(PayoutStore(database), stripe, hub, now)
        accounts = StripeAccounts(AccountStore(database), stripe, returns, now)
        return cls(
            links=links,
            tips=tips,
            payouts=payouts,
            accounts=accounts,
            revenue=Revenue(RevenueStore(database), links, accounts, payouts, now),
            commissions=CreatorCommissions(AttributionStore(database), referrals),
            events=CreatorEvents(accounts, payouts, tips),
        )
