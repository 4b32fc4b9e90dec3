"""Parsing of Stripe's objects in all documented shapes: optional fields null or absent, other API
versions, several items. A parser returns an object or raises MalformedObject.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.integrations.stripe.accounts import Account, Payout, Transfer
from cookcam.integrations.stripe.billing import (
    CheckoutSession,
    Invoice,
    Price,
    Subscription,
)
from cookcam.integrations.stripe.charges import Charge, Dispute, PaymentIntent, Refund
from cookcam.integrations.stripe.events import Event
from cookcam.integrations.stripe.reading import MalformedObject
from cookcam.integrations.stripe.requests import StripeResponse, parse_page
from cookcam.sandbox.stripe import Behaviour, shapes
from cookcam.sandbox.stripe.money import Money
from cookcam.sandbox.stripe.state import StripeState
from cookcam.sandbox.stripe.store import Store
from cookcam.sandbox.stripe.subscriptions import Subscription as Sold

NOW = 1_750_000_000
MONTH = 30 * 86_400


FAKE = Money(StripeState(Store(frozen=NOW), Behaviour(), lambda event: None))


def subscription() -> dict[str, Any]:
    sold = Sold("sub_1", "cus_1", "si_1", "price_1", "active", NOW, NOW, NOW + MONTH)
    return shapes.subscription(sold, price())


def price() -> dict[str, Any]:
    fields = shapes.price("prod_1", 399, "usd", "month")
    return shapes.new_object("price", "price_1", NOW, **fields)


def invoice() -> dict[str, Any]:
    sold = Sold("sub_1", "cus_1", "si_1", "price_1", "active", NOW, NOW, NOW + MONTH)
    line = shapes.invoice_line("il_1", price(), 399, NOW, NOW + MONTH, "si_1", False)
    fields = shapes.invoice("in_1", sold, "subscription_cycle", "usd", [line])
    made = shapes.new_object("invoice", "in_1", NOW, period_end=NOW, **fields)
    return {**made, "status": "paid", "amount_paid": 399, "total_taxes": [{"amount": 30}]}


def intent(customer: str | None = "cus_1") -> dict[str, Any]:
    return FAKE.state.create_intent(399, "usd", customer)


def charge() -> dict[str, Any]:
    paid = intent()
    FAKE.confirm(paid["id"])
    return FAKE.state.store.get("charge", paid["latest_charge"])


def account() -> dict[str, Any]:
    return FAKE.onboard(FAKE.state.create("account", capabilities={"transfers": "inactive"})["id"])


def session() -> dict[str, Any]:
    return {
        "id": "cs_1",
        "url": "https://pay.test/",
        "mode": "subscription",
        "status": "complete",
        "payment_status": "paid",
        "subscription": "sub_1",
        "customer": "cus_1",
        "client_reference_id": "x",
        "metadata": {"user_id": "x"},
        "expires_at": NOW,
    }


def event() -> dict[str, Any]:
    return {
        "id": "evt_1",
        "object": "event",
        "type": "invoice.paid",
        "created": NOW,
        "livemode": False,
        "api_version": "2025-05-28.basil",
        "account": None,
        "data": {"object": invoice(), "previous_attributes": {"status": "open"}},
    }


OBJECTS: list[tuple[Callable[[Any], Any], dict[str, Any]]] = [
    (Subscription.of, subscription()),
    (Price.of, price()),
    (Invoice.of, invoice()),
    (Charge.of, charge()),
    (Refund.of, FAKE.refund(charge()["id"])),
    (Dispute.of, FAKE.dispute(charge()["id"])),
    (PaymentIntent.of, intent(None)),
    (CheckoutSession.of, session()),
    (Event.of, event()),
    (Account.of, account()),
    (Transfer.of, FAKE.transfer(399, account()["id"], currency="usd")),
    (Payout.of, FAKE.pay_out(account()["id"], 399)),
]

REPLACEMENTS = st.sampled_from(
    [None, ..., 0, -1, 10**30, True, 1.5, "", "later", [], [None], {}, {"data": [None]}]
)
"""Values that replace a field's value; `...` removes the field."""


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def put(document: Any, path: tuple[Any, ...], value: object) -> None:
    for key in path[:-1]:
        try:
            document = document[key]
        except (KeyError, IndexError, TypeError):
            return  # removed by another change
    if not isinstance(document, dict):
        return
    if value is ...:
        document.pop(path[-1], None)
    else:
        document[path[-1]] = value


@given(st.data())
def test_any_field_may_be_absent_null_or_of_another_type(data: st.DataObject):
    read, document = data.draw(st.sampled_from(OBJECTS))
    changed = deepcopy(document)
    paths = st.sampled_from(sorted(places(document), key=str))
    for path, value in data.draw(st.dictionaries(paths, REPLACEMENTS, max_size=6)).items():
        put(changed, path, value)
    with contextlib.suppress(MalformedObject):
        assert read(changed) is not None


