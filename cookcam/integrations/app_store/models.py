"""Models of the App Store, the same for receipts, signed transactions and the Server API."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal

from attrs import field, frozen

from cookcam.config.readers import Secret

Environment = Literal["production", "sandbox"]

ACTIVE, EXPIRED, BILLING_RETRY, GRACE, REVOKED = 1, 2, 3, 4, 5
"""`status` of an auto-renewable subscription, as the App Store Server API numbers it."""

ALL = 100_000
"""`revocationPercentage` of a full refund, in thousandths of a percent."""


@frozen
class Endpoints:
    """URLs of Apple's production and sandbox environments."""

    verify_receipt: str
    sandbox_verify_receipt: str
    server_api: str
    sandbox_server_api: str


@frozen
class AppStoreSettings:
    """`roots` are certificates in DER. Operations that need a missing setting are unavailable."""

    bundle_id: str
    endpoints: Endpoints
    app_apple_id: int | None = None
    shared_secret: Secret | None = None
    roots: Sequence[bytes] = ()
    issuer_id: str | None = None
    key_id: str | None = None
    private_key: Secret | None = field(default=None, repr=False)


@frozen
class AppleSubscription:
    """A subscription at Apple's time `as_of`: its newest transaction and its renewal.

    `grace_until` is the end of the billing grace period, if any. `status` is None when only the
    transaction was parsed, `renews` when Apple did not send it. `account_token` is the id that our
    app sent with the purchase.

    `price` is the paid price in units of `currency`; None where Apple does not send it, as in
    receipts. `discounted`: bought at the price of an offer. `shared`: paid by another family
    member. `revoked_part` is the refunded part of a revoked payment, of `ALL`.
    """

    original_transaction_id: str
    transaction_id: str
    product_id: str
    environment: Environment
    purchased_at: datetime
    expires_at: datetime
    as_of: datetime
    status: int | None = None
    renews: bool | None = None
    trial: bool = False
    upgraded: bool = False
    revoked_at: datetime | None = None
    in_retry: bool = False
    account_token: str | None = None
    price: Decimal | None = None
    currency: str | None = None
    discounted: bool = False
    shared: bool = False
    revoked_part: int = ALL
    grace_until: datetime | None = None


@frozen
class AppleNotification:
    """A verified version 2 notification; `subscription` is None if it is about none."""

    id: str
    type: str
    subtype: str | None
    environment: Environment
    signed_at: datetime
    subscription: AppleSubscription | None


def moment(milliseconds: int) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
