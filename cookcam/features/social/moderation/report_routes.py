"""Routes of reports, and of the moderators' queue under `/moderation`."""

from __future__ import annotations

from cookcam.errors import NotFound
from cookcam.features.social.moderation.models import Status
from cookcam.features.social.moderation.requests import (
    DecisionRequest,
    ReportQuery,
    ReportRequest,
)
from cookcam.features.social.moderation.responses import (
    DecisionResponse,
    ReportListResponse,
    ReportResponse,
)
from cookcam.features.social.moderation.service import Moderation
from cookcam.http import (
    EncodedJson,
    Routes,
    document_failures,
    document_response,
    errors_as,
    parse_uuid,
    query_integers,
    user_limit,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import admin_only, signed_in


def routes(moderation: Moderation) -> Routes:
    bp = Routes("reports", __name__)

    @bp.post("/reports")
    @errors_as(unexpected="Failed to report content")
    @signed_in
    @user_limit("reports")
    @document_failures(404)
    @validate_request(ReportRequest)
    @validate_response(ReportResponse, 201)
    async def report(caller: Identity, data: ReportRequest) -> tuple[ReportResponse, int]:
        """Report a recipe, photo, comment, message, review or user to the moderators."""
        return ReportResponse(True, await moderation.report(caller, data)), 201

    @bp.get("/moderation/reports")
    @admin_only
    @query_integers(limit=20)
    @validate_querystring(ReportQuery)
    @document_response(ReportListResponse)
    async def reports(caller: Identity, limit: int, query_args: ReportQuery) -> EncodedJson:
        """The reports with a status, the latest first."""
        page = await moderation.store.page(query_args.status, query_args.key(), limit)
        return EncodedJson(page)

    @bp.post("/moderation/reports/<report_id>/decision")
    @admin_only
    @document_failures(409)
    @validate_request(DecisionRequest)
    @validate_response(DecisionResponse)
    async def decide(caller: Identity, report_id: str, data: DecisionRequest) -> DecisionResponse:
        """Decide about a report and all others of the same content; both sides are notified."""
        number = parse_uuid(report_id, NotFound("Report not found", error="Report not found"))
        decided = await moderation.decide(caller, number, data.decision, data.note)
        status: Status = "upheld" if data.decision == "hide" else "dismissed"
        return DecisionResponse(True, status, len(decided.reporters))

    return bp
