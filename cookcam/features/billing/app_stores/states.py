"""Mapping of the stores' subscription states to CookCam's.

| Apple                  | Google                   | status    | entitles                     |
|------------------------|--------------------------|-----------|------------------------------|
| trial                  | active, a free trial     | trialing  | to the end of the period     |
| active                 | active                   | active    | to the end of the period     |
| active, will not renew | canceled, period lasts   | active    | to the end of the period     |
| grace                  |                          | past_due  | to the end of the grace      |
| billing retry          | on hold, in grace period | past_due  | to 7 days after the period   |
| expired                | expired, revoked, paused | expired   | no                           |
| refunded, revoked      |                          | cancelled | no                           |
|                        | pending                  | none yet  | no                           |
| anything else          | anything else            | active    | to the end of the period;    |
|                        |                          |           | after it the row is expired  |
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


def of_apple(subscription: AppleSubscription) -> Purchase:
    """Raises PurchaseRejected for an unknown product."""
    status = _apple_status(subscription)
    return Purchase(
        product=_product("ios", subscription.product_id),
        store_key=subscription.original_transaction_id,
        subscription_id=subscription.original_transaction_id,
        transaction_id=subscription.original_transaction_id,
        environment=subscription.environment,
        status=status,
        period_start=_before(subscription.purchased_at, subscription.expires_at),
        period_end=subscription.expires_at,
        as_of=subscription.as_of,
        will_end=subscription.renews is False and status in ("active", "trialing"),
        canceled_at=subscription.revoked_at,
        refunded=subscription.revoked_at is not None,
        grace_until=subscription.grace_until if status == "past_due" else None,
        account=_account(subscription.account_token),
        evidence={
            "transactionId": subscription.transaction_id,
            "originalTransactionId": subscription.original_transaction_id,
            "productId": subscription.product_id,
            "expiresDate": subscription.expires_at.isoformat(),
            "status": subscription.status,
            "autoRenews": subscription.renews,
            "trial": subscription.trial,
            "revocationDate": subscription.revoked_at.isoformat()
            if subscription.revoked_at
            else None,
        },
    )


def _apple_status(subscription: AppleSubscription) -> Status:
    if subscription.revoked_at is not None:
        return "cancelled"
    status = _OF_APPLE.get(subscription.status or 0)
    if status is None and subscription.expires_at > subscription.as_of:
        status = "active"
    elif status is None:
        status = "past_due" if subscription.in_retry else "expired"
    return "trialing" if status == "active" and subscription.trial else status


def of_google(
    subscription: GoogleSubscription,
    *,
    refunded: bool = False,
    existing: Subscription | None = None,
) -> Purchase:
    """The purchase that Google reports.

    `existing` is the stored row of the token: its product and period are used when the report has
    no item. Raises PurchaseRejected for an unknown product, and PurchasePending while neither has a
    product.
    """
    product_id = subscription.product_id or (existing.product_id if existing is not None else None)
    status = _google_status(subscription, existing)
    if product_id is None:
        if status in ("expired", "cancelled"):
            raise PurchaseRejected.because("Subscription expired", "expired")
        raise PurchasePending.now()
    product = _product("android", product_id)
    ends = subscription.expires_at or (
        existing.current_period_end if existing is not None else subscription.as_of
    )
    started = subscription.started_at or ends
    # Google reports the start of the subscription and the end of the current period only.
    begins = max(started, _earlier(ends, product.interval))
    return Purchase(
        product=product,
        store_key=hash_of(subscription.token),
        subscription_id=subscription.token,
        transaction_id=subscription.order_id or "",
        environment="sandbox" if subscription.test else "production",
        status=status,
        period_start=_before(begins, ends),
        period_end=ends,
        as_of=subscription.as_of,
        will_end=status in ("active", "trialing") and not subscription.renews,
        canceled_at=subscription.cancelled_at,
        refunded=refunded,
        account=_account(subscription.account_token),
        acknowledged=subscription.acknowledged,
        linked=subscription.linked_token,
        evidence=subscription.audit(),
    )


def _google_status(
    subscription: GoogleSubscription, existing: Subscription | None
) -> Status | None:
    if subscription.state in get_args(State):
        status = _OF_GOOGLE[cast("State", subscription.state)]
    else:
        ends = subscription.expires_at or (
            existing.current_period_end if existing is not None else None
        )
        status = None if ends is None else "active" if ends > subscription.as_of else "expired"
    return "trialing" if status == "active" and subscription.trial else status


def _product(platform: Platform, product_id: str) -> Product:
    product = product_of(platform, product_id)
    if product is None:
        raise PurchaseRejected.because("Unknown product", "unknown_product")
    return product


def _account(text: str | None) -> UUID | None:
    """The user id that the app attached to the purchase; None for text that is no UUID."""
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _before(begins: datetime, ends: datetime) -> datetime:
    """The start, at least one second before the end. A period that is revoked when it begins would
    be empty, which the table does not allow."""
    return min(begins, ends - timedelta(seconds=1))


def _earlier(at: datetime, interval: Interval) -> datetime:
    year, month = (at.year - 1, at.month) if interval == "year" else (at.year, at.month - 1)
    if month == 0:
        year, month = year - 1, 12
    day = min(at.day, calendar.monthrange(year, month)[1])
    return at.replace(year=year, month=month, day=day)
