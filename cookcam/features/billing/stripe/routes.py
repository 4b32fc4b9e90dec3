"""`/subscription`: buying, changing and cancelling a subscription."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from cookcam.errors import Conflict, InternalError, NotOffered, ServiceError
from cookcam.features.billing.stripe.checkout import Checkout
from cookcam.features.billing.stripe.plans import Plans
from cookcam.features.billing.stripe.requests import (
    CancelRequest,
    ChangeTierRequest,
    CheckoutRequest,
    PortalRequest,
)
from cookcam.features.billing.tiers.responses import (
    CancelResponse,
    CheckoutResponse,
    PortalResponse,
    SubscriptionStatusResponse,
    TierChangeResponse,
)
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    unconditional,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.http.rate_limit import PAYMENTS
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in
from cookcam.integrations.stripe import KeyReused

P = ParamSpec("P")
R = TypeVar("R")


def routes(checkout: Checkout, plans: Plans) -> Routes:
    bp = Routes("checkout", __name__, legacy=True)
    _checkout_routes(bp, checkout)
    _change_routes(bp, plans)
    _status_routes(bp, plans)
    return bp


def _checkout_routes(bp: Routes, checkout: Checkout) -> None:
    @bp.post("/subscription/create-checkout")
    @errors_as(unexpected="Failed to create checkout session")
    @unconditional
    @signed_in
    @user_limit(PAYMENTS)
    @provider_faults_as_500
    @document_failures(403, 409)
    @validate_request(CheckoutRequest)
    @validate_response(CheckoutResponse)
    async def create_checkout(caller: Identity, data: CheckoutRequest) -> CheckoutResponse:
        """The page of Stripe on which the caller can buy a tier."""
        return CheckoutResponse(True, await checkout.begin(caller, data.order(checkout.redirects)))

    @bp.post("/subscription/portal")
    @errors_as(unexpected="Failed to create portal session")
    @unconditional
    @signed_in
    @user_limit("subscription")
    @provider_faults_as_500
    @document_failures(404)
    @validate_request(PortalRequest)
    @validate_response(PortalResponse)
    async def open_portal(caller: Identity, data: PortalRequest) -> PortalResponse:
        """The page of Stripe with the caller's cards and invoices."""
        return_url = data.address(checkout.redirects)
        return PortalResponse(True, await checkout.portal(caller, return_url))


def _change_routes(bp: Routes, plans: Plans) -> None:
    @bp.post("/subscription/change-tier")
    @errors_as(unexpected="Failed to change subscription tier")
    @unconditional
    @signed_in
    @user_limit(PAYMENTS)
    @provider_faults_as_500
    @document_failures(402, 403, 404, 409)
    @validate_request(ChangeTierRequest)
    @validate_response(TierChangeResponse)
    async def change_tier(caller: Identity, data: ChangeTierRequest) -> TierChangeResponse:
        """Another tier: a higher one at once, a lower one from the next period."""
        return TierChangeResponse.of(await plans.change_tier(caller.user_id, data.tier()))

    @bp.post("/subscription/cancel")
    @errors_as(unexpected="Failed to cancel subscription")
    @unconditional
    @signed_in
    @user_limit("subscription")
    @provider_faults_as_500
    @document_failures(403, 404, 409)
    @validate_request(CancelRequest)
    @validate_response(CancelResponse)
    async def cancel(caller: Identity, data: CancelRequest) -> CancelResponse:
        """Ends the caller's subscription, at the end of its period or immediately."""
        ended = await plans.cancel(caller.user_id, at_once=data.immediately)
        return CancelResponse.of(ended.at_once, ended.managed_by)


def _status_routes(bp: Routes, plans: Plans) -> None:
    @bp.post("/subscription/refresh-status")
    @errors_as(unexpected="Failed to refresh subscription status")
    @unconditional
    @signed_in
    @user_limit("subscription")
    @provider_faults_as_500
    @validate_response(SubscriptionStatusResponse)
    async def refresh_status(caller: Identity) -> SubscriptionStatusResponse:
        """The caller's tier, read from the providers."""
        return SubscriptionStatusResponse.of(await plans.refresh(caller.user_id))

    @bp.post("/subscription/upgrade-to-creator")
    @errors_as(unexpected="Failed to upgrade to creator")
    @unconditional
    @signed_in
    @document_failures(402)
    @validate_response(SubscriptionStatusResponse)
    async def upgrade_to_creator(caller: Identity) -> SubscriptionStatusResponse:
        """The caller's tier, if the creator tier was bought. The body is ignored."""
        return SubscriptionStatusResponse.of(await plans.upgraded_to_creator(caller.user_id))

    @bp.post("/subscription/reactivate")
    @errors_as(unexpected="Failed to reactivate subscription")
    @unconditional
    @signed_in
    @document_failures(501)
    async def reactivate(caller: Identity) -> None:
        """Offers for users whose subscription has ended; there are none yet."""
        raise NotOffered("There are no offers yet")


def provider_faults_as_500(view: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """A rejection or invalid response of Stripe is a 500 with the route's text; an outage a 503."""

    @wraps(view)
    async def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await view(*args, **kwargs)
        except KeyReused as error:
            # Another request has changed the subscription in between.
            raise Conflict() from error
        except ServiceError as error:
            raise InternalError() from error

    return guarded
