"""The routes of creators, by topic (docs/creators.md)."""

from __future__ import annotations

from cookcam.features.creators.affiliate_routes import add_affiliate_routes
from cookcam.features.creators.connect_routes import add_connect_routes
from cookcam.features.creators.link_answers import full_url
from cookcam.features.creators.payout_routes import add_payout_routes
from cookcam.features.creators.revenue_routes import add_revenue_routes
from cookcam.features.creators.service import Creators
from cookcam.features.creators.tip_routes import add_tip_routes
from cookcam.features.subscriptions.entitlements import Entitlements
from cookcam.features.subscriptions.guards import Gates
from cookcam.web import Routes


def routes(creators: Creators, entitlements: Entitlements, *, website: str) -> Routes:
    """`website` is the base URL of shared links."""
    bp, gates = Routes("creators", __name__, legacy=True), Gates(entitlements)
    add_affiliate_routes(bp, creators.links, gates, full_url(website))
    add_revenue_routes(bp, creators.revenue, gates)
    add_payout_routes(bp, creators.payouts, gates)
    add_tip_routes(bp, creators.tips)
    add_connect_routes(bp, creators.accounts, gates)
    return bp
