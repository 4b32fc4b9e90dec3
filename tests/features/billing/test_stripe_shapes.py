"""Subscriptions of other shapes than those our checkout makes: add-ons, cancellations at a date,
prices without an amount, other products of the same account, events of older API versions.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy
from typing import Any
from uuid import uuid4

import pytest

from tests.features.conftest import Person
from tests.support.stripe_billing import Desk, open_desk

DAY = 86_400


@pytest.fixture
async def desk(database_url: str) -> AsyncIterator[Desk]:
    async with open_desk(database_url) as opened:
        yield opened


@pytest.fixture
async def ann(desk: Desk) -> Person:
    return await desk.person("Ann")


def addon(item: dict[str, Any], **price: Any) -> dict[str, Any]:
    """An item of another product, monthly for 1.50, that ends five days after the given one."""
    its_price = {**item["price"], "id": "price_addon", "product": "prod_addon", "unit_amount": 150}
    end = item["current_period_end"] + 5 * DAY
    return {**item, "id": "si_addon", "price": {**its_price, **price}, "current_period_end": end}


def with_addon(subscription: dict[str, Any], **price: Any) -> dict[str, Any]:
    """The same with an add-on before the item that our checkout sold."""
    told = deepcopy(subscription)
    (item,) = told["items"]["data"]
    told["items"]["data"] = [addon(item, **price), item]
    return told


async def pay(desk: Desk, who: Person, tier: int = 2) -> dict[str, Any]:
    """Pays a checkout; the subscription at Stripe, of which no event was delivered."""
    session = await desk.begin(who, tier)
    paid = desk.stripe.pay(session["id"])
    return desk.stripe.get("subscription", paid["subscription"])


async def deliver_without_failure(desk: Desk) -> None:
    await desk.deliver_all()
    assert [line for line in desk.logs if line["log_level"] == "error"] == []


class TestCancelledAtADate:
    async def test_a_cancellation_in_the_portal_is_shown_and_can_be_taken_back(
        self, desk: Desk, ann: Person
    ):
        bought = await desk.buy(ann)
        end = int((await desk.row(bought)).current_period_end.timestamp())
        desk.stripe.cancel_at(bought, end)
        assert desk.stripe.get("subscription", bought)["cancel_at_period_end"] is False
        await desk.deliver_all()
        assert (await desk.status(ann))["cancel_at_period_end"] is True
        answer = await ann.post("/subscription/change-tier", {"tierId": 2})
        assert answer.status_code == 200, answer.text
        assert desk.stripe.get("subscription", bought)["cancel_at"] is None
        assert (await desk.status(ann))["cancel_at_period_end"] is False

    async def test_an_upgrade_takes_it_back(self, desk: Desk, ann: Person):
        bought = await desk.buy(ann)
        end = int((await desk.row(bought)).current_period_end.timestamp())
        desk.stripe.cancel_at(bought, end)
        await desk.deliver_all()
        answer = await ann.post("/subscription/change-tier", {"tierId": 3})
        assert answer.status_code == 200, answer.text
        assert desk.stripe.get("subscription", bought)["cancel_at"] is None
        assert await desk.has(ann) == "creator"

    async def test_a_date_after_the_next_renewal_is_no_end_of_this_period(
        self, desk: Desk, ann: Person
    ):
        bought = await desk.buy(ann)
        end = int((await desk.row(bought)).current_period_end.timestamp())
        desk.stripe.cancel_at(bought, end + 20 * DAY)
        await desk.deliver_all()
        assert (await desk.status(ann))["cancel_at_period_end"] is False
        desk.stripe.advance_to(end + 2 * 3600)
        await desk.deliver_all()
        assert (await desk.status(ann))["cancel_at_period_end"] is True


class TestSeveralItems:
    @pytest.mark.parametrize("price", [{}, {"unit_amount": None}, {"unit_amount": 999}])
    async def test_a_new_subscription_with_an_addon_first_has_the_tier_and_its_period(
        self, desk: Desk, ann: Person, price: dict[str, Any]
    ):
        known = await pay(desk, ann)
        shown = with_addon(known, **price)
        desk.stripe.reshape(known["id"], items=shown["items"])
        for event in desk.new():
            if event["data"]["object"]["id"] == known["id"]:
                event["data"]["object"]["items"] = shown["items"]
        await deliver_without_failure(desk)
        row = await desk.row(known["id"])
        (item,) = known["items"]["data"]
        assert (row.tier_id, row.status, row.product_id) == (2, "active", item["price"]["product"])
        assert row.current_period_end.timestamp() == item["current_period_end"]
        answer = await ann.post("/subscription/refresh-status", {})
        assert answer.json()["tier_slug"] == "regular"

    async def test_an_addon_that_comes_later_changes_nothing_and_ours_can_be_upgraded(
        self, desk: Desk, ann: Person
    ):
        bought = await desk.buy(ann)
        before = await desk.row(bought)
        desk.stripe.reshape(
            bought, items=with_addon(desk.stripe.get("subscription", bought))["items"]
        )
        answer = await ann.post("/subscription/refresh-status", {})
        assert answer.status_code == 200
        after = await desk.row(bought)
        assert (after.tier_id, after.current_period_end, after.product_id) == (
            before.tier_id,
            before.current_period_end,
            before.product_id,
        )
        # The stand-in refuses to change an item that is not the one it sold.
        answer = await ann.post("/subscription/change-tier", {"tierId": 3})
        assert answer.status_code == 200, answer.text


class TestOtherProducts:
    async def test_a_price_without_an_amount_of_another_product_changes_nothing(
        self, desk: Desk, ann: Person
    ):
        (other,) = desk.stripe.stock(1, events=True)
        (event,) = desk.new("customer.subscription.created")
        event["data"]["object"]["items"]["data"][0]["price"]["unit_amount"] = None
        assert (await desk.deliver(event)).json()["processed"] is True
        assert await desk.ledger.find("stripe", other) is None

    async def test_our_subscription_at_a_price_without_an_amount_has_its_tier(
        self, desk: Desk, ann: Person
    ):
        known = await pay(desk, ann)
        shown = deepcopy(known["items"])
        shown["data"][0]["price"] |= {"unit_amount": None, "billing_scheme": "tiered"}
        desk.stripe.reshape(known["id"], items=shown)
        for event in desk.new():
            if event["data"]["object"]["id"] == known["id"]:
                event["data"]["object"]["items"] = shown
        await deliver_without_failure(desk)
        assert await desk.has(ann) == "regular"


async def test_a_subscription_that_is_cancelled_as_it_begins_ends(desk: Desk, ann: Person):
    bought = await desk.buy(ann)
    told = desk.stripe.get("subscription", bought)
    (item,) = told["items"]["data"]
    at = item["current_period_start"]
    items = {**told["items"], "data": [{**item, "current_period_end": at}]}
    desk.stripe.reshape(bought, status="canceled", canceled_at=at, ended_at=at, items=items)
    event = {
        **desk.stripe.events[-1],
        "id": f"evt_{uuid4().hex}",
        "type": "customer.subscription.deleted",
        "data": {"object": desk.stripe.get("subscription", bought)},
    }
    answer = await desk.deliver(event)
    assert (answer.status_code, answer.json()["processed"]) == (200, True)
    assert (await desk.row(bought)).status == "cancelled"
    assert await desk.has(ann) == "free"


class TestVersionsBeforeBasil:
    def older(self, event: dict[str, Any]) -> dict[str, Any]:
        """The event as an endpoint of version 2024-06-20 is sent it."""
        told = deepcopy(event)
        told["api_version"] = "2024-06-20"
        thing = told["data"]["object"]
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
        return told

    async def test_a_purchase_and_a_renewal_count(self, desk: Desk, ann: Person):
        known = await pay(desk, ann)
        for event in desk.new():
            assert (await desk.deliver(self.older(event))).json()["processed"] is True
        assert await desk.has(ann) == "regular"
        desk.stripe.advance(31 * DAY)
        for event in desk.new():
            assert (await desk.deliver(self.older(event))).json()["processed"] is True
        assert await desk.has(ann) == "regular"
        refs = {receipt.ref for receipt in desk.notes.receipts}
        assert len(refs) == 2
        row = await desk.row(known["id"])
        shown = desk.stripe.get("subscription", known["id"])["items"]["data"][0]
        assert row.current_period_end.timestamp() == shown["current_period_end"]

    async def test_an_endpoint_of_another_version_is_reported_once(self, desk: Desk, ann: Person):
        await pay(desk, ann)
        for event in desk.new():
            await desk.deliver(self.older(event))
        reported = [line for line in desk.logs if "API version" in line["event"]]
        assert [line["api_version"] for line in reported] == ["2024-06-20"]
