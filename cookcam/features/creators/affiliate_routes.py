"""Routes of affiliate links under `/subscription/affiliate`."""

from __future__ import annotations

from quart import request

from cookcam.features.creators.link_answers import (
    CreateLinkResponse,
    FullUrl,
    LinkListResponse,
    SharedLinkItem,
    TrackClickResponse,
)
from cookcam.features.creators.links import Links
from cookcam.features.creators.requests import GenerateLinkRequest, TrackClickRequest
from cookcam.features.subscriptions.guards import Gates
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in
from cookcam.web import (
    Routes,
    document_failures,
    errors_as,
    facts,
    unconditional,
    validate_request,
    validate_response,
)


def add_affiliate_routes(bp: Routes, links: Links, gates: Gates, url: FullUrl) -> None:
    @bp.post("/subscription/affiliate/generate")
    @errors_as(unexpected="Failed to generate affiliate link")
    @signed_in
    @gates.creator
    @document_failures(409)
    @validate_request(GenerateLinkRequest)
    @validate_response(CreateLinkResponse)
    async def generate_link(caller: Identity, data: GenerateLinkRequest) -> CreateLinkResponse:
        """Create an affiliate link."""
        link = await links.create(caller.user_id, data.campaign, data.slug)
        return CreateLinkResponse(True, SharedLinkItem.to_share(link, url(link)), url(link))

    @bp.get("/subscription/affiliate/links")
    @errors_as(unexpected="Failed to get affiliate links")
    @unconditional
    @signed_in
    @gates.creator
    @validate_response(LinkListResponse)
    async def list_links(caller: Identity) -> LinkListResponse:
        """The caller's own links, newest first."""
        own_links = await links.of_creator(caller.user_id)
        return LinkListResponse(
            True, [SharedLinkItem.to_share(link, url(link)) for link in own_links]
        )

    @bp.post("/subscription/affiliate/track/<code>")
    @errors_as(unexpected="Failed to track click")
    @validate_request(TrackClickRequest)
    @validate_response(TrackClickResponse)
    async def track(code: str, data: TrackClickRequest) -> TrackClickResponse:
        """Count a visitor. The response is the same for known and unknown codes."""
        headers = request.headers
        await links.track(
            code,
            facts().client_address,
            source=data.source,
            user_agent=data.user_agent or headers.get("User-Agent"),
            referrer=data.referrer or headers.get("Referer"),
        )
        return TrackClickResponse(True, "Click tracked")
