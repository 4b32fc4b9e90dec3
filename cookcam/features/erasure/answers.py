"""What the routes of account deletion answer with."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct, field


class DeletedAnswer(Struct):
    """`receipt` is signed, and can be checked with `POST /auth/account/receipt`."""

    message: str
    deleted_at: datetime = field(name="deletedAt")
    receipt: str


class ReceiptAnswer(Struct):
    """`receipt` is what a good receipt says: rows by table, objects by bucket, subscriptions."""

    valid: bool
    receipt: dict[str, Any]
