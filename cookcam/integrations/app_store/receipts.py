"""Apple's legacy `verifyReceipt` endpoint: its statuses and the parsing of its response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import structlog

from cookcam.integrations.app_store.models import AppleSubscription, Environment, moment
from cookcam.integrations.provider_calls import (
    ProviderMisconfigured,
    ProviderUnavailable,
    StoreRejected,
)

SANDBOX_RECEIPT, PRODUCTION_RECEIPT = 21007, 21008

_REJECTIONS: Mapping[int, tuple[str, str]] = {
    21000: ("The App Store could not read the request", "unreadable"),
    21002: ("The receipt data is malformed or missing", "malformed"),
    21003: ("The receipt could not be authenticated", "not_authentic"),
    21006: ("Subscription expired", "expired"),
    21010: ("The account of the receipt was not found or was deleted", "account_gone"),
}


def failure_of(status: int, body: Mapping[str, Any]) -> Exception:
    """The error of a status other than 0 and the two that name the other environment."""
    log = structlog.get_logger(__name__)
    if status in _REJECTIONS:
        if status == 21000:
            log.error("the App Store could not read our request", status=status)
        message, reason = _REJECTIONS[status]
        return StoreRejected(message, reason=reason)
    if status == 21004:
        log.error("the App Store rejected the shared secret", status=status)
        return ProviderMisconfigured()
    internal = status == 21009 or 21100 <= status <= 21199
    if internal and _flag(body.get("is-retryable")) is False:
        log.error("the App Store failed for good", status=status)
        return StoreRejected("The App Store could not validate the receipt", reason="internal")
    log.warning("the App Store could not validate a receipt", status=status)
    return ProviderUnavailable()


def subscription_of(
    body: Mapping[str, Any], *, bundle_id: str, product_id: str | None, known: Callable[[str], bool]
) -> AppleSubscription:
    """Parses the subscription to `product_id` (None: any `known` product) with the latest end.

    Its fields are those of its newest transaction, even for another product, since a subscription
    may change products. Raises StoreRejected for another app's receipt, and for one without such a
    subscription; ProviderUnavailable for a malformed response.
    """
    try:
        receipt = cast("dict[str, Any]", body["receipt"])
        if receipt.get("bundle_id") != bundle_id:
            raise StoreRejected("The receipt belongs to another app", reason="bundle")
        entries = _entries(body, receipt)
        wanted = [
            entry
            for entry in entries
            if (entry["product_id"] == product_id if product_id else known(entry["product_id"]))
        ]
        if not wanted:
            raise StoreRejected("Product mismatch", reason="product")
        chain = max(wanted, key=_end)["original_transaction_id"]
        newest = max(
            (entry for entry in entries if entry["original_transaction_id"] == chain), key=_order
        )
        return _subscription(body, receipt, newest)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        structlog.get_logger(__name__).error("the App Store's response cannot be parsed")
        raise ProviderUnavailable from None


def _entries(body: Mapping[str, Any], receipt: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The transactions of subscriptions; malformed ones are logged and left out."""
    listed: Any = body.get("latest_receipt_info") or receipt.get("in_app") or ()
    entries: list[dict[str, Any]] = []
    for payload in cast("list[Any]", listed):
        if isinstance(payload, dict) and cast("Any", payload).get("expires_date_ms") is None:
            continue  # not a subscription
        try:
            entry = cast("dict[str, Any]", payload)
            _order(entry)
            if not all(isinstance(entry[name], str) for name in _TEXT_FIELDS):
                raise TypeError
        except (KeyError, TypeError, ValueError, AttributeError):
            structlog.get_logger(__name__).error("transaction of a receipt cannot be read")
        else:
            entries.append(entry)
    return entries


_TEXT_FIELDS = ("product_id", "original_transaction_id", "transaction_id")


def _end(entry: Mapping[str, Any]) -> int:
    return int(entry["expires_date_ms"])


def _order(entry: Mapping[str, Any]) -> tuple[bool, int, int]:
    """Sorts by end; a transaction that an upgrade replaced is never the newest."""
    return (
        _flag(entry.get("is_upgraded")) is not True,
        _end(entry),
        int(entry["purchase_date_ms"]),
    )


def _subscription(
    body: Mapping[str, Any], receipt: Mapping[str, Any], entry: Mapping[str, Any]
) -> AppleSubscription:
    chain = entry["original_transaction_id"]
    pending: Any = body.get("pending_renewal_info") or ()
    renewals = (
        cast("dict[str, Any]", item)
        for item in cast("list[object]", pending)
        if isinstance(item, dict) and cast("Any", item).get("original_transaction_id") == chain
    )
    renewal = next(renewals, dict[str, Any]())
    cancelled = entry.get("cancellation_date_ms")
    grace = renewal.get("grace_period_expires_date_ms")
    environment: Environment = "sandbox" if body["environment"] == "Sandbox" else "production"
    return AppleSubscription(
        original_transaction_id=str(entry["original_transaction_id"]),
        transaction_id=str(entry["transaction_id"]),
        product_id=str(entry["product_id"]),
        environment=environment,
        purchased_at=moment(int(entry["purchase_date_ms"])),
        expires_at=moment(_end(entry)),
        as_of=moment(int(receipt["request_date_ms"])),
        renews=_flag(renewal.get("auto_renew_status")),
        trial=_flag(entry.get("is_trial_period")) is True,
        upgraded=_flag(entry.get("is_upgraded")) is True,
        revoked_at=moment(int(cancelled)) if cancelled else None,
        in_retry=_flag(renewal.get("is_in_billing_retry_period")) is True,
        account_token=entry.get("app_account_token"),
        discounted=_is_discounted(entry),
        shared=entry.get("in_app_ownership_type") == "FAMILY_SHARED",
        grace_until=moment(int(grace)) if grace else None,
    )


def _is_discounted(entry: Mapping[str, Any]) -> bool:
    offers = ("promotional_offer_id", "offer_code_ref_name")
    return _flag(entry.get("is_in_intro_offer_period")) is True or any(map(entry.get, offers))


def _flag(value: object) -> bool | None:
    """Parses Apple's flags: "true", "1", 1 and true."""
    if value is None:
        return None
    return str(value).lower() in ("true", "1")
