"""A subscription from its purchase to its end: on each step status, gates and Stripe agree."""

from __future__ import annotations

import pytest

from tests.features.conftest import ApiUser
from tests.support.stripe_billing import BillingApp

DAY = 86_400


@pytest.fixture
async def ann(billing: BillingApp) -> ApiUser:
    return await billing.person("Ann")


async def test_buy_renew_fail_recover_cancel_expire(billing: BillingApp, ann: ApiUser):
    stripe, notes = billing.stripe, billing.notes
    assert await billing.has(ann) == "free"

    bought = await billing.buy(ann)
    assert await billing.has(ann) == "regular"
    assert notes.sent[-1][1:][0] == "subscription_updated"
    customer = stripe.get("subscription", bought)["customer"]
    # Both events report the same invoice: it is booked once for its `ref`.
    assert {receipt.ref for receipt in notes.receipts} == {
        f"stripe:{stripe.get('subscription', bought)['latest_invoice']}"
    }

    # Renewal: the reference never saw one, and cut off everybody after 30 days.
    for _ in range(2):
        stripe.advance(31 * DAY)
        await billing.deliver_all()
        assert await billing.has(ann) == "regular"
    assert (await billing.row(bought)).status == "active"
    assert len({receipt.ref for receipt in notes.receipts}) == 3
    assert {receipt.net_cents for receipt in notes.receipts} == {399}

    # The next payment fails: grace, and the user is notified.
    stripe.set_card(customer, "decline")
    row = await billing.row(bought)
    stripe.advance_to(int(row.current_period_end.timestamp()) + 2 * 3600)
    await billing.deliver_all()
    assert (await billing.row(bought)).status == "past_due"
    assert "payment_failed" in await billing.notifications(ann)
    assert await billing.has(ann) == "regular"

    # The card works again: the retry after three days succeeds.
    stripe.set_card(customer, "success")
    stripe.advance(4 * DAY)
    await billing.deliver_all()
    assert (await billing.row(bought)).status == "active"
    assert await billing.has(ann) == "regular"

    response = await ann.post("/subscription/cancel", {})
    assert (response.status_code, response.json()) == (
        200,
        {
            "success": True,
            "message": "Subscription will be cancelled at the end of the billing period",
        },
    )
    assert stripe.get("subscription", bought)["cancel_at_period_end"] is True
    await billing.deliver_all()
    assert await billing.has(ann) == "regular"
    assert (await billing.status(ann))["cancel_at_period_end"] is True

    stripe.advance(32 * DAY)
    assert stripe.get("subscription", bought)["status"] == "canceled"
    assert await billing.has(ann) == "free"  # by its period, before any event tells of the end
    await billing.deliver_all()
    assert await billing.has(ann) == "free"
    assert (await billing.row(bought)).status == "cancelled"
    assert notes.ended == [(await billing.row(bought)).id]
    assert await billing.history(bought) == [
        "created",
        "renewed",
        "renewed",
        "renewed",
        "renewed",
        "past_due",
        "renewed",
        "scheduled_cancel",
        "cancelled",
    ]

    # Again, and this time the money goes back.
    again = await billing.buy(ann, 3)
    assert await billing.has(ann) == "creator"
    assert stripe.get("subscription", again)["customer"] == customer
    stripe.refund(stripe.objects("charge")[-1]["id"])
    await billing.deliver_all()
    assert await billing.has(ann) == "free"
    assert stripe.get("subscription", again)["status"] == "canceled"
    assert (await billing.history(again))[-1] == "refunded"
    assert [(back.back_cents, back.paid_cents) for back in notes.back] == [(999, 999)]


async def test_access_without_payment_ends_after_the_grace(billing: BillingApp, ann: ApiUser):
    stripe = billing.stripe
    bought = await billing.buy(ann)
    stripe.set_card(stripe.get("subscription", bought)["customer"], "decline")
    end = int((await billing.row(bought)).current_period_end.timestamp())
    stripe.advance_to(end + 2 * 3600)
    await billing.deliver_all()
    assert await billing.has(ann) == "regular"
    stripe.advance(20 * DAY)
    await billing.deliver_all()
    assert stripe.get("subscription", bought)["status"] == "canceled"
    assert await billing.has(ann) == "free"


async def test_partial_refund_does_not_end_the_subscription(billing: BillingApp, ann: ApiUser):
    await billing.buy(ann)
    charge = billing.stripe.objects("charge")[-1]["id"]
    billing.stripe.refund(charge, 100)
    billing.stripe.refund(charge, 50)
    for event in reversed(billing.new("charge.refunded")):
        assert (await billing.deliver(event)).json()["processed"]
    assert await billing.has(ann) == "regular"
    assert [back.back_cents for back in billing.notes.back] == [150, 150]
    assert {back.ref for back in billing.notes.back} == {f"stripe:refund:{charge}"}


async def test_a_refund_of_an_older_period_ends_nothing(billing: BillingApp, ann: ApiUser):
    await billing.buy(ann)
    first = billing.stripe.objects("charge")[-1]["id"]
    billing.stripe.advance(31 * DAY)
    await billing.deliver_all()
    billing.stripe.refund(first)
    await billing.deliver_all()
    assert await billing.has(ann) == "regular"


async def test_a_dispute_takes_the_commission_back_until_it_is_won(
    billing: BillingApp, ann: ApiUser
):
    await billing.buy(ann)
    charge = billing.stripe.objects("charge")[-1]["id"]
    dispute = billing.stripe.dispute(charge)
    await billing.deliver_all()
    assert await billing.has(ann) == "regular"
    billing.stripe.close_dispute(dispute["id"], won=True)
    await billing.deliver_all()
    assert [(back.ref, back.back_cents) for back in billing.notes.back] == [
        (f"stripe:dispute:{dispute['id']}", 399),
        (f"stripe:dispute:{dispute['id']}", 0),
    ]
