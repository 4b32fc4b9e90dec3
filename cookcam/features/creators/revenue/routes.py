"""Routes of creators' earnings under `/subscription/creator`."""

from __future__ import annotations

from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.creators.requests import MonthQuery
from cookcam.features.creators.revenue.responses import (
    CreatorAnalyticsResponse,
    RevenueBreakdownResponse,
    RevenueResponse,
)
from cookcam.features.creators.revenue.service import Revenue
from cookcam.http import (
    Routes,
    errors_as,
    unconditional,
    validate_querystring,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def add_revenue_routes(bp: Routes, revenue: Revenue, gates: Gates) -> None:
    @bp.get("/subscription/creator/revenue")
    @errors_as(unexpected="Failed to get revenue data")
    @unconditional
    @signed_in
    @gates.creator
    @validate_querystring(MonthQuery)
    @validate_response(RevenueResponse)
    async def get_revenue(caller: Identity, query_args: MonthQuery) -> RevenueResponse:
        """The earnings of a month, and the totals."""
        earnings = await revenue.earnings(caller.user_id, query_args.month, query_args.year)
        return RevenueResponse.of(caller.user_id, earnings)

    @bp.get("/subscription/creator/analytics")
    @errors_as(unexpected="Failed to get analytics")
    @unconditional
    @signed_in
    @gates.creator
    @validate_response(CreatorAnalyticsResponse)
    async def get_analytics(caller: Identity) -> CreatorAnalyticsResponse:
        """The caller's links, referrals, recipes and tips, with the current month."""
        analytics = await revenue.analytics(caller.user_id)
        return CreatorAnalyticsResponse.of(caller.user_id, analytics, revenue.now())

    @bp.get("/subscription/creator/earnings/breakdown")
    @errors_as(unexpected="Failed to get earnings breakdown")
    @unconditional
    @signed_in
    @gates.creator
    @validate_querystring(MonthQuery)
    @validate_response(RevenueBreakdownResponse)
    async def get_breakdown(caller: Identity, query_args: MonthQuery) -> RevenueBreakdownResponse:
        """The earnings of a month by source."""
        month = await revenue.month(caller.user_id, query_args.month, query_args.year)
        return RevenueBreakdownResponse.of(month)
