"""Routes of affiliate links under `/subscription/affiliate`."""

from __future__ import annotations

from quart import request

from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.creators.links.responses import (
    AffiliateLinkListResponse,
    AffiliateLinkResponse,
    ClickResponse,
    FullUrl,
    SharedAffiliateLink,
)
from cookcam.features.creators.links.service import Links
from cookcam.features.creators.requests import AffiliateLinkRequest, ClickRequest
from cookcam.http import (
    Routes,
    current_request_info,
    document_failures,
    errors_as,
    unconditional,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def add_affiliate_routes(bp: Routes, links: Links, gates: Gates, url: FullUrl) -> None:
    @bp.post("/subscription/affiliate/generate")
    @errors_as(unexpected="Failed to generate affiliate link")
    @signed_in
    @user_limit("affiliate links")
    @gates.creator
    @document_failures(409)
    @validate_request(AffiliateLinkRequest)
    @validate_response(AffiliateLinkResponse)
    async def generate_link(caller: Identity, data: AffiliateLinkRequest) -> AffiliateLinkResponse:
        """Create an affiliate link."""
        link = await links.create(caller.user_id, data.campaign, data.slug)
        return AffiliateLinkResponse(True, SharedAffiliateLink.to_share(link, url(link)), url(link))

    @bp.get("/subscription/affiliate/links")
    @errors_as(unexpected="Failed to get affiliate links")
    @unconditional
    @signed_in
    @gates.creator
    @validate_response(AffiliateLinkListResponse)
    async def list_links(caller: Identity) -> AffiliateLinkListResponse:
        """The caller's own links, newest first."""
        own_links = await links.of_creator(caller.user_id)
        return AffiliateLinkListResponse(
            True, [SharedAffiliateLink.to_share(link, url(link)) for link in own_links]
        )

    @bp.post("/subscription/affiliate/track/<code>")
    @errors_as(unexpected="Failed to track click")
    @validate_request(ClickRequest)
    @validate_response(ClickResponse)
    async def track(code: str, data: ClickRequest) -> ClickResponse:
        """Count a visitor. The response is the same for known and unknown codes."""
        headers = request.headers
        await links.track(
            code,
            current_request_info().client_address,
            source=data.source,
            user_agent=data.user_agent or headers.get("User-Agent"),
            referrer=data.referrer or headers.get("Referer"),
        )
        return ClickResponse(True, "Click tracked")
