"""Routes under `/analytics`."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from cookcam.features.operations.analytics.requests import TimeframeQuery, TrackRequest
from cookcam.features.operations.analytics.responses import (
    BusinessResponse,
    DashboardResponse,
    GlobalResponse,
    TrackResponse,
)
from cookcam.features.operations.analytics.service import Analytics
from cookcam.http import (
    MEBIBYTE,
    Routes,
    counted_by_caller,
    document_failures,
    document_response,
    errors_as,
    max_body,
    user_limit,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.http.rate_limit import ANALYTICS
from cookcam.identity import Identity
from cookcam.identity.guards import admin_only, signed_in


def routes(analytics: Analytics) -> Routes:
    bp = Routes("analytics", __name__)

    @bp.post("/analytics/track")
    @errors_as(unexpected="Failed to track event")
    @counted_by_caller
    @signed_in
    @user_limit(ANALYTICS)
    @max_body(1 * MEBIBYTE)
    @document_failures(503)
    @validate_request(TrackRequest)
    @validate_response(TrackResponse, 201)
    async def track(caller: Identity, data: TrackRequest) -> tuple[TrackResponse, int]:
        """Record one event, or a batch of up to 500. 503 while the server cannot take more."""
        ids = await analytics.track(caller.user_id, data.all_events())
        batch = ids if data.events else UNSET
        return TrackResponse(True, "Event tracked successfully", ids[0], False, batch), 201

    @bp.get("/analytics/dashboard")
    @errors_as(unexpected="Failed to fetch dashboard data")
    @signed_in
    @validate_querystring(TimeframeQuery)
    @document_response(DashboardResponse)
    async def dashboard(caller: Identity, query_args: TimeframeQuery) -> dict[str, Any]:
        """The caller's own activity, aggregated in UTC. Up to five minutes old."""
        return await analytics.dashboard(caller.user_id, query_args.effective("90d"))

    @bp.get("/analytics/global")
    @errors_as(unexpected="Failed to fetch global analytics")
    @admin_only
    @validate_querystring(TimeframeQuery)
    @document_response(GlobalResponse)
    async def overview(caller: Identity, query_args: TimeframeQuery) -> dict[str, Any]:
        """The activity of all users. Up to five minutes old."""
        return await analytics.overview(query_args.effective("30d"))

    @bp.get("/analytics/business")
    @admin_only
    @document_response(BusinessResponse)
    async def business(caller: Identity) -> dict[str, Any]:
        """Active users, retention, trial conversion, churn and recurring revenue. Up to five
        minutes old."""
        return await analytics.business()

    return bp
