"""Builds the services of creators."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.creators.account_store import AccountStore
from cookcam.features.creators.commission_store import AttributionStore
from cookcam.features.creators.commissions import CreatorCommissions
from cookcam.features.creators.connect import StripeAccounts
from cookcam.features.creators.connect_events import CreatorEvents
from cookcam.features.creators.link_store import LinkStore
from cookcam.features.creators.links import Links
from cookcam.features.creators.payout_store import PayoutStore
from cookcam.features.creators.payouts import Payouts
from cookcam.features.creators.returns import ReturnUrls
from cookcam.features.creators.revenue import Revenue
from cookcam.features.creators.revenue_store import RevenueStore
from cookcam.features.creators.tip_store import TipStore
from cookcam.features.creators.tips import Tips
from cookcam.features.creators.visitors import Visitors
from cookcam.features.recipes.service import Recipes
from cookcam.features.referrals.service import Referrals
from cookcam.providers.stripe import Stripe
from cookcam.realtime.hub import Hub
from cookcam.settings.readers import Secret


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
