"""Routes of account deletion."""

from __future__ import annotations

from typing import cast

from quart import request

from cookcam.features.accounts.deletion.receipts import Receipts
from cookcam.features.accounts.deletion.requests import (
    AccountDeletionRequest,
    DeletionReceiptRequest,
    confirmation_in_header,
)
from cookcam.features.accounts.deletion.responses import (
    AccountDeletionResponse,
    DeletionReceipt,
    DeletionReceiptResponse,
)
from cookcam.features.accounts.deletion.service import AccountDeletion, checked_password
from cookcam.http import (
    Routes,
    document_failures,
    errors_as,
    rate_limit,
    spend,
    validate_request,
    validate_response,
)
from cookcam.http.rate_limit import AUTH
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in_or_deleted

MESSAGE = "Account deleted successfully"


def routes(account_deletion: AccountDeletion, receipts: Receipts) -> Routes:
    bp = Routes("account_deletion", __name__, legacy=True)

    @bp.delete("/auth/account")
    @rate_limit(AUTH)
    @errors_as(unexpected="Failed to delete account")
    @signed_in_or_deleted
    @document_failures(404, 409)
    @validate_request(AccountDeletionRequest)
    @validate_response(AccountDeletionResponse)
    async def delete_account(
        caller: Identity, data: AccountDeletionRequest
    ) -> AccountDeletionResponse:
        """Delete the caller's account and everything that belongs to it.

        Requires the password as `confirmPassword` in the body or in a header of that name. The
        response is sent when data and identity are deleted; 503 when that takes longer, and the
        deletion continues.
        """
        password = checked_password(
            data.confirm_password or confirmation_in_header(request.headers.get("confirmPassword"))
        )
        spend(AUTH, str(caller.user_id))
        result = await account_deletion.delete(caller, password)
        return AccountDeletionResponse(MESSAGE, result.deleted_at, result.receipt)

    @bp.post("/auth/account/receipt")
    @errors_as(unexpected="Internal server error")
    @validate_request(DeletionReceiptRequest)
    @validate_response(DeletionReceiptResponse)
    async def verify_receipt(data: DeletionReceiptRequest) -> DeletionReceiptResponse:
        """Verify a deletion receipt and return its content."""
        return DeletionReceiptResponse(True, cast("DeletionReceipt", receipts.verify(data.receipt)))

    return bp
