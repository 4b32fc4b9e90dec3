"""What the routes of account deletion answer with."""

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
    """What a receipt says: a JWT's claims, with moments in seconds since 1970.

    `files` counts objects by bucket; `subscriptions` counts those that
    were ended, by provider.
    """

    iss: str
    jti: str
    requested: int
    iat: int
    rows: DeletedRows
    files: dict[str, int] | Literal["being deleted"]
    subscriptions: dict[str, int]


class DeletionReceiptResponse(Struct):
    """`receipt` is what a good receipt says: rows by table, objects by bucket, subscriptions."""

    valid: bool
    receipt: DeletionReceipt
