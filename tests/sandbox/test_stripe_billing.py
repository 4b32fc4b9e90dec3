"""Journeys through simulated time: which events the fake Stripe sends, and in which states."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest

from cookcam.integrations.stripe import Stripe
from cookcam.integrations.stripe.accounts import Account, Payout, Transfer
from cookcam.integrations.stripe.billing import Invoice, Subscription
from cookcam.integrations.stripe.events import Event
from cookcam.sandbox.stripe import DAY, ApiFault, FakeStripe, open_stripe
from tests.integrations.stripe_conversations import ANN, checkout, open_client, subscribed

PAYMENT = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]
PAID = ["invoice.paid", "invoice.payment_succeeded"]
FAILED = ["charge.failed", "payment_intent.payment_failed", "invoice.payment_failed"]
HOURS = 2 * 3600


@pytest.fixture
async def stripe() -> AsyncIterator[FakeStripe]:
    async with open_stripe() as opened:
        yield opened


@pytest.fixture
async def client(stripe: FakeStripe) -> AsyncIterator[Stripe]:
    async with open_client(stripe) as opened:
        yield opened


class News:
    """The types of the events since the last look; catalogue entries left out."""

    def __init__(self, stripe: FakeStripe) -> None:
        self.stripe, self.seen = stripe, len(stripe.events)

    def types(self) -> list[str]:
        return [event.type for event in self.events()]

    def events(self) -> list[Event]:
        new = [Event.of(event) for event in self.stripe.events[self.seen :]]
        self.seen = len(self.stripe.events)
        return [e for e in new if not e.type.startswith(("product.", "price."))]


async def test_buy_renew_fail_recover_cancel_expire_refund_dispute(client, stripe):
    news = News(stripe)
    subscription = await subscribed(client, stripe)
    assert news.types() == [
        "customer.created",
        "invoice.created",
        "customer.subscription.created",
        "invoice.finalized",
        *PAYMENT,
        *PAID,
        "customer.subscription.updated",
        "checkout.session.completed",
    ]

    # Renewal: the period moves on at once, the money is taken an hour later.
    stripe.advance_to(int(subscription.items[0].current_period_end.timestamp()))
    renewal = news.events()
    assert [e.type for e in renewal] == ["invoice.created", "customer.subscription.updated"]
    moved = Subscription.of(renewal[1].object)
    assert moved.items[0].current_period_start == subscription.items[0].current_period_end
    assert renewal[1].previous["items"]["data"][0]["current_period_end"] == int(
        subscription.items[0].current_period_end.timestamp()
    )
    assert renewal[0].created == subscription.items[0].current_period_end
    stripe.advance(HOURS)
    assert news.types() == ["invoice.finalized", *PAYMENT, *PAID]

    # The card fails at the next one: overdue, tried again after three days.
    stripe.set_card(subscription.customer_id, "decline")
    stripe.advance_to(int(moved.items[0].current_period_end.timestamp()) + HOURS)
    overdue = news.events()
    assert [e.type for e in overdue] == [
        "invoice.created",
        "customer.subscription.updated",
        "invoice.finalized",
        "payment_intent.created",
        *FAILED,
        "customer.subscription.updated",
    ]
    assert Subscription.of(overdue[-1].object).status == "past_due"
    assert overdue[-1].previous == {"status": "active"}
    failed = Invoice.of(overdue[-2].object)
    assert (failed.status, failed.attempt_count, failed.amount_paid_cents) == ("open", 1, 0)
    assert (failed.next_payment_attempt - overdue[-2].created).days == 3
    stripe.advance(3 * DAY)
    assert news.types() == FAILED  # overdue already: nothing new about the subscription

    # Another card: the next try succeeds.
    stripe.set_card(subscription.customer_id, "success")
    stripe.advance(5 * DAY)
    recovered = news.events()
    assert [e.type for e in recovered] == [
        "charge.succeeded",
        "payment_intent.succeeded",
        *PAID,
        "customer.subscription.updated",
    ]
    assert Subscription.of(recovered[-1].object).status == "active"

    # It is cancelled for the end of its period, and ends then.
    await client.set_cancel_at_period_end(subscription.id, True, idempotency_key="c")
    assert news.types() == ["customer.subscription.updated"]
    stripe.advance(31 * DAY)
    (ended,) = news.events()
    assert ended.type == "customer.subscription.deleted"
    last = Subscription.of(ended.object)
    assert (last.status, last.ended_at) == ("canceled", ended.created)
    stripe.advance(60 * DAY)
    assert news.types() == []

    # And the money of the last period goes back, and that of the first is disputed.
    charges = [c for c in stripe.objects("charge") if c["paid"]]
    stripe.refund(charges[-1]["id"])
    assert news.types() == ["refund.created", "charge.refunded"]
    dispute = stripe.dispute(charges[0]["id"])
    stripe.close_dispute(dispute["id"], won=False)
    assert news.types() == [
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        "charge.dispute.closed",
    ]
    assert stripe.get("dispute", dispute["id"])["status"] == "lost"


@pytest.mark.parametrize("after", ["canceled", "unpaid", "past_due"])
async def test_unpaid_subscription_ends_as_configured(client, stripe, after):
    stripe.behaviour.billing.after_retries = after
    subscription = await subscribed(client, stripe)
    stripe.set_card(subscription.customer_id, "decline")
    news = News(stripe)
    stripe.advance_to(int(subscription.items[0].current_period_end.timestamp()) + 20 * DAY)
    types = news.types()
    assert types.count("invoice.payment_failed") == 4
    assert types.count("customer.subscription.deleted") == (after == "canceled")
    assert (await client.retrieve_subscription(subscription.id)).status == after


async def test_a_declined_card_at_the_checkout_leaves_it_open(client, stripe):
    session = await checkout(client)
    with pytest.raises(ApiFault):
        stripe.pay(session.id, "decline")
    assert (await client.retrieve_checkout_session(session.id)).status == "open"
    assert stripe.objects("subscription") == []
    stripe.pay(session.id)
    assert (await client.retrieve_checkout_session(session.id)).payment_status == "paid"


@pytest.mark.parametrize(("succeeded", "status"), [(True, "active"), (False, "incomplete_expired")])
async def test_delayed_payment_methods_settle_later(client, stripe, succeeded, status):
    session = await checkout(client)
    stripe.pay(session.id, later=True)
    paid_later = await client.retrieve_checkout_session(session.id)
    assert (paid_later.status, paid_later.payment_status) == ("complete", "unpaid")
    news = News(stripe)
    stripe.settle(session.id, succeeded=succeeded)
    word = "succeeded" if succeeded else "failed"
    assert news.types()[-1] == f"checkout.session.async_payment_{word}"
    stripe.advance(DAY)
    assert (await client.retrieve_subscription(paid_later.subscription_id)).status == status


async def test_a_session_expires(client, stripe):
    session = await checkout(client)
    news = News(stripe)
    stripe.advance(2 * DAY)
    assert news.types() == ["checkout.session.expired"]
    with pytest.raises(ApiFault):
        stripe.pay(session.id)


async def test_a_trial_is_announced_and_then_paid(client, stripe):
    product = {"name": "CookCam Regular Subscription"}
    price = {"unit_amount": "399", "currency": "usd", "recurring": {"interval": "month"}}
    session = await _raw(
        stripe,
        "/v1/checkout/sessions",
        {
            "mode": "subscription",
            "success_url": "https://app.test/",
            "line_items": [{"price_data": {**price, "product_data": product}}],
            "subscription_data": {"trial_period_days": "7"},
        },
    )
    paid = stripe.pay(session["id"])
    subscription = await client.retrieve_subscription(paid["subscription"])
    assert subscription.status == "trialing"
    assert (subscription.trial_end - subscription.created).days == 7
    news = News(stripe)
    stripe.advance(5 * DAY)
    assert news.types() == ["customer.subscription.trial_will_end"]
    stripe.advance(3 * DAY)
    assert news.types()[:3] == [
        "invoice.created",
        "customer.subscription.updated",
        "invoice.finalized",
    ]
    assert (await client.retrieve_subscription(subscription.id)).status == "active"


async def test_periods_keep_the_day_of_the_month(client, stripe):
    year = next(y for y in range(2027, 2400) if y % 4 and _january(y) > stripe.now)
    stripe.advance_to(_january(year))
    subscription = await subscribed(client, stripe)
    ends = [subscription.items[0].current_period_end]
    for _ in range(2):
        stripe.advance_to(int(ends[-1].timestamp()) + HOURS)
        ends.append(
            (await client.retrieve_subscription(subscription.id)).items[0].current_period_end
        )
    assert [(end.month, end.day) for end in ends] == [(2, 28), (3, 30), (4, 30)]


def _january(year: int) -> int:
    return int(datetime(year, 1, 30, tzinfo=UTC).timestamp())


async def test_accounts_transfers_and_payouts_emit_events(client, stripe):
    account = await client.create_account(
        creator_id=ANN, country="US", email=None, idempotency_key="a"
    )
    news = News(stripe)
    stripe.onboard(account.id, "restricted")
    stripe.onboard(account.id)
    transfer = await client.create_transfer(
        account_id=account.id, amount_cents=1000, metadata={"payout_id": "p"}, idempotency_key="p"
    )
    stripe.pay_out(account.id, 400)
    stripe.pay_out(account.id, 600, fails=True)
    stripe.reverse(transfer.id)
    stripe.deauthorize(account.id)
    received = news.events()
    assert [(e.type, e.account) for e in received] == [
        ("account.updated", account.id),
        ("account.updated", account.id),
        ("transfer.created", None),
        ("payout.created", account.id),
        ("payout.paid", account.id),
        ("payout.created", account.id),
        ("payout.failed", account.id),
        ("transfer.reversed", None),
        ("account.application.deauthorized", account.id),
    ]
    restricted, active = Account.of(received[0].object), Account.of(received[1].object)
    assert (restricted.details_submitted, restricted.transfers_active) == (True, False)
    assert restricted.requirements_due
    assert active.transfers_active
    assert Payout.of(received[6].object).failure_message
    assert Transfer.of(received[7].object).reversed


async def _raw(stripe: FakeStripe, path: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request that the server has no use for, made by the library all the same."""
    from stripe import HTTPXClient, StripeClient

    http = HTTPXClient()
    client = StripeClient(stripe.key, base_addresses={"api": stripe.url}, http_client=http)
    try:
        response: Any = await client.raw_request_async("post", path, **params)
        return response.data
    finally:
        await http.close_async()
