"""Purchases of both stores in one form, and their validations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

from attrs import field, frozen

from cookcam.features.billing.ledger.changes import Source, SubscriptionChange
from cookcam.features.billing.tiers.models import Platform, Product, Status, entitles

Environment = Literal["production", "sandbox"]
Validation = Literal["valid", "invalid", "pending", "error"]

SOURCES: Mapping[Platform, Source] = {"ios": "app_store", "android": "google_play"}


def hash_of(proof: str) -> str:
    """The hash of a receipt or purchase token; of a Google token also its store key."""
    return sha256(proof.encode()).hexdigest()


@frozen
class SubmittedPurchase:
    """What a client submits: a receipt or signed transaction of Apple, or a token of Google."""

    platform: Platform
    product_id: str | None
    proof: str = field(repr=False)

    @property
    def hash(self) -> str:
        return hash_of(self.proof)


@frozen
class PaidPeriod:
    """A paid period. `ref` identifies the payment; `net_cents` are the proceeds after fees."""

    ref: str
    net_cents: int
    currency: str
    at: datetime


@frozen
class ReturnedMoney:
    """The total refund of the payment `ref` up to `at`."""

    ref: str
    paid_cents: int
    back_cents: int
    currency: str
    at: datetime


@frozen
class Purchase:
    """A subscription as its store reports it.

    `store_key` binds it to its first user; `subscription_id` is the store's id. `status` is None
    while the payment is pending. `account` is the user id that the app sent with the purchase.
    `grace_until` is the end of the grace period, if the store reports it while a payment is
    overdue. `evidence` is stored for the audit. `paid` and `returned` are its latest payment and
    refund, once `StoreProceeds` has set them.
    """

    product: Product
    store_key: str
    subscription_id: str = field(repr=False)
    transaction_id: str
    environment: Environment
    status: Status | None
    period_start: datetime
    period_end: datetime
    as_of: datetime
    will_end: bool = False
    canceled_at: datetime | None = None
    refunded: bool = False
    account: UUID | None = None
    acknowledged: bool = True
    linked: str | None = field(default=None, repr=False)
    evidence: Mapping[str, Any] = field(factory=dict[str, Any])
    grace_until: datetime | None = None
    paid: PaidPeriod | None = None
    returned: Sequence[ReturnedMoney] = ()

    def entitles(self, at: datetime) -> bool:
        return self.status is not None and entitles(
            self.status, self.period_end, at, self.grace_until
        )

    def change(self, user_id: UUID, status: Status) -> SubscriptionChange:
        return SubscriptionChange(
            user_id=user_id,
            provider=self.product.platform,
            provider_subscription_id=self.subscription_id,
            tier_id=self.product.tier_id,
            status=status,
            current_period_start=self.period_start,
            current_period_end=self.period_end,
            as_of=self.as_of,
            cancel_at_period_end=self.will_end,
            canceled_at=self.canceled_at,
            product_id=self.product.id,
            refunded=self.refunded,
            grace_until=self.grace_until,
        )


@frozen
class Binding:
    """The owner of a purchase. `user_id` is None for a deleted account, which keeps it."""

    user_id: UUID | None


@frozen
class ValidationRecord:
    """A line of the history of validations."""

    status: Validation
    product_id: str
    user_id: UUID | None
    transaction_id: str | None
    store_key: str | None
    environment: Environment
    expires_at: datetime | None
    reason: str | None


@frozen
class ValidatedPurchase:
    """A valid purchase, for the response to the client."""

    platform: Platform
    product_id: str
    transaction_id: str
    environment: Environment
    subscription_id: str = field(repr=False)


@frozen
class UnacknowledgedPurchase:
    """A purchase that Google refunds unless it is acknowledged."""

    store_key: str
    product_id: str
    token: str = field(repr=False)
    attempts: int
