"""Routes of account deletion."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, TypedDict, cast

from msgspec import Struct, field
from quart import request

from cookcam.features.accounts.deletion.receipts import Receipts
from cookcam.features.accounts.deletion.service import AccountDeletion, checked_password
from cookcam.http import (
    DOCUMENTED_AS_REQUIRED,
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


class AccountDeletionResponse(Struct):
    """`receipt` is signed, and can be checked with `POST /auth/account/receipt`."""

    message: str
    deleted_at: datetime = field(name="deletedAt")
    receipt: str


class DeletedRows(TypedDict):
    """Numbers of rows by table."""

    deleted: dict[str, int]
    anonymised: dict[str, int]


class DeletionReceipt(TypedDict):
    """Claims of a receipt; times in seconds since 1970.

    `files` counts objects by bucket, `subscriptions` cancelled ones by provider.
    """

    iss: str
    jti: str
    requested: int
    iat: int
    rows: DeletedRows
    files: dict[str, int] | Literal["being deleted"]
    subscriptions: dict[str, int]


class DeletionReceiptResponse(Struct):
    """`receipt`: the claims of a valid receipt."""

    valid: bool
    receipt: DeletionReceipt


class AccountDeletionRequest(Struct):
    """The password may come in the body or in a header; see `confirmation_in_header`."""

    confirm_password: str = field(name="confirmPassword", default="")

    def __repr__(self) -> str:
        return "DeletionRequest(...)"


class DeletionReceiptRequest(Struct):
    receipt: Annotated[str, DOCUMENTED_AS_REQUIRED] = ""


def confirmation_in_header(header: str | None) -> str:
    """The password in the header `confirmPassword`, as the shipped app sends it.

    Header bytes are decoded as Latin-1; the app sends UTF-8, or Latin-1 when that fails.
    """
    if header is None:
        return ""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


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
        await spend(AUTH, str(caller.user_id))
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
