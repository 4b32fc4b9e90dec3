"""Routes of password recovery."""

from __future__ import annotations

from cookcam.features.accounts.credentials import checked_email
from cookcam.features.accounts.recovery.service import Recovery
from cookcam.features.accounts.requests import ForgotPasswordRequest, NewPasswordRequest
from cookcam.features.accounts.responses import SuccessResponse
from cookcam.http import (
    Routes,
    errors_as,
    rate_limit,
    spend,
    validate_request,
    validate_response,
)
from cookcam.http.quotas import is_used_up
from cookcam.http.rate_limit import AUTH, RECOVERY_MAILS
from cookcam.identity import Identity
from cookcam.identity.guards import bearer_token, signed_in

UNEXPECTED = "Internal server error"


def routes(recovery: Recovery) -> Routes:
    bp = Routes("recovery", __name__, legacy=True)

    @bp.post("/auth/forgot-password")
    @rate_limit(AUTH)
    @errors_as(flagged=True, unexpected=UNEXPECTED)
    @validate_request(ForgotPasswordRequest)
    @validate_response(SuccessResponse)
    async def forgot(data: ForgotPasswordRequest) -> SuccessResponse:
        """Send a password reset link by mail.

        The response does not disclose whether the address has an account.
        """
        email = checked_email(data.email)
        # Over the limit no mail is sent and the request still succeeds: another client must not be
        # able to lock the owner out, who has the earlier mails.
        if not await is_used_up(RECOVERY_MAILS, email):
            await spend(RECOVERY_MAILS, email)
            await recovery.begin(email)
        return SuccessResponse(True, "If the address has an account, a mail is on its way to it")

    @bp.post("/auth/reset-password")
    @rate_limit(AUTH)
    @errors_as(flagged=True, unexpected=UNEXPECTED)
    @signed_in
    @validate_request(NewPasswordRequest)
    @validate_response(SuccessResponse)
    async def reset(caller: Identity, data: NewPasswordRequest) -> SuccessResponse:
        """Set a new password with the access token from the reset link."""
        await recovery.finish(caller, bearer_token(), data.password)
        return SuccessResponse(True, "Password changed")

    return bp
