"""What the stores tell in shapes of which this program knows a part: it answers for that part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing

from cookcam.features.billing.app_stores.proceeds import minor_units
from cookcam.features.billing.app_stores.states import of_google
from cookcam.features.billing.errors import PurchasePending, PurchaseRejected
from cookcam.integrations.app_store.receipts import subscription_of as receipt_of
from cookcam.integrations.google_play.models import subscription_of
from cookcam.sandbox.app_store.purchases import BILLING_RETRY, GRACE
from tests.support.app_stores import StoresApp, assert_has, show

NOW = datetime.now(UTC)
MONTHLY = "cookcam_pro_monthly"


def text(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def google(**changes: Any) -> dict[str, Any]:
    received = {
        "subscriptionState": "SUBSCRIPTION_STATE_ACTIVE",
        "startTime": text(NOW - timedelta(days=5)),
        "acknowledgementState": "ACKNOWLEDGEMENT_STATE_ACKNOWLEDGED",
        "lineItems": [
            {
                "productId": MONTHLY,
                "expiryTime": text(NOW + timedelta(days=5)),
                "autoRenewingPlan": {"autoRenewEnabled": True},
            }
        ],
    }
    return {**received, **changes}


def read(received: dict[str, Any]) -> Any:
    return subscription_of("token", received, NOW, lambda product: product.startswith("cookcam"))


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        ("3.99", "USD", 399),
        ("0.005", "eur", 1),
        ("480", "JPY", 480),
        ("480.5", "jpy", 481),
        ("55000", "VND", 55_000),
        ("1.234", "KWD", 1_234),
    ],
)
def test_amounts_are_in_the_smallest_unit_of_their_currency(amount: str, currency: str, minor: int):
    assert minor_units(Decimal(amount), currency) == minor


class TestGoogle:
    @pytest.mark.parametrize(("days", "status"), [(5, "active"), (-1, "expired")])
    def test_an_unknown_state_is_answered_by_the_end_of_the_period(self, days: int, status: str):
        item = {"productId": MONTHLY, "expiryTime": text(NOW + timedelta(days=days))}
        received = read(google(subscriptionState="SUBSCRIPTION_STATE_NEW", lineItems=[item]))
        assert received.state == "NEW"
        assert of_google(received).status == status

    def test_an_unknown_state_without_an_end_is_none_yet(self):
        item = {"productId": MONTHLY, "expiryTime": None}
        received = read(google(subscriptionState="SUBSCRIPTION_STATE_NEW", lineItems=[item]))
        assert of_google(received).status is None

    @pytest.mark.parametrize("items", [[], None, [None], [{}], ["x"]])
    def test_no_items_are_no_product(self, items: Any):
        received = read(google(lineItems=items))
        assert received.product_id is None
        with pytest.raises(PurchasePending):
            of_google(received)
        over = read(google(lineItems=items, subscriptionState="SUBSCRIPTION_STATE_EXPIRED"))
        with pytest.raises(PurchaseRejected):
            of_google(over)

    @pytest.mark.parametrize("end", [None, 7, ...])
    def test_one_item_without_its_end_does_not_hide_another(self, end: Any):
        (item,) = google()["lineItems"]
        bad: dict[str, Any] = {"productId": MONTHLY, "expiryTime": end}
        if end is ...:
            del bad["expiryTime"]
        for items in ([bad, item], [item, bad]):
            received = read(google(lineItems=items))
            assert received.expires_at == NOW + timedelta(days=5)

    def test_null_is_absent(self):
        received = read(
            google(
                testPurchase=None,
                canceledStateContext={"userInitiatedCancellation": None},
                externalAccountIdentifiers=None,
                linkedPurchaseToken=None,
            )
        )
        assert (received.test, received.cancel_reason, received.account_token) == (
            False,
            None,
            None,
        )
        (item,) = google()["lineItems"]
        phases = {"freeTrial": None, "introductoryPrice": None, "basePrice": {}}
        received = read(google(lineItems=[{**item, "offerPhase": phases}]))
        assert (received.trial, received.discounted) == (False, False)

    def test_a_prepaid_plan_ends_with_its_period(self):
        (item,) = google()["lineItems"]
        del item["autoRenewingPlan"]
        received = read(google(lineItems=[{**item, "prepaidPlan": {"allowExtendAfterTime": None}}]))
        assert of_google(received).will_end is True

    @pytest.mark.parametrize("time", ["2030-01-01T00:00:00.5+02:00", "2030-01-01T00:00:00+02:00"])
    def test_times_with_an_offset_are_read(self, time: str):
        received = read(google(lineItems=[{"productId": MONTHLY, "expiryTime": time}]))
        assert received.expires_at is not None
        assert received.expires_at.replace(microsecond=0) == datetime(2029, 12, 31, 22, tzinfo=UTC)


class TestAppleReceipts:
    def test_a_transaction_that_cannot_be_read_is_left_out(self):
        good = {
            "product_id": "com.cookcam.pro.monthly",
            "original_transaction_id": "1",
            "transaction_id": "2",
            "purchase_date_ms": "1000",
            "expires_date_ms": "2000",
        }
        for bad in ({**good, "product_id": None}, {**good, "expires_date_ms": "x"}, None, "y"):
            body = {
                "environment": "Production",
                "receipt": {"bundle_id": "b", "request_date_ms": "1500"},
                "latest_receipt_info": [bad, good],
                "pending_renewal_info": [
                    None,
                    {"original_transaction_id": "1", "grace_period_expires_date_ms": "2500"},
                ],
            }
            received = receipt_of(body, bundle_id="b", product_id=None, known=lambda product: True)
            assert received.transaction_id == "2"
            assert received.grace_until == datetime.fromtimestamp(2.5, UTC)


class TestGrace:
    async def lapse(self, stores_app: StoresApp, ended: timedelta, grace: timedelta | None) -> Any:
        """A subscription whose payment failed at its end, `ended` ago."""
        ann = await stores_app.person()
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        end = datetime.now(UTC) - ended
        bought.replace_newest(expires_at=end, purchased_at=end - timedelta(days=30))
        bought.status = GRACE if grace is not None else BILLING_RETRY
        bought.grace_until = None if grace is None else end + grace
        stores_app.apple.endpoint = "http://cookcam.test/api/v1/subscription/webhook/apple"
        await stores_app.apple.notify(bought, "DID_FAIL_TO_RENEW", "GRACE_PERIOD")
        assert stores_app.apple.statuses[-1] == 200
        return ann, bought

    @pytest.mark.parametrize(
        ("ended", "grace", "tier"),
        [(10, 16, "regular"), (10, 3, "free"), (4, 3, "free"), (4, None, "regular")],
    )
    async def test_grace_lasts_until_the_date_that_apple_reports(
        self, stores_app: StoresApp, ended: int, grace: int | None, tier: Any
    ):
        days = None if grace is None else timedelta(days=grace)
        ann, _ = await self.lapse(stores_app, timedelta(days=ended), days)
        await assert_has(ann, tier)

    async def test_end_of_grace_is_kept_by_a_later_notification_without_it(
        self, stores_app: StoresApp
    ):
        ann, bought = await self.lapse(stores_app, timedelta(days=4), timedelta(days=3))
        bought.status, bought.grace_until = BILLING_RETRY, None
        await stores_app.apple.notify(bought, "GRACE_PERIOD_EXPIRED")
        await assert_has(ann, "free")


async def test_a_bad_row_of_apples_list_hides_no_other(stores_app: StoresApp, monkeypatch: Any):
    ann = await stores_app.person()
    bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
    client = stores_app.container.purchases.app_store
    api = await client._api("production")
    ask = api._execute_request

    async def spoiled(*args: Any, **kwargs: Any) -> Any:
        response = await ask(*args, **kwargs)
        received = response.json()
        received["data"][0]["lastTransactions"][:0] = [None, {"status": "x"}, 7]
        received["data"].insert(0, None)
        monkeypatch.setattr(response, "json", lambda: received)
        return response

    monkeypatch.setattr(api, "_execute_request", spoiled)
    with structlog.testing.capture_logs() as logs:
        received = await client.subscription(bought.id, "production")
    assert received.original_transaction_id == bought.id
    assert "row of an App Store list cannot be read" in [line["event"] for line in logs]
    assert ann.id


async def test_an_unknown_state_of_google_is_reported_once_and_answered(stores_app: StoresApp):
    ann = await stores_app.person()
    bought = await stores_app.google.buy(MONTHLY, account_token=ann.id)
    bought.state = f"NEW_{uuid4().hex}"
    with structlog.testing.capture_logs() as logs:
        for _ in range(3):
            assert (await show(ann, bought)).status_code == 200
            await stores_app.sql(
                "delete from iap_validation_history where user_id = %(id)s", id=ann.id
            )
    await assert_has(ann, "regular")
    reported = [line for line in logs if line["event"] == "unknown shape of a Google purchase"]
    assert len(reported) == 1
