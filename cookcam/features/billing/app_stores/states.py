"""What each store's words mean for a subscription.

| Apple                  | Google                   | status    | entitles                     |
|------------------------|--------------------------|-----------|------------------------------|
| trial                  | active, a free trial     | trialing  | to the end of the period     |
| active                 | active                   | active    | to the end of the period     |
| active, will not renew | canceled, before its end | active    | the same, and ends then      |
| grace                  |                          | past_due  | to the end of the grace      |
| billing retry          | on hold, in grace period | past_due  | to 7 days after the period   |
| expired                | expired, revoked, paused | expired   | no                           |
| refunded, revoked      |                          | cancelled | no                           |
|                        | pending                  | none yet  | no                           |
| anything else          | anything else            | by its end: active until then, then expired |

Source: `spec/payments-and-gamification.md` §3.6, §7.4, §7.5.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import cast, get_args
from uuid import UUID

from cookcam.features.billing.app_stores.models import Purchase, hash_of
from cookcam.features.billing.errors import PurchasePending, PurchaseRejected
from cookcam.features.billing.tiers.models import (
    Interval,
    Platform,
    Product,
    Status,
    Subscription,
    product_of,
)
from cookcam.integrations.app_store import AppleSubscription
from cookcam.integrations.google_play import GoogleSubscription, State

_OF_APPLE: Mapping[int, Status] = {
    1: "active",
    2: "expired",
    3: "past_due",
    4: "past_due",
    5: "cancelled",
}

_OF_GOOGLE: Mapping[State, Status | None] = {
    "PENDING": None,
    "ACTIVE": "active",
    "PAUSED": "expired",
    "IN_GRACE_PERIOD": "past_due",
    "ON_HOLD": "past_due",
    "CANCELED": "active",
    "EXPIRED": "expired",
    "PENDING_PURCHASE_CANCELED": "expired",
}


def of_apple(told: AppleSubscription) -> Purchase:
    """Raises PurchaseRejected for a product that is not ours."""
    status = _apple_status(told)
    return Purchase(
        product=_product("ios", told.product_id),
        store_key=told.original_transaction_id,
        subscription_id=told.original_transaction_id,
        transaction_id=told.original_transaction_id,
        environment=told.environment,
        status=status,
        period_start=_before(told.purchased_at, told.expires_at),
        period_end=told.expires_at,
        as_of=told.as_of,
        will_end=told.renews is False and status in ("active", "trialing"),
        canceled_at=told.revoked_at,
        refunded=told.revoked_at is not None,
        grace_until=told.grace_until if status == "past_due" else None,
        account=_account(told.account_token),
        evidence={
            "transactionId": told.transaction_id,
            "originalTransactionId": told.original_transaction_id,
            "productId": told.product_id,
            "expiresDate": told.expires_at.isoformat(),
            "status": told.status,
            "autoRenews": told.renews,
            "trial": told.trial,
            "revocationDate": told.revoked_at.isoformat() if told.revoked_at else None,
        },
    )


def _apple_status(told: AppleSubscription) -> Status:
    if told.revoked_at is not None:
        return "cancelled"
    status = _OF_APPLE.get(told.status or 0)
    if status is None and told.expires_at > told.as_of:
        status = "active"
    elif status is None:
        status = "past_due" if told.in_retry else "expired"
    return "trialing" if status == "active" and told.trial else status


def of_google(
    told: GoogleSubscription, *, refunded: bool = False, known: Subscription | None = None
) -> Purchase:
    """`known` is the existing row of the token: where Google tells no item, product and period are
    its. Raises PurchaseRejected for a product that is not ours, PurchasePending where Google tells
    none yet.
    """
    product_id = told.product_id or (known.product_id if known is not None else None)
    status = _google_status(told, known)
    if product_id is None:
        if status in ("expired", "cancelled"):
            raise PurchaseRejected.because("Subscription expired", "expired")
        raise PurchasePending.now()
    product = _product("android", product_id)
    ends = told.expires_at or (known.current_period_end if known is not None else told.as_of)
    started = told.started_at or ends
    # Google tells when it all began and when this period ends, not when this period began.
    begins = max(started, _earlier(ends, product.interval))
    return Purchase(
        product=product,
        store_key=hash_of(told.token),
        subscription_id=told.token,
        transaction_id=told.order_id or "",
        environment="sandbox" if told.test else "production",
        status=status,
        period_start=_before(begins, ends),
        period_end=ends,
        as_of=told.as_of,
        will_end=status in ("active", "trialing") and not told.renews,
        canceled_at=told.cancelled_at,
        refunded=refunded,
        account=_account(told.account_token),
        acknowledged=told.acknowledged,
        linked=told.linked_token,
        evidence=told.audit(),
    )


def _google_status(told: GoogleSubscription, known: Subscription | None) -> Status | None:
    if told.state in get_args(State):
        status = _OF_GOOGLE[cast("State", told.state)]
    else:
        ends = told.expires_at or (known.current_period_end if known is not None else None)
        status = None if ends is None else "active" if ends > told.as_of else "expired"
    return "trialing" if status == "active" and told.trial else status


def _product(platform: Platform, product_id: str) -> Product:
    product = product_of(platform, product_id)
    if product is None:
        raise PurchaseRejected.because("Unknown product", "unknown_product")
    return product


def _account(text: str | None) -> UUID | None:
    """Apple wants a UUID there; what else somebody put in names nobody."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _before(begins: datetime, ends: datetime) -> datetime:
    """A period that was cut off as it began is still one."""
    return min(begins, ends - timedelta(seconds=1))


def _earlier(at: datetime, interval: Interval) -> datetime:
    year, month = (at.year - 1, at.month) if interval == "year" else (at.year, at.month - 1)
    if month == 0:
        year, month = year - 1, 12
    day = min(at.day, calendar.monthrange(year, month)[1])
    return at.replace(year=year, month=month, day=day)
