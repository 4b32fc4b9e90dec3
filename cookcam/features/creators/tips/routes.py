"""Route for tipping a recipe's owner."""

from __future__ import annotations

from uuid import UUID

from msgspec import Struct

from cookcam.features.creators.requests import TipRequest
from cookcam.features.creators.tips.service import StartedTip, Tips
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    parse_uuid,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.http.rate_limit import PAYMENTS
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class TipResponse(Struct, rename={"client_secret": "clientSecret", "tip_id": "tipId"}):
    success: bool
    message: str
    client_secret: str
    tip_id: UUID

    @classmethod
    def of(cls, started: StartedTip) -> TipResponse:
        return cls(True, "Tip sent successfully", started.client_secret, started.tip.id)


def add_tip_routes(bp: Routes, tips: Tips) -> None:
    @bp.post("/subscription/recipe/<recipe_id>/tip")
    @bp.post("/recipe/<recipe_id>/tip")
    @errors_as(unexpected="Failed to send tip")
    @signed_in
    @user_limit(PAYMENTS)
    @document_failures(409)
    @validate_request(TipRequest)
    @validate_response(TipResponse)
    async def tip(caller: Identity, recipe_id: str, data: TipRequest) -> TipResponse:
        """Tip the owner of a recipe. The app completes the payment with `clientSecret`."""
        started = await tips.start(
            caller,
            parse_uuid(recipe_id, recipe_not_found()),
            data.cents(),
            creator_id=data.creator_id,
            message=data.message,
            is_anonymous=data.is_anonymous,
        )
        return TipResponse.of(started)
