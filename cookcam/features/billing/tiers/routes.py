"""`/subscription`: tiers, the caller's entitlement, products of the app stores."""

from __future__ import annotations

from cookcam.features.billing.tiers.responses import (
    FeatureResponse,
    ProductListResponse,
    SubscriptionStatusResponse,
    TierListResponse,
)
from cookcam.features.billing.tiers.service import Catalogue, Entitlements, Features
from cookcam.http import Routes, errors_as, unconditional, validate_response
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


def routes(catalogue: Catalogue, entitlements: Entitlements, features: Features) -> Routes:
    bp = Routes("subscriptions", __name__, legacy=True)

    @bp.get("/subscription/tiers")
    @errors_as(unexpected="Failed to fetch subscription tiers")
    @validate_response(TierListResponse)
    async def list_tiers() -> TierListResponse:
        """Tiers on sale, the cheapest first."""
        return TierListResponse.of(await catalogue.on_sale())

    @bp.get("/subscription/status")
    @errors_as(unexpected="Failed to get subscription status")
    @unconditional
    @signed_in
    @validate_response(SubscriptionStatusResponse)
    async def get_status(caller: Identity) -> SubscriptionStatusResponse:
        """The caller's tier, and the subscription it comes from."""
        return SubscriptionStatusResponse.of(await entitlements.status_of(caller.user_id))

    @bp.get("/subscription/feature/<feature>")
    @errors_as(unexpected="Failed to verify feature access")
    @unconditional
    @signed_in
    @validate_response(FeatureResponse)
    async def get_feature(caller: Identity, feature: str) -> FeatureResponse:
        """Whether the caller has a feature, and how much of it where it is limited."""
        access = await features.access(caller.user_id, feature)
        return FeatureResponse.of(access.granted, access.usage)

    @bp.get("/subscription/products")
    @errors_as(unexpected="Failed to fetch products")
    @validate_response(ProductListResponse)
    async def list_products() -> ProductListResponse:
        """What the app stores sell."""
        return ProductListResponse.of({tier.id: tier for tier in await catalogue.on_sale()})

    return bp
