"""Subscriptions of other shapes than those our checkout makes: add-ons, cancellations at a date,
prices without an amount, other products of the same account, events of older API versions.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from tests.features.conftest import ApiUser
from tests.support.stripe_billing import BillingApp

DAY = 86_400


@pytest.fixture
async def ann(billing: BillingApp) -> ApiUser:
    return await billing.person("Ann")


def addon(item: dict[str, Any], **price: Any) -> dict[str, Any]:
    """An item of another product, monthly for 1.50, that ends five days after the given one."""
    its_price = {**item["price"], "id": "price_addon", "product": "prod_addon", "unit_amount": 150}
    end = item["current_period_end"] + 5 * DAY
    return {**item, "id": "si_addon", "price": {**its_price, **price}, "current_period_end": end}


def with_addon(subscription: dict[str, Any], **price: Any) -> dict[str, Any]:
    """The same with an add-on before the item that our checkout sold."""
    received = deepcopy(subscription)
    (item,) = received["items"]["data"]
    received["items"]["data"] = [addon(item, **price), item]
    return received


async def pay(billing: BillingApp, who: ApiUser, tier: int = 2) -> dict[str, Any]:
    """Pays a checkout; the subscription at Stripe, of which no event was delivered."""
    session = await billing.begin(who, tier)
    paid = billing.stripe.pay(session["id"])
    return billing.stripe.get("subscription", paid["subscription"])


async def deliver_without_failure(billing: BillingApp) -> None:
    await billing.deliver_all()
    assert [line for line in billing.logs if line["log_level"] == "error"] == []


class TestCancelledAtADate:
    async def test_a_cancellation_in_the_portal_is_shown_and_can_be_taken_back(
        self, billing: BillingApp, ann: ApiUser
    ):
        bought = await billing.buy(ann)
        end = int((await billing.row(bought)).current_period_end.timestamp())
        billing.stripe.cancel_at(bought, end)
        assert billing.stripe.get("subscription", bought)["cancel_at_period_end"] is False
        await billing.deliver_all()
        assert (await billing.status(ann))["cancel_at_period_end"] is True
        response = await ann.post("/subscription/change-tier", {"tierId": 2})
        assert response.status_code == 200, response.text
        assert billing.stripe.get("subscription", bought)["cancel_at"] is None
        assert (await billing.status(ann))["cancel_at_period_end"] is False

    async def test_an_upgrade_takes_it_back(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        end = int((await billing.row(bought)).current_period_end.timestamp())
        billing.stripe.cancel_at(bought, end)
        await billing.deliver_all()
        response = await ann.post("/subscription/change-tier", {"tierId": 3})
        assert response.status_code == 200, response.text
        assert billing.stripe.get("subscription", bought)["cancel_at"] is None
        assert await billing.has(ann) == "creator"

    async def test_a_date_after_the_next_renewal_is_no_end_of_this_period(
        self, billing: BillingApp, ann: ApiUser
    ):
        bought = await billing.buy(ann)
        end = int((await billing.row(bought)).current_period_end.timestamp())
        billing.stripe.cancel_at(bought, end + 20 * DAY)
        await billing.deliver_all()
        assert (await billing.status(ann))["cancel_at_period_end"] is False
        billing.stripe.advance_to(end + 2 * 3600)
        await billing.deliver_all()
        assert (await billing.status(ann))["cancel_at_period_end"] is True


class TestSeveralItems:
    @pytest.mark.parametrize("price", [{}, {"unit_amount": None}, {"unit_amount": 999}])
    async def test_a_new_subscription_with_an_addon_first_has_the_tier_and_its_period(
        self, billing: BillingApp, ann: ApiUser, price: dict[str, Any]
    ):
        known = await pay(billing, ann)
        shown = with_addon(known, **price)
        billing.stripe.reshape(known["id"], items=shown["items"])
        for event in billing.new():
            if event["data"]["object"]["id"] == known["id"]:
                event["data"]["object"]["items"] = shown["items"]
        await deliver_without_failure(billing)
        row = await billing.row(known["id"])
        (item,) = known["items"]["data"]
        assert (row.tier_id, row.status, row.product_id) == (2, "active", item["price"]["product"])
        assert row.current_period_end.timestamp() == item["current_period_end"]
        response = await ann.post("/subscription/refresh-status", {})
        assert response.json()["tier_slug"] == "regular"

    async def test_later_addon_changes_nothing_and_the_tier_can_be_upgraded(
        self, billing: BillingApp, ann: ApiUser
    ):
        bought = await billing.buy(ann)
        before = await billing.row(bought)
        billing.stripe.reshape(
            bought, items=with_addon(billing.stripe.get("subscription", bought))["items"]
        )
        response = await ann.post("/subscription/refresh-status", {})
        assert response.status_code == 200
        after = await billing.row(bought)
        assert (after.tier_id, after.current_period_end, after.product_id) == (
            before.tier_id,
            before.current_period_end,
            before.product_id,
        )
        # The fake rejects changes of an item that it did not sell.
        response = await ann.post("/subscription/change-tier", {"tierId": 3})
        assert response.status_code == 200, response.text


class TestOtherProducts:
    async def test_a_price_without_an_amount_of_another_product_changes_nothing(
        self, billing: BillingApp, ann: ApiUser
    ):
        (other,) = billing.stripe.stock(1, events=True)
        (event,) = billing.new("customer.subscription.created")
        event["data"]["object"]["items"]["data"][0]["price"]["unit_amount"] = None
        assert (await billing.deliver(event)).json()["processed"] is True
        assert await billing.ledger.find("stripe", other) is None

    async def test_our_subscription_at_a_price_without_an_amount_has_its_tier(
        self, billing: BillingApp, ann: ApiUser
    ):
        known = await pay(billing, ann)
        shown = deepcopy(known["items"])
        shown["data"][0]["price"] |= {"unit_amount": None, "billing_scheme": "tiered"}
        billing.stripe.reshape(known["id"], items=shown)
        for event in billing.new():
            if event["data"]["object"]["id"] == known["id"]:
                event["data"]["object"]["items"] = shown
        await deliver_without_failure(billing)
        assert await billing.has(ann) == "regular"


async def test_a_subscription_that_is_cancelled_as_it_begins_ends(
    billing: BillingApp, ann: ApiUser
):
    bought = await billing.buy(ann)
    received = billing.stripe.get("subscription", bought)
    (item,) = received["items"]["data"]
    at = item["current_period_start"]
    items = {**received["items"], "data": [{**item, "current_period_end": at}]}
    billing.stripe.reshape(bought, status="canceled", canceled_at=at, ended_at=at, items=items)
    event = {
        **billing.stripe.events[-1],
        "id": f"evt_{uuid4().hex}",
        "type": "customer.subscription.deleted",
        "data": {"object": billing.stripe.get("subscription", bought)},
    }
    response = await billing.deliver(event)
    assert (response.status_code, response.json()["processed"]) == (200, True)
    assert (await billing.row(bought)).status == "cancelled"
    assert await billing.has(ann) == "free"


class TestVersionsBeforeBasil:
    def older(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event as an endpoint of version 2024-06-20 is sent it."""
        received = deepcopy(event)
        received["api_version"] = "2024-06-20"
        thing = received["data"]["object"]
        if thing["object"] == "subscription":
            for item in thing["items"]["data"]:
                for name in ("current_period_start", "current_period_end"):
                    thing[name] = item.pop(name)
        if thing["object"] == "invoice":
            details = thing.pop("parent")["subscription_details"]
            thing["subscription"] = details["subscription"]
            thing["subscription_details"] = {"metadata": details["metadata"]}
            thing["total_tax_amounts"] = thing.pop("total_taxes")
            for line in thing["lines"]["data"]:
                line["proration"] = line.pop("parent")["subscription_item_details"]["proration"]
        return received

    async def test_a_purchase_and_a_renewal_count(self, billing: BillingApp, ann: ApiUser):
        known = await pay(billing, ann)
        for event in billing.new():
            assert (await billing.deliver(self.older(event))).json()["processed"] is True
        assert await billing.has(ann) == "regular"
        billing.stripe.advance(31 * DAY)
        for event in billing.new():
            assert (await billing.deliver(self.older(event))).json()["processed"] is True
        assert await billing.has(ann) == "regular"
        refs = {receipt.ref for receipt in billing.notes.receipts}
        assert len(refs) == 2
        row = await billing.row(known["id"])
        shown = billing.stripe.get("subscription", known["id"])["items"]["data"][0]
        assert row.current_period_end.timestamp() == shown["current_period_end"]

    async def test_an_endpoint_of_another_version_is_reported_once(
        self, billing: BillingApp, ann: ApiUser
    ):
        await pay(billing, ann)
        for event in billing.new():
            await billing.deliver(self.older(event))
        reported = [line for line in billing.logs if "API version" in line["event"]]
        assert [line["api_version"] for line in reported] == ["2024-06-20"]


