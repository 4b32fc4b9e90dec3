"""Parsing of amounts in orders of Google Play and receipts of the App Store."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from cookcam.integrations.app_store import receipts
from cookcam.integrations.google_play.models import GoogleMoney, order_of

ORDER: dict[str, Any] = {
    "orderId": "GPA.3345-1177-0000-12345..0",
    "purchaseToken": "token",
    "state": "PROCESSED",
    "createTime": "2026-08-01T00:00:00.123456789Z",
    "total": {"currencyCode": "USD", "units": "3", "nanos": 990000000},
    "tax": {"currencyCode": "USD"},
    "developerRevenueInBuyerCurrency": {"currencyCode": "USD", "units": "3", "nanos": 391500000},
    "orderHistory": {"processedEvent": {"eventTime": "2026-08-01T00:00:01Z"}},
}


def refund_event(state: str, units: str) -> dict[str, Any]:
    return {"state": state, "refundDetails": {"total": {"currencyCode": "USD", "units": units}}}


def test_order_is_parsed():
    order = order_of(ORDER)
    assert (order.id, order.state) == ("GPA.3345-1177-0000-12345..0", "PROCESSED")
    assert order.total == GoogleMoney(Decimal("3.99"), "USD")
    assert order.revenue == GoogleMoney(Decimal("3.3915"), "USD")
    assert (order.tax, order.returned) == (0, 0)
    assert order.created_at.isoformat() == "2026-08-01T00:00:00.123456+00:00"
    assert order_of({**ORDER, "developerRevenueInBuyerCurrency": {}}).revenue is None


@pytest.mark.parametrize("state", ["CANCELED", "PENDING_REFUND", "REFUNDED"])
def test_cancelled_and_refunded_orders_are_fully_returned(state: str):
    assert order_of({**ORDER, "state": state}).returned == Decimal("3.99")


def test_processed_partial_refunds_are_summed():
    parts = [
        refund_event("PROCESSED_SUCCESSFULLY", "1"),
        refund_event("PENDING", "1"),
        refund_event("PROCESSED_SUCCESSFULLY", "1"),
        {"state": "PROCESSED_SUCCESSFULLY"},
    ]
    partly = {"state": "PARTIALLY_REFUNDED", "orderHistory": {"partialRefundEvents": parts}}
    assert order_of({**ORDER, **partly}).returned == 2
    parts.append(refund_event("PROCESSED_SUCCESSFULLY", "9"))
    assert order_of({**ORDER, **partly}).returned == Decimal("3.99")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "STATE_UNSPECIFIED"},
        {"total": {}},
        {"total": None},
        {"createTime": ""},
        {"orderHistory": {"partialRefundEvents": [5]}},
        {"total": {"currencyCode": "USD", "units": "much"}},
    ],
)
def test_malformed_order_is_rejected(changes: dict[str, Any]):
    with pytest.raises((KeyError, TypeError, ValueError, AttributeError, ArithmeticError)):
        order_of({**ORDER, **changes})


@pytest.mark.parametrize(
    ("entry", "discounted", "shared"),
    [
        ({}, False, False),
        ({"is_in_intro_offer_period": "false"}, False, False),
        ({"is_in_intro_offer_period": "true"}, True, False),
        ({"promotional_offer_id": "back"}, True, False),
        ({"offer_code_ref_name": "code"}, True, False),
        ({"in_app_ownership_type": "FAMILY_SHARED"}, False, True),
        ({"in_app_ownership_type": "PURCHASED"}, False, False),
    ],
)
def test_receipts_have_offers_and_sharing_but_no_price(
    entry: dict[str, Any], discounted: bool, shared: bool
):
    entry_of_receipt = {
        "product_id": "p",
        "transaction_id": "2",
        "original_transaction_id": "1",
        "purchase_date_ms": "1000",
        "expires_date_ms": "2000",
        **entry,
    }
    payload = receipts.subscription_of(
        {
            "environment": "Production",
            "receipt": {"bundle_id": "b", "request_date_ms": "1500"},
            "latest_receipt_info": [entry_of_receipt],
        },
        bundle_id="b",
        product_id="p",
        known=lambda product: True,
    )
    assert (payload.discounted, payload.shared, payload.price) == (discounted, shared, None)
