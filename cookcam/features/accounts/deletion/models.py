"""The job of deleting one account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal
from uuid import UUID

from attrs import field, frozen

Status = Literal["pending", "data_deleted", "identity_deleted", "completed", "failed"]


@frozen
class Job:
    """A row of `account_deletions`; `user_id` is None when the job is completed.

    `subscriptions` counts the results by provider and is None until they have been cancelled.
    `email_ciphertext` is the address for the receipt, None when no receipt is to be mailed.
    `row_counts` are rows by table, `file_counts` objects by bucket.
    """

    id: UUID
    user_hash: str
    user_id: UUID | None
    status: Status
    attempts: int
    subscriptions: Mapping[str, int] | None
    row_counts: Mapping[str, Mapping[str, int]]
    file_counts: Mapping[str, int]
    storage_prefixes: list[str]
    email_ciphertext: bytes | None = field(repr=False)
    requested_at: datetime
    deleted_at: datetime | None


@frozen
class PaidSubscription:
    """A subscription that its provider still charges for."""

    provider: str
    provider_subscription_id: str | None = field(repr=False)


@frozen
class DeletionResult:
    """Result of a completed deletion, with its signed receipt."""

    deleted_at: datetime
    receipt: str = field(repr=False)
