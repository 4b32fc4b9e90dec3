"""Routes of creators' Stripe accounts."""

from __future__ import annotations

from cookcam.errors import NotFound
from cookcam.features.billing.tiers.guards import Gates
from cookcam.features.creators.connect.responses import (
    AccountLinkResponse,
    OnboardResponse,
    StripeDashboardResponse,
    StripeRefreshResponse,
    StripeStatusResponse,
)
from cookcam.features.creators.connect.return_urls import PAGES, PATH, SCHEME
from cookcam.features.creators.connect.service import StripeAccounts
from cookcam.features.creators.requests import (
    AccountLinkRequest,
    OnboardRequest,
    StripeRefreshRequest,
)
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    hidden,
    unconditional,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.http.responses import RawResponse
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def add_connect_routes(bp: Routes, accounts: StripeAccounts, gates: Gates) -> None:
    @bp.post("/subscription/creator/stripe/onboard")
    @errors_as(unexpected="Failed to start Stripe onboarding")
    @signed_in
    @user_limit("connect")
    @gates.creator
    @document_failures(409)
    @validate_request(OnboardRequest)
    @validate_response(OnboardResponse)
    async def onboard(caller: Identity, data: OnboardRequest) -> OnboardResponse:
        """Create the caller's Stripe account if there is none, and its onboarding page."""
        onboarding = await accounts.onboard(caller.user_id, data.country)
        return OnboardResponse(True, onboarding.account.stripe_account_id, onboarding.url)

    @bp.get("/subscription/creator/stripe/status")
    @errors_as(unexpected="Failed to get Stripe account status")
    @unconditional
    @signed_in
    @gates.creator
    @validate_response(StripeStatusResponse)
    async def get_status(caller: Identity) -> StripeStatusResponse:
        """The account as last reported by Stripe."""
        return StripeStatusResponse.of(await accounts.of(caller.user_id))

    @bp.get("/subscription/creator/stripe/dashboard")
    @errors_as(unexpected="Failed to get dashboard link")
    @unconditional
    @signed_in
    @user_limit("connect")
    @gates.creator
    @document_failures(404, 409)
    @validate_response(StripeDashboardResponse)
    async def get_dashboard(caller: Identity) -> StripeDashboardResponse:
        """A single-use URL of the caller's Stripe dashboard."""
        return StripeDashboardResponse(True, await accounts.dashboard(caller.user_id))

    @bp.post("/subscription/creator/stripe/account-link")
    @errors_as(unexpected="Failed to create account link")
    @signed_in
    @user_limit("connect")
    @gates.creator
    @document_failures(404, 409)
    @validate_request(AccountLinkRequest)
    @validate_response(AccountLinkResponse)
    async def account_link(caller: Identity, data: AccountLinkRequest) -> AccountLinkResponse:
        """An onboarding page of Stripe that returns to the given URLs of the website or app."""
        link = await accounts.link(caller.user_id, data.account_id, *data.urls())
        return AccountLinkResponse(True, link.url, int(link.expires_at.timestamp() * 1000))

    @bp.post("/subscription/creator/stripe/refresh-status")
    @errors_as(unexpected="Failed to refresh account status")
    @signed_in
    @user_limit("connect")
    @gates.creator
    @document_failures(404, 409)
    @validate_request(StripeRefreshRequest)
    @validate_response(StripeRefreshResponse)
    async def refresh_status(caller: Identity, data: StripeRefreshRequest) -> StripeRefreshResponse:
        """Read the caller's account from Stripe again."""
        await accounts.refresh(caller.user_id, data.account_id)
        return StripeRefreshResponse(True, "Account status refreshed")

    @bp.get(f"{PATH}<page>")
    @hidden
    @unconditional
    async def back_to_the_app(page: str) -> RawResponse:
        """Redirect from Stripe into the app; the body has a link as a fallback."""
        if page not in PAGES:
            raise NotFound()
        address = f"{SCHEME}{page}"
        body = f'<!doctype html><title>CookCam</title><a href="{address}">Back to CookCam</a>'
        return RawResponse(
            302,
            [
                (b"location", address.encode()),
                (b"content-type", b"text/html; charset=utf-8"),
                (b"cache-control", b"no-store"),
                (b"content-length", b"%d" % len(body)),
            ],
            body.encode(),
        )
