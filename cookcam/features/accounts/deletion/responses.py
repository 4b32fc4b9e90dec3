"""Responses of account deletion."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypedDict

from msgspec import Struct, field


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
