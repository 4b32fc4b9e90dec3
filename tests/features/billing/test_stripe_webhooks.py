"""Webhooks: every response of the contract; storing, redelivery, retries and dead letters."""

from __future__ import annotations

import random
import time
from itertools import permutations
from typing import Any
from uuid import uuid4

import orjson
import pytest
import trio

from cookcam.features.billing.stripe.events import StripeEvents
from cookcam.features.billing.webhooks.inbox import INTERVAL, WebhookInbox
from cookcam.http import MEBIBYTE
from cookcam.sandbox.stripe.behaviour import Fault
from cookcam.sandbox.stripe.outbox import signature
from tests.features.conftest import ApiUser
from tests.support.stripe_billing import (
    CONNECT_SECRET,
    CONNECT_WEBHOOK,
    SECRET,
    WEBHOOK,
    BillingApp,
    Notes,
    open_billing_app,
)

DAY = 86_400


@pytest.fixture
async def ann(billing: BillingApp) -> ApiUser:
    return await billing.person("Ann")


def event(kind: str = "charge.succeeded", **changes: Any) -> dict[str, Any]:
    return {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "api_version": "2025-05-28.basil",
        "created": int(time.time()),
        "livemode": False,
        "type": kind,
        "data": {"object": {"id": "ch_1", "object": "charge"}},
        **changes,
    }


async def outage(billing: BillingApp, times: int | None = None, path: str = "/v1/") -> None:
    billing.stripe.behaviour.fault = Fault("status", times=times, status=503, path=path)


class TestAnswers:
    async def test_processed(self, billing: BillingApp):
        response = await billing.deliver(received := event())
        body = response.json()
        assert response.status_code == 200
        assert isinstance(body.pop("durationMs"), int)
        assert body == {"received": True, "processed": True, "eventType": "charge.succeeded"}
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert (stored["status"], stored["payload"]) == ("processed", True)

    async def test_both_paths_under_both_prefixes(self, billing: BillingApp):
        for prefix in ("/api/v1", "/api"):
            for path, secret in ((WEBHOOK, SECRET), (CONNECT_WEBHOOK, CONNECT_SECRET)):
                body = orjson.dumps(event())
                headers = {"Stripe-Signature": signature(body, [secret], int(time.time()))}
                response = await billing.http.post(f"{prefix}{path}", content=body, headers=headers)
                assert response.status_code == 200
                assert response.json()["processed"]

    async def test_duplicate(self, billing: BillingApp):
        await billing.deliver(received := event())
        response = await billing.deliver(received)
        assert (response.status_code, response.json()) == (
            200,
            {
                "received": True,
                "processed": False,
                "reason": "duplicate",
                "message": "Event already processed",
            },
        )

    async def test_in_progress(self, billing: BillingApp, ann: ApiUser):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("customer.subscription.created")
        await billing.sql(
            """insert into stripe_webhook_events (event_id, event_type, status)
            values (%(id)s, 'x', 'processing')""",
            id=received["id"],
        )
        response = await billing.deliver(received)
        assert (response.status_code, response.json()) == (
            409,
            {
                "received": True,
                "processed": False,
                "reason": "in_progress",
                "message": "Event currently being processed",
            },
        )

    async def test_not_configured(self, database_url: str):
        async with open_billing_app(database_url, configured=False) as billing:
            response = await billing.deliver(event())
            assert (response.status_code, response.json()["error"]) == (
                500,
                "Stripe not configured",
            )
            response = await billing.deliver(event(), path=CONNECT_WEBHOOK)
            assert (response.status_code, response.json()["error"]) == (
                500,
                "Stripe not configured",
            )

    async def test_no_secret(self, database_url: str):
        async with open_billing_app(database_url, secrets=(), connect_secrets=()) as billing:
            response = await billing.deliver(event())
            assert (response.status_code, response.json()["error"]) == (
                500,
                "Webhook not configured",
            )
            response = await billing.deliver(event(), path=CONNECT_WEBHOOK)
            assert response.status_code == 500
            assert response.json()["error"] == "Connect webhook not configured"

    async def test_missing_signature(self, billing: BillingApp):
        response = await billing.http.post(f"/api/v1{WEBHOOK}", json=event())
        assert (response.status_code, response.json()["error"]) == (400, "Missing signature")
        response = await billing.http.post(f"/api/v1{CONNECT_WEBHOOK}", json=event())
        assert response.status_code == 400
        assert response.headers["content-type"].startswith("text/plain")
        assert response.text == "Connect Webhook Error: Missing signature"

    async def test_a_bad_signature_stores_nothing(self, billing: BillingApp):
        received = event("customer.subscription.deleted")
        for secret in ("whsec_wrong", CONNECT_SECRET):
            response = await billing.deliver(received, secret=secret)
            assert response.status_code == 400
            assert response.json()["error"] == "Invalid signature"
            assert response.json()["message"] == "No matching signature"
        response = await billing.deliver(received, path=CONNECT_WEBHOOK)
        assert (response.status_code, response.text) == (
            400,
            "Connect Webhook Error: No matching signature",
        )
        assert await billing.stored(received["id"]) is None

    async def test_an_old_signature_stores_nothing(self, billing: BillingApp):
        for age in (310, -310):
            body = orjson.dumps(received := event())
            headers = {"Stripe-Signature": signature(body, [SECRET], int(time.time()) - age)}
            response = await billing.http.post(f"/api/v1{WEBHOOK}", content=body, headers=headers)
            assert response.status_code == 400
            assert await billing.stored(received["id"]) is None

    async def test_what_is_signed_and_no_event(self, billing: BillingApp):
        for body in (b"[]", b"{", b'{"object":"event"}'):
            headers = {"Stripe-Signature": signature(body, [SECRET], int(time.time()))}
            response = await billing.http.post(f"/api/v1{WEBHOOK}", content=body, headers=headers)
            assert (response.status_code, response.json()["error"]) == (400, "Invalid payload")

    async def test_either_of_two_secrets(self, database_url: str):
        async with open_billing_app(database_url, secrets=("whsec_new", "whsec_old")) as billing:
            for secret in ("whsec_new", "whsec_old"):
                assert (await billing.deliver(event(), secret=secret)).status_code == 200

    async def test_more_than_a_megabyte(self, billing: BillingApp):
        response = await billing.http.post(f"/api/v1{WEBHOOK}", content=b" " * (MEBIBYTE + 1))
        assert response.status_code == 413

    async def test_the_limit_of_addresses_is_for_bad_signatures_alone(self, database_url: str):
        limits = {"ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_MAX_REQUESTS": "3"}
        async with open_billing_app(database_url, **limits) as billing:
            for _ in range(8):
                assert (await billing.deliver(event())).status_code == 200
            bad = [
                (await billing.deliver(event(), secret="whsec_no")).status_code for _ in range(5)
            ]
            assert bad == [400, 400, 400, 429, 429]
            assert (await billing.deliver(event())).status_code == 200

    async def test_a_null_character_is_no_reason_to_lose_an_event(self, billing: BillingApp):
        received = event(data={"object": {"id": "ch_1", "description": "a\0b"}})
        assert (await billing.deliver(received)).json()["processed"]
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert not stored["payload"]