class TestUnreadable:
    """Signed events without the documented shape: stored and reported, and not requested again."""

    @pytest.mark.parametrize(
        "damage",
        [
            lambda received: received["data"]["object"].pop("id"),
            lambda received: received["data"]["object"].update(created="yesterday"),
            lambda received: received["data"]["object"].update(attempt_count=[]),
            lambda received: received["data"]["object"].update(lines={"data": [5]}),
            lambda received: received["data"]["object"].update(period_end=10**18, lines=7),
            lambda received: received.update(created=10**18),
            lambda received: received.update(data={"object": []}),
            lambda received: received.update(api_version=5),
        ],
    )
    async def test_an_unreadable_event_is_a_dead_letter_at_once(
        self, billing: BillingApp, ann: ApiUser, damage: Any
    ):
        await pay(billing, ann)
        [received] = billing.new("invoice.paid")
        damaged = deepcopy(received)
        damage(damaged)
        response = await billing.deliver(damaged)
        assert (response.status_code, response.json()["reason"]) == (200, "unreadable")
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert (stored["status"], stored["error"]) == ("failed", "unreadable")
        assert await billing.sql(
            "select attempts, next_attempt_at from stripe_webhook_events where event_id = %(id)s",
            id=received["id"],
        ) == [(10, None)]
        assert "webhook given up" in [line["event"] for line in billing.logs]
        assert (await billing.status(ann))["tier_slug"] == "free"
        # Resent once its cause is fixed.
        assert (await billing.deliver(received)).json()["processed"]
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_a_body_without_an_id_is_rejected(self, billing: BillingApp, ann: ApiUser):
        await pay(billing, ann)
        [received] = billing.new("invoice.paid")
        for name in ("id", "type"):
            for value in (None, "", 5, "a\0b", "x" * 300):
                assert (await billing.deliver({**received, name: value})).status_code == 400