@pytest.mark.parametrize(
    "absent",
    [
        ("cancel_at",),
        ("canceled_at", "ended_at", "trial_end", "trial_start"),
        ("schedule", "latest_invoice", "metadata", "cancel_at_period_end"),
    ],
)
@pytest.mark.parametrize("remove", [True, False])
def test_subscription_without_optional_fields_is_parsed(absent: tuple[str, ...], remove: bool):
    document = subscription()
    for name in absent:
        put(document, (name,), ... if remove else None)
    read = Subscription.of(document)
    assert (read.id, read.cancel_at, read.cancel_at_period_end) == ("sub_1", None, False)


@pytest.mark.parametrize("decimal", [None, "399.5"])
def test_price_without_an_amount_in_whole_cents_is_parsed(decimal: str | None):
    document = subscription()
    document["items"]["data"][0]["price"] |= {"unit_amount": None, "unit_amount_decimal": decimal}
    assert Subscription.of(document).items[0].price.amount_cents is None


def test_empty_period_lasts_one_second():
    document = subscription()
    document["status"] = "canceled"
    document["items"]["data"][0] |= {"current_period_start": NOW, "current_period_end": NOW}
    (item,) = Subscription.of(document).items
    assert item.current_period_end == datetime.fromtimestamp(NOW, UTC)
    assert (item.current_period_end - item.current_period_start).total_seconds() == 1


def test_malformed_addon_does_not_hide_our_item():
    document = subscription()
    document["items"]["data"].insert(0, {"id": "si_0", "price": None})
    assert [item.id for item in Subscription.of(document).items] == ["si_1"]


@pytest.mark.parametrize(
    ("cancel_at", "ends"),
    [(None, False), (NOW + MONTH, True), (NOW + 60, True), (NOW + 2 * MONTH, False)],
)
def test_cancellation_date_within_the_period_ends_with_it(cancel_at: int | None, ends: bool):
    document = {**subscription(), "cancel_at": cancel_at, "cancel_at_period_end": False}
    read = Subscription.of(document)
    assert read.ends_with(read.items[0]) is ends


class TestVersionsBeforeBasil:
    def test_period_of_a_subscription_is_parsed(self):
        document = subscription()
        (item,) = document["items"]["data"]
        period = {name: item.pop(name) for name in ("current_period_start", "current_period_end")}
        assert Subscription.of({**document, **period}) == Subscription.of(subscription())

    def test_subscription_of_an_invoice_is_parsed(self):
        document = invoice()
        parent = document.pop("parent")["subscription_details"]
        (line,) = document["lines"]["data"]
        del line["parent"], document["total_taxes"]
        document |= {
            "subscription": "sub_1",
            "subscription_details": {"metadata": parent["metadata"]},
            "total_tax_amounts": [{"amount": 30}],
        }
        assert Invoice.of(document) == Invoice.of(invoice())
        document["total_tax_amounts"], document["tax"] = None, 30
        assert Invoice.of(document) == Invoice.of(invoice())

    def test_proration_is_a_field_of_the_line(self):
        document = invoice()
        (line,) = document["lines"]["data"]
        later = {"start": NOW, "end": NOW + 2 * MONTH}
        document["lines"]["data"].append(
            {**line, "parent": None, "proration": True, "period": later}
        )
        assert Invoice.of(document).period_end == datetime.fromtimestamp(NOW + MONTH, UTC)


class TestLists:
    def test_malformed_row_is_left_out_and_counted(self):
        good = subscription()
        for bad in ({**good, "status": None}, {**good, "items": None}, None, "sub_2", 7):
            document = {"data": [good, bad, good], "has_more": False}
            page = parse_page(StripeResponse(document, datetime.now(UTC)), Subscription.of)
            assert ([one.id for one in page.items], page.unreadable) == (["sub_1", "sub_1"], 1)
            assert page.next_after is None

    def test_next_page_follows_a_malformed_last_row(self):
        document = {"data": [subscription(), {"id": "sub_2"}], "has_more": True}
        page = parse_page(StripeResponse(document, datetime.now(UTC)), Subscription.of)
        assert (page.next_after, page.unreadable) == ("sub_2", 1)

    @pytest.mark.parametrize("data", [[], [None], [{"object": "subscription"}], "rows", 7])
    def test_page_without_an_id_for_the_next_page_is_malformed(self, data: Any):
        with pytest.raises(MalformedObject):
            parse_page(
                StripeResponse({"data": data, "has_more": True}, datetime.now(UTC)), Subscription.of
            )
