"""Route `POST /auth/link-referral`."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from cookcam.features.accounts.referrals.service import Outcome, Referrals
from cookcam.http import (
    DOCUMENTED_AS_REQUIRED,
    Routes,
    errors_as,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

MESSAGES: dict[Outcome, str] = {
    "linked": "Referral linked successfully",
    "linked before": "Referral linked successfully",
    "linked to another": "A referral is linked already",
    "too late": "This account is no longer new, so the referral was not linked",
}


class LinkReferralRequest(Struct):
    referral_code: Annotated[
        str, Meta(extra_json_schema={"minLength": 1}), DOCUMENTED_AS_REQUIRED
    ] = field(name="referralCode", default="")


class LinkReferralResponse(Struct):
    success: Literal[True]
    message: str


def routes(referrals: Referrals) -> Routes:
    bp = Routes("referrals", __name__, legacy=True)

    @bp.post("/auth/link-referral")
    @errors_as(unexpected="Failed to link referral")
    @signed_in
    @validate_request(LinkReferralRequest)
    @validate_response(LinkReferralResponse)
    async def link_referral(caller: Identity, data: LinkReferralRequest) -> LinkReferralResponse:
        """Attribute the caller to the creator of a referral code. The first code counts."""
        return LinkReferralResponse(
            True, MESSAGES[await referrals.link(caller, data.referral_code)]
        )

    return bp
