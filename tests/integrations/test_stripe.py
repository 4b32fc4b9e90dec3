"""The Stripe client against the fake Stripe, over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from cookcam.config.readers import Secret
from cookcam.errors import ServiceAuthError
from cookcam.integrations.stripe import (
    CardDeclined,
    KeyReused,
    NoSuchObject,
    Stripe,
    StripeRejected,
)
from cookcam.integrations.stripe.accounts import Transfer
from cookcam.integrations.stripe.charges import Charge, PaymentIntent, Refund
from cookcam.sandbox.stripe import DAY, FakeStripe, open_stripe
from cookcam.sandbox.stripe.outbox import Endpoint
from tests.integrations.stripe_conversations import ANN, checkout, open_client, subscribed
from tests.support.ports import free_ports

CREATOR = {"tier_id": 3, "tier_name": "Creator", "amount_cents": 999, "interval": "month"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeStripe]:
    async with open_stripe() as opened:
        yield opened


@pytest.fixture
async def client(fake: FakeStripe) -> AsyncIterator[Stripe]:
    async with open_client(fake) as opened:
        yield opened


async def test_checkout_attributes_its_subscription_to_the_user(client, fake):
    session = await checkout(client, email="ann@cookcam.example")
    assert (session.status, session.payment_status) == ("open", "unpaid")
    assert str(session.url).startswith(fake.url)
    fake.pay(session.id)
    paid = await client.retrieve_checkout_session(session.id)
    assert (paid.status, paid.payment_status, paid.url) == ("complete", "paid", None)
    assert paid.client_reference_id == str(ANN)
    subscription = await client.retrieve_subscription(paid.subscription_id)
    assert subscription.status == "active"
    assert subscription.customer_id == paid.customer_id
    assert paid.metadata == subscription.metadata == {"user_id": str(ANN), "tier_id": "2"}
    price = subscription.items[0].price
    assert (price.amount_cents, price.currency, price.interval) == (399, "usd", "month")
    assert (
        28
        <= (
            subscription.items[0].current_period_end - subscription.items[0].current_period_start
        ).days
        <= 31
    )


async def test_checkout_with_yearly_price_and_existing_customer(client, fake):
    first = await subscribed(client, fake)
    subscription = await subscribed(
        client,
        fake,
        key="yearly",
        interval="year",
        amount_cents=3999,
        customer_id=first.customer_id,
    )
    assert subscription.customer_id == first.customer_id
    assert subscription.items[0].price.interval == "year"
    assert (
        subscription.items[0].current_period_end - subscription.items[0].current_period_start
    ).days in (365, 366)
    names = {product["name"] for product in fake.objects("product")}
    assert names == {"CookCam Regular Subscription"}


async def test_as_of_is_the_time_of_the_request(client, fake):
    subscription = await subscribed(client, fake)
    fake.advance(10 * DAY)
    requested_at = fake.now
    read = await client.retrieve_subscription(subscription.id)
    assert read.as_of is not None
    assert (
        timedelta(0)
        <= datetime.fromtimestamp(requested_at + 1, UTC) - read.as_of
        < timedelta(seconds=3)
    )


async def test_upgrade_charges_the_difference_at_once(client, fake):
    subscription = await subscribed(client, fake)
    fake.advance(15 * DAY)
    upgraded = await client.change_subscription(
        subscription.id, subscription.items[0].id, **CREATOR, when="now", idempotency_key="up"
    )
    assert upgraded.items[0].price.amount_cents == 999
    assert upgraded.metadata == {"user_id": str(ANN), "tier_id": "3"}
    assert upgraded.items[0].current_period_end == subscription.items[0].current_period_end
    invoice = await client.retrieve_invoice(upgraded.latest_invoice_id)
    whole = subscription.items[0].current_period_end - subscription.items[0].current_period_start
    left = (whole - timedelta(days=15)) / whole
    assert invoice.amount_paid_cents == pytest.approx(600 * left, abs=2)
    assert (invoice.billing_reason, invoice.subscription_id) == (
        "subscription_update",
        subscription.id,
    )


async def test_declined_upgrade_keeps_the_price(client, fake):
    subscription = await subscribed(client, fake)
    fake.set_card(subscription.customer_id, "insufficient_funds")
    with pytest.raises(CardDeclined) as caught:
        await client.change_subscription(
            subscription.id, subscription.items[0].id, **CREATOR, when="now", idempotency_key="up"
        )
    assert (caught.value.status, caught.value.decline_code) == (402, "insufficient_funds")
    after = await client.retrieve_subscription(subscription.id)
    assert after.items[0].price == subscription.items[0].price
    assert after.metadata["tier_id"] == "2"


async def test_downgrade_takes_effect_at_the_end_of_the_period(client, fake):
    subscription = await subscribed(client, fake, amount_cents=999, tier_id=3)
    regular = {"tier_id": 2, "tier_name": "Regular", "amount_cents": 399, "interval": "month"}
    for _ in range(2):  # a repetition, as after a crash, changes nothing
        changed = await client.change_subscription(
            subscription.id,
            subscription.items[0].id,
            **regular,
            when="period_end",
            idempotency_key="down",
        )
    assert changed.schedule_id is not None
    assert changed.items[0].price.amount_cents == 999
    fake.advance_to(int(subscription.items[0].current_period_end.timestamp()) + 2 * 3600)
    after = await client.retrieve_subscription(subscription.id)
    assert (after.items[0].price.amount_cents, after.metadata["tier_id"]) == (399, "2")
    invoice = await client.retrieve_invoice(after.latest_invoice_id)
    assert (invoice.status, invoice.amount_paid_cents, invoice.net_cents) == ("paid", 399, 399)
    assert (invoice.period_start, invoice.period_end) == (
        after.items[0].current_period_start,
        after.items[0].current_period_end,
    )


async def test_upgrade_and_cancellation_drop_a_pending_downgrade(client, fake):
    subscription = await subscribed(client, fake)
    change = client.change_subscription
    await change(
        subscription.id, subscription.items[0].id, **CREATOR, when="period_end", idempotency_key="a"
    )
    now = await change(
        subscription.id, subscription.items[0].id, **CREATOR, when="now", idempotency_key="b"
    )
    assert (now.schedule_id, now.items[0].price.amount_cents) == (None, 999)
    await change(
        subscription.id, subscription.items[0].id, **CREATOR, when="period_end", idempotency_key="c"
    )
    cancelled = await client.set_cancel_at_period_end(subscription.id, True, idempotency_key="d")
    assert (cancelled.schedule_id, cancelled.cancel_at_period_end) == (None, True)
    assert cancelled.cancel_at == cancelled.items[0].current_period_end
    resumed = await client.set_cancel_at_period_end(subscription.id, False, idempotency_key="e")
    assert (resumed.cancel_at_period_end, resumed.canceled_at) == (False, None)


async def test_immediate_cancellation_is_idempotent(client, fake):
    subscription = await subscribed(client, fake)
    first = await client.cancel_subscription_now(subscription.id)
    again = await client.cancel_subscription_now(subscription.id)
    assert first.status == again.status == "canceled"
    assert first.ended_at is not None
    with pytest.raises(NoSuchObject):
        await client.cancel_subscription_now("sub_unknown")


async def test_all_subscriptions_are_listed_by_page(client, fake):
    ids = fake.stock(250, metadata=lambda number: {"number": str(number)})
    seen, after = [], None
    while True:
        page = await client.list_subscriptions(starting_after=after)
        seen += page.items
        after = page.next_after
        if after is None:
            break
    assert [s.id for s in seen] == list(reversed(ids))
    assert seen[0].metadata == {"number": "249"}
    assert [r for r in fake.requests if "subscriptions" in r] == ["GET /v1/subscriptions"] * 3
    of_one = await client.list_subscriptions(customer_id=seen[7].customer_id)
    assert [s.id for s in of_one.items] == [seen[7].id]


async def test_ended_subscriptions_are_listed(client, fake):
    subscription = await subscribed(client, fake)
    await client.cancel_subscription_now(subscription.id)
    page = await client.list_subscriptions(customer_id=subscription.customer_id)
    assert [s.status for s in page.items] == ["canceled"]


async def test_repeated_idempotency_key_returns_the_first_response(client, fake):
    first, again = await checkout(client, "k"), await checkout(client, "k")
    assert first == again
    assert len(fake.objects("checkout.session")) == 1
    with pytest.raises(KeyReused):
        await checkout(client, "k", amount_cents=1)
    assert (await checkout(client, "other")).id != first.id


async def test_tip_is_paid_refunded_and_disputed(client, fake):
    tip = {"tip_id": "t1", "kind": "tip"}
    intent = await client.create_payment_intent(
        amount_cents=500, metadata=tip, idempotency_key="t1"
    )
    assert intent.client_secret is not None
    assert intent.client_secret not in repr(intent)
    fake.confirm(intent.id)
    paid = PaymentIntent.of(fake.get("payment_intent", intent.id))
    assert (paid.status, paid.amount_received_cents, paid.metadata) == ("succeeded", 500, tip)
    assert await client.invoice_of_payment(intent.id) is None
    refund = Refund.of(fake.refund(paid.latest_charge_id, 200))
    assert (refund.status, refund.amount_cents, refund.charge_id) == (
        "succeeded",
        200,
        paid.latest_charge_id,
    )
    charge = await client.retrieve_charge(paid.latest_charge_id)
    assert (charge.amount_refunded_cents, charge.refunded) == (200, False)
    fake.refund(charge.id)
    assert (await client.retrieve_charge(charge.id)).refunded
    dispute = fake.dispute(charge.id)
    assert (await client.retrieve_dispute(dispute["id"])).charge_id == charge.id


async def test_invoice_of_a_payment(client, fake):
    subscription = await subscribed(client, fake)
    charge = Charge.of(fake.objects("charge")[0])
    invoice_id = await client.invoice_of_payment(charge.payment_intent_id)
    assert invoice_id == subscription.latest_invoice_id


async def test_creator_is_onboarded_and_paid_once(client, fake):
    creator = uuid4()
    account = await client.create_account(
        creator_id=creator, country="US", email=None, idempotency_key=f"account:{creator}"
    )
    assert account.metadata == {"creator_id": str(creator), "platform": "cookcam"}
    assert (account.details_submitted, account.transfers_active) == (False, False)
    assert account.requirements_due
    link = await client.create_account_link(
        account.id, return_url="https://a.example", refresh_url="https://b.example"
    )
    assert link.url.startswith(fake.url)
    assert link.expires_at > datetime.fromtimestamp(fake.now, UTC)
    with pytest.raises(StripeRejected):
        await client.create_login_link(account.id)

    payout = {"account_id": account.id, "amount_cents": 1200, "metadata": {"payout_id": "p1"}}
    with pytest.raises(StripeRejected) as caught:
        await client.create_transfer(**payout, idempotency_key="too early")
    assert caught.value.stripe_code == "insufficient_capabilities_for_transfer"

    fake.onboard(account.id)
    onboarded = await client.retrieve_account(account.id)
    assert (onboarded.details_submitted, onboarded.transfers_active, onboarded.payouts_enabled) == (
        True,
    ) * 3
    assert (onboarded.charges_enabled, list(onboarded.requirements_due)) == (False, [])
    assert (await client.create_login_link(account.id)).startswith(fake.url)

    first = await client.create_transfer(**payout, idempotency_key="payout:p1")
    again = await client.create_transfer(**payout, idempotency_key="payout:p1")
    assert first == again == Transfer.of(fake.get("transfer", first.id))
    assert [t.id for t in (await client.list_transfers(account_id=account.id)).items] == [first.id]
    fake.behaviour.balance_cents = 100
    with pytest.raises(StripeRejected) as caught:
        await client.create_transfer(**payout, idempotency_key="payout:p2")
    assert caught.value.stripe_code == "balance_insufficient"
    fake.deauthorize(account.id)
    with pytest.raises(NoSuchObject):
        await client.retrieve_account(account.id)


async def test_unsupported_country_is_rejected(client):
    with pytest.raises(StripeRejected) as caught:
        await client.create_account(creator_id=ANN, country="XX", email=None, idempotency_key="a")
    assert (caught.value.stripe_code, caught.value.param) == ("country_unsupported", "country")


async def test_undelivered_events_are_listed(client, fake):
    await subscribed(client, fake)
    assert (await client.list_undelivered_events()).items == []
    [port] = free_ports(1)
    fake.behaviour.mail.retries = []
    fake.outbox.endpoints.append(Endpoint(f"http://127.0.0.1:{port}/", ["whsec"]))
    before = len(fake.events)
    fake.advance(32 * DAY)
    await fake.outbox.quiet()
    first = await client.list_undelivered_events(limit=2)
    rest = await client.list_undelivered_events(starting_after=first.next_after)
    ids = [event.id for event in (*first.items, *rest.items)]
    assert ids == [event["id"] for event in reversed(fake.events[before:])]
    assert rest.next_after is None
    assert await client.retrieve_event(ids[0]) == first.items[0]


async def test_portal_session_has_a_url(client, fake):
    subscription = await subscribed(client, fake)
    url = await client.create_portal_session(
        customer_id=subscription.customer_id, return_url="https://cookcam.ai"
    )
    assert url.startswith(fake.url)


async def test_invalid_key_and_unknown_object_are_rejected():
    async with open_stripe(key="sk_test_right") as fake:
        async with open_client(fake, secret_key=Secret("sk_test_wrong")) as client:
            with pytest.raises(ServiceAuthError):
                await client.retrieve_subscription("sub_1")
        async with open_client(fake) as client:
            with pytest.raises(NoSuchObject):
                await client.retrieve_subscription("sub_1")
