"""The routes of creators, by topic (docs/creators.md)."""

from __future__ import annotations

from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.billing.tiers.service import Entitlements
from cookcam.features.creators.connect.routes import add_connect_routes
from cookcam.features.creators.connect.service import StripeAccounts
from cookcam.features.creators.links.responses import full_url
from cookcam.features.creators.links.routes import add_affiliate_routes
from cookcam.features.creators.links.service import Links
from cookcam.features.creators.payouts.routes import add_payout_routes
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.revenue.routes import add_revenue_routes
from cookcam.features.creators.revenue.service import Revenue
from cookcam.features.creators.tips.routes import add_tip_routes
from cookcam.features.creators.tips.service import Tips
from cookcam.http import Routes


def routes(
    links: Links,
    revenue: Revenue,
    payouts: Payouts,
    tips: Tips,
    accounts: StripeAccounts,
    entitlements: Entitlements,
    *,
    website: str,
) -> Routes:
    """`website` is the base URL of shared links."""
    bp, gates = Routes("creators", __name__, legacy=True), Gates(entitlements)
    add_affiliate_routes(bp, links, gates, full_url(website))
    add_revenue_routes(bp, revenue, gates)
    add_payout_routes(bp, payouts, gates)
    add_tip_routes(bp, tips)
    add_connect_routes(bp, accounts, gates)
    return bp