class TestConnect:
    async def test_events_of_accounts_reach_their_handlers(self, billing: BillingApp):
        received = event("account.updated", account="acct_1")
        response = await billing.deliver(received, path=CONNECT_WEBHOOK, secret=CONNECT_SECRET)
        assert (response.status_code, response.json()) == (
            200,
            {"received": True, "processed": True, "type": "account.updated"},
        )
        assert (await billing.deliver(event("transfer.created"))).status_code == 200
        assert billing.notes.connect == [("account.updated", "acct_1"), ("transfer.created", None)]

    async def test_failed_event_gets_500_and_is_delivered_again(self, billing: BillingApp):
        billing.notes.failures.append(RuntimeError("broken"))
        received = event("account.updated", account="acct_1")
        response = await billing.deliver(received, path=CONNECT_WEBHOOK, secret=CONNECT_SECRET)
        assert (response.status_code, response.json()) == (
            500,
            {
                "received": True,
                "processed": False,
                "error": "Processing failed - logged for investigation",
            },
        )
        response = await billing.deliver(received, path=CONNECT_WEBHOOK, secret=CONNECT_SECRET)
        assert response.json()["processed"]

    async def test_payouts_of_our_own_account_are_nobodys(self, billing: BillingApp):
        response = await billing.deliver(event("payout.paid"))
        assert response.json()["processed"]
        assert billing.notes.connect == []

    async def test_an_account_cannot_grant_subscriptions(self, billing: BillingApp, ann: ApiUser):
        """Its owner can make objects there, with any metadata."""
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("customer.subscription.updated")
        forged = {**received, "account": "acct_mallory"}
        for path, secret in ((CONNECT_WEBHOOK, CONNECT_SECRET), (WEBHOOK, SECRET)):
            changed = {**forged, "id": f"evt_{uuid4().hex}"}
            assert (await billing.deliver(changed, path=path, secret=secret)).status_code == 200
        assert (await billing.status(ann))["tier_slug"] == "free"

    def test_two_cannot_have_the_same_event(self):
        nothing: Any = None

        class Creators(Notes):
            platform_types = ("invoice.paid",)

        with pytest.raises(ValueError, match=r"invoice\.paid"):
            StripeEvents(nothing, Creators(), nothing, nothing)


class TestDefects:
    """Errors of the earlier server, each with a test that it would fail."""

    async def test_defect_the_signature_is_over_the_bytes_as_they_came(self, billing: BillingApp):
        """A parser or a sanitiser in front would change these."""
        body = b'{ "id":"evt_%s", "object":"event", "type":"x <b> ", "livemode":false,\n' % (
            uuid4().hex.encode()
        )
        body += b'"created":1.7e9, "data":{"object":{"name":" <script> "}} }'
        headers = {"Stripe-Signature": signature(body, [SECRET], int(time.time()))}
        response = await billing.http.post(f"/api/v1{WEBHOOK}", content=body, headers=headers)
        assert (response.status_code, response.json()["eventType"]) == (200, "x <b> ")

    async def test_defect_a_failed_handler_is_not_acknowledged(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("invoice.paid")
        await outage(billing)
        response = await billing.deliver(received)
        assert (response.status_code, response.json()) == (
            500,
            {"received": True, "processed": False, "error": "Processing failed - will retry"},
        )
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert (stored["status"], stored["error"]) == ("failed", "SERVICE_UNAVAILABLE")
        billing.stripe.behaviour.fault = None
        assert (await billing.deliver(received)).json()["processed"]
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_defect_a_crash_does_not_keep_an_event_forever(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("customer.subscription.updated")
        await billing.sql(
            """insert into stripe_webhook_events (event_id, event_type, status, payload)
            values (%(id)s, 'x', 'processing', %(payload)s::jsonb)""",
            id=received["id"],
            payload=orjson.dumps(received).decode(),
        )
        await billing.wait(4.9)
        assert (await billing.deliver(received)).status_code == 409
        assert await billing.sweep() == 0
        await billing.wait(0.2)
        assert await billing.sweep() == 1
        assert (await billing.deliver(received)).json()["reason"] == "duplicate"
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_defect_parallel_deliveries_are_done_once(
        self, billing: BillingApp, ann: ApiUser
    ):
        await billing.buy(ann)
        billing.notes.receipts.clear()
        billing.stripe.advance(31 * DAY)
        [received] = billing.new("invoice.paid")
        responses: list[tuple[int, Any]] = []

        async def deliver() -> None:
            response = await billing.deliver(received)
            responses.append((response.status_code, response.json().get("reason")))

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(deliver)
        assert [each for each in responses if each[1] is None] == [(200, None)]
        assert {each for each in responses if each[1]} <= {(409, "in_progress"), (200, "duplicate")}
        assert len(billing.notes.receipts) == 1

    async def test_defect_events_in_any_order_end_as_stripe_has_it(self, billing: BillingApp):
        kinds = (
            "customer.subscription.created",
            "customer.subscription.updated",
            "invoice.paid",
            "checkout.session.completed",
        )
        for order in permutations(kinds):
            who = await billing.person()
            session = await billing.begin(who)
            paid = billing.stripe.pay(session["id"])
            new = {received["type"]: received for received in billing.new()}
            for kind in order:
                assert (await billing.deliver(new[kind])).json()["processed"], (order, kind)
            row = await billing.row(paid["subscription"])
            assert (row.status, str(row.user_id)) == ("active", who.id), order
            billing.delivered.update(received["id"] for received in billing.new())

    async def test_defect_a_late_event_does_not_bring_a_subscription_back(
        self, billing: BillingApp, ann: ApiUser
    ):
        bought = await billing.buy(ann)
        before = [
            received
            for received in billing.stripe.events
            if received["type"].endswith("ion.updated")
        ]
        assert (await ann.post("/subscription/cancel", {"immediately": True})).status_code == 200
        await billing.deliver_all()
        late = {**before[-1], "id": f"evt_{uuid4().hex}"}
        assert (await billing.deliver(late)).json()["processed"]
        assert (await billing.row(bought)).status == "cancelled"
        assert (await billing.status(ann))["tier_slug"] == "free"

    async def test_defect_of_one_second_the_truth_holds(self, billing: BillingApp, ann: ApiUser):
        """A payment fails and succeeds within a second; the events come in either order."""
        for backwards in (False, True):
            who = await billing.person()
            bought = await billing.buy(who)
            customer = billing.stripe.get("subscription", bought)["customer"]
            billing.stripe.set_card(customer, "decline")
            row = await billing.row(bought)
            billing.stripe.advance_to(int(row.current_period_end.timestamp()) + 3600)
            billing.stripe.set_card(customer, "success")
            assert billing.stripe.pay_invoice(
                billing.stripe.get("subscription", bought)["latest_invoice"]
            )
            changes = billing.new("customer.subscription.updated")
            assert [received["data"]["object"]["status"] for received in changes][-2:] == [
                "past_due",
                "active",
            ]
            *before, failed, paid = changes
            assert failed["created"] + 1 >= paid["created"]
            for received in (*before, paid, failed) if backwards else changes:
                assert (await billing.deliver(received)).json()["processed"]
            assert (await billing.row(bought)).status == "active"
            billing.delivered.update(received["id"] for received in billing.new())

    async def test_defect_an_unpaid_session_buys_nothing(self, billing: BillingApp, ann: ApiUser):
        session = await billing.begin(ann)
        paid = billing.stripe.pay(session["id"], later=True)
        assert paid["payment_status"] == "unpaid"
        await billing.deliver_all()
        assert await billing.has(ann) == "free"
        billing.stripe.settle(session["id"], succeeded=True)
        [received] = billing.new("checkout.session.async_payment_succeeded")
        assert (await billing.deliver(received)).json()["processed"]
        assert await billing.has(ann) == "regular"
        assert billing.notes.converted

    async def test_defect_the_period_is_that_of_the_item(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann, interval="year")
        row = await billing.row(bought)
        assert (row.current_period_end - row.current_period_start).days in (365, 366)

    async def test_defect_unknown_types_are_accepted(self, billing: BillingApp):
        for kind in ("customer.tax_id.created", "nothing.known"):
            assert (await billing.deliver(event(kind))).json()["processed"]

    async def test_defect_a_trial_that_ends_is_reported(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        subscription = billing.stripe.get("subscription", bought)
        end = int(time.time()) + 3 * DAY
        subscription |= {"status": "trialing", "trial_end": end}
        received = event(
            "customer.subscription.trial_will_end",
            created=int(time.time()) + 10,
            data={"object": subscription},
        )
        assert (await billing.deliver(received)).json()["processed"]
        assert await billing.notifications(ann) == ["trial_will_end"]

    async def test_defect_price_determines_the_tier(self, billing: BillingApp, ann: ApiUser):
        """Metadata may be old: the portal changes prices without it."""
        bought = await billing.buy(ann)
        subscription = billing.stripe.get("subscription", bought)
        price = subscription["items"]["data"][0]["price"]
        subscription["items"]["data"][0]["price"] = {**price, "unit_amount": 999}
        received = event(
            "customer.subscription.updated",
            created=int(time.time()) + 10,
            data={"object": subscription},
        )
        assert (await billing.deliver(received)).json()["processed"]
        assert await billing.has(ann) == "creator"

    async def test_defect_subscription_without_a_user_is_no_failure(self, billing: BillingApp):
        subscription = {"user_id": str(uuid4()), "tier_id": "2"}
        [subscription_id] = billing.stripe.stock(1, metadata=lambda _: subscription, events=True)
        [received] = billing.new("customer.subscription.created")
        assert (await billing.deliver(received)).json()["processed"]
        assert await billing.ledger.find("stripe", subscription_id) is None


class TestTheSweep:
    async def test_failed_event_is_retried_with_growing_delays_until_it_is_dead(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("invoice.paid")
        billing.stripe.behaviour.fault = Fault("status", status=400)
        await billing.deliver(received)
        pauses: list[float] = []
        for attempt in range(1, 10):
            stored = await billing.stored(received["id"])
            assert stored is not None
            assert (stored["status"], stored["attempts"]) == (
                "failed",
                attempt,
            )
            pauses.append(round(float(stored["wait"]) / 60))
            assert await billing.sweep() == 0
            await billing.wait(pauses[-1] + 0.1)
            assert await billing.sweep() == 1
        assert pauses == [1, 5, 30, 60, 60, 60, 60, 60, 60]
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert (stored["status"], stored["attempts"], stored["wait"]) == ("failed", 10, None)
        assert billing.notes.given_up == ["invoice.paid"]
        assert [log["log_level"] for log in billing.logs if log["event"] == "webhook given up"] == [
            "error"
        ]
        await billing.wait(600)
        assert await billing.sweep() == 0

        # An operator sends it again from Stripe's dashboard.
        billing.stripe.behaviour.fault = None
        assert (await billing.deliver(received)).json()["processed"]
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_the_last_worker_died(self, billing: BillingApp):
        await billing.sql(
            """insert into stripe_webhook_events (event_id, event_type, status, attempts)
            values ('evt_dead', 'invoice.paid', 'processing', 10)"""
        )
        await billing.wait(6)
        assert await billing.sweep() == 0
        stored = await billing.stored("evt_dead")
        assert stored is not None
        assert (stored["status"], stored["error"]) == ("failed", "abandoned")
        assert billing.notes.given_up == ["invoice.paid"]

    async def test_an_outage_is_survived_without_another_delivery(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        await outage(billing, path="/v1/subscriptions")
        [received] = billing.new("invoice.paid")
        assert (await billing.deliver(received)).status_code == 500
        billing.stripe.behaviour.fault = None
        await billing.wait(1.1)
        assert await billing.sweep() == 1
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_two_instances_share_the_work(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        payload = orjson.dumps(billing.stripe.events[0]).decode()
        await billing.sql(
            """insert into stripe_webhook_events
              (event_id, event_type, status, payload, next_attempt_at)
            select 'evt_shared_' || n || %(run)s, 'x', 'failed', %(payload)s::jsonb, now()
            from generate_series(1, 40) n""",
            payload=payload,
            run=bought,
        )
        done: list[int] = []

        async def sweep() -> None:
            done.append(await billing.sweep())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(sweep)
            nursery.start_soon(sweep)
        assert sum(done) == 40
        attempts = await billing.sql(
            "select distinct attempts, status from stripe_webhook_events where event_id like %(e)s",
            e=f"evt_shared_%{bought}",
        )
        assert attempts == [(2, "processed")]

    async def test_who_leaves_gives_the_event_back(self, billing: BillingApp, ann: ApiUser):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("invoice.paid")
        billing.stripe.behaviour.fault = Fault("hang", path="/v1/subscriptions")
        with trio.move_on_after(0.5) as scope:
            await billing.deliver(received)
        assert scope.cancelled_caught
        stored = await billing.stored(received["id"])
        assert stored is not None
        assert (stored["status"], stored["error"]) == ("failed", "interrupted")
        billing.stripe.behaviour.fault = None
        assert await billing.sweep() == 1
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_without_its_payload_stripe_is_requested_for_the_event(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        [received] = billing.new("customer.subscription.updated")
        await billing.sql(
            """insert into stripe_webhook_events (event_id, event_type, status, next_attempt_at)
            values (%(id)s, 'x', 'failed', now())""",
            id=received["id"],
        )
        assert await billing.sweep() == 1
        assert (await billing.status(ann))["tier_slug"] == "regular"

    async def test_it_sweeps_every_few_seconds(self, autojump_clock: Any):
        sweeps: list[float] = []

        class Store:
            async def abandon(self) -> list[Any]:
                sweeps.append(trio.current_time())
                return []

            async def claim_due(self, limit: int) -> list[Any]:
                return []

        store: Any = Store()
        nothing: Any = None
        inbox = WebhookInbox(store, nothing, 8.0)
        with trio.move_on_after(INTERVAL * 3.5):
            await inbox.run()
        assert [sweep - sweeps[0] for sweep in sweeps] == [0, INTERVAL, INTERVAL * 2, INTERVAL * 3]


async def test_a_shuffled_life_ends_as_stripe_has_it(billing: BillingApp):
    """Renewals, failures and recoveries of several people, in random orders."""
    chance = random.Random(7)
    bought: dict[str, ApiUser] = {}
    for _ in range(3):
        who = await billing.person()
        session = await billing.begin(who, chance.choice([2, 3]))
        bought[billing.stripe.pay(session["id"])["subscription"]] = who
    for _ in range(3):
        for subscription_id in bought:
            customer = billing.stripe.get("subscription", subscription_id)["customer"]
            billing.stripe.set_card(customer, chance.choice(["success", "decline"]))
        billing.stripe.advance(12 * DAY)
    events = [
        received for received in billing.new() if "subscription" in str(received["data"]["object"])
    ]
    chance.shuffle(events)
    for received in events:
        assert (await billing.deliver(received)).json()["processed"]
    for subscription_id in bought:
        theirs = billing.stripe.get("subscription", subscription_id)
        row = await billing.row(subscription_id)
        item = theirs["items"]["data"][0]
        assert row.provider_status == {"canceled": "cancelled"}.get(
            theirs["status"], theirs["status"]
        )
        assert int(row.current_period_end.timestamp()) == item["current_period_end"]
