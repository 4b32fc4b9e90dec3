"""Buying, changing and ending: every documented response, and the requests to Stripe."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

import pytest

from cookcam.errors import BadRequest
from cookcam.features.billing.stripe.redirects import Redirects
from cookcam.sandbox.stripe.behaviour import Fault
from tests.features.conftest import ApiUser
from tests.support.stripe_billing import BACK, HOME, BillingApp, open_billing_app

DAY = 86_400

ELSEWHERE = (
    "https://evil.test/",
    f"{HOME}.evil.test/",
    f"{HOME}@evil.test/",
    "https://evil.test\\@cookcam.ai/",
    "//cookcam.ai/",
    "http://cookcam.ai/",
    f"{HOME}:444/",
    "javascript:alert(1)//cookcam://",
    "cookcam:evil",
    f"{HOME}/\r\nx",
    " https://cookcam.ai/",
    "https://cookc\u0430m.ai/",
)

GRANT = """
    insert into user_subscriptions (
      user_id, tier_id, status, current_period_start, current_period_end, provider,
      provider_subscription_id
    )
    values (%(user)s, %(tier)s, 'active', now(), now() + interval '30 days', %(provider)s, %(ref)s)
"""


@pytest.fixture
async def ann(billing: BillingApp) -> ApiUser:
    return await billing.person("Ann")


async def grant(billing: BillingApp, who: ApiUser, provider: str, tier: int = 2) -> None:
    await billing.sql(GRANT, user=who.id, tier=tier, provider=provider, ref=f"{provider}-{who.id}")


def faults(billing: BillingApp) -> list[Any]:
    return [line for line in billing.logs if line["log_level"] == "error"]


def order(billing: BillingApp) -> dict[str, Any]:
    """What the newest session sells."""
    session = billing.stripe.objects("checkout.session")[-1]
    return billing.stripe.get("price", billing.stripe.get("order", session["id"])["price"])


class TestCreateCheckout:
    async def test_what_stripe_is_requested_for(self, billing: BillingApp, ann: ApiUser):
        session = await billing.begin(ann)
        assert (session["mode"], session["client_reference_id"]) == ("subscription", ann.id)
        assert session["metadata"] == {"user_id": ann.id, "tier_id": "2"}
        assert session["customer_email"] == ann.email
        assert (session["success_url"], session["cancel_url"]) == tuple(BACK.values())
        price = order(billing)
        assert (price["unit_amount"], price["currency"]) == (399, "usd")
        assert price["recurring"]["interval"] == "month"
        bought = billing.stripe.get(
            "subscription", billing.stripe.pay(session["id"])["subscription"]
        )
        assert bought["metadata"] == {"user_id": ann.id, "tier_id": "2"}

    async def test_missing_fields(self, ann: ApiUser):
        for body in (
            {},
            {"tierId": 2},
            {"tierId": 2, "successUrl": BACK["successUrl"]},
            {"successUrl": BACK["successUrl"], "cancelUrl": BACK["cancelUrl"]},
            {"tierId": None, **BACK},
        ):
            response = await ann.post("/subscription/create-checkout", body)
            assert response.status_code == 400
            assert response.json()["error"] == "Missing required parameters"
            assert response.json()["required"] == ["tierId", "successUrl", "cancelUrl"]

    async def test_the_spelling_of_the_app(self, billing: BillingApp, ann: ApiUser):
        response = await ann.post("/subscription/create-checkout", {"tier_id": 3})
        assert response.status_code == 200
        session = billing.stripe.objects("checkout.session")[-1]
        assert session["success_url"].startswith(f"{HOME}/subscription/success")
        assert order(billing)["unit_amount"] == 999

    async def test_names_of_tiers(self, billing: BillingApp, ann: ApiUser):
        for tier in ("premium", "regular", "2"):
            response = await ann.post("/subscription/create-checkout", {"tierId": tier, **BACK})
            assert response.status_code == 200
            assert order(billing)["unit_amount"] == 399

    async def test_a_guest(self, billing: BillingApp):
        response = await billing.guest.post("/subscription/create-checkout", {"tierId": 2, **BACK})
        assert response.status_code == 401

    async def test_an_unknown_tier(self, billing: BillingApp, ann: ApiUser):
        """The contract names a 500 for it; a mistake of the client is no fault of ours to log."""
        for tier in (4, 0, -1, "gold"):
            response = await ann.post("/subscription/create-checkout", {"tierId": tier, **BACK})
            assert response.status_code == 500
            assert response.json()["error"] == "Failed to create checkout session"
        assert faults(billing) == []

    async def test_no_tier_at_all(self, billing: BillingApp, ann: ApiUser):
        for body in ({"tier_id": ""}, {"tier_id": " "}, {"tierId": "", **BACK}):
            response = await ann.post("/subscription/create-checkout", body)
            assert response.status_code == 400
            assert response.json()["error"] == "Missing required parameters"
        assert faults(billing) == []

    async def test_not_configured(self, database_url: str):
        async with open_billing_app(database_url, configured=False) as billing:
            ann = await billing.person()
            response = await ann.post("/subscription/create-checkout", {"tierId": 2, **BACK})
            assert response.status_code == 500
            assert response.json()["error"] == "Failed to create checkout session"
            assert (await ann.post("/subscription/portal", {})).status_code == 503
            assert (await billing.status(ann))["tier_slug"] == "free"

    async def test_a_rejection_of_stripe(self, billing: BillingApp, ann: ApiUser):
        billing.stripe.behaviour.fault = Fault("status", status=400)
        response = await ann.post("/subscription/create-checkout", {"tierId": 2, **BACK})
        assert response.status_code == 500
        assert response.json()["error"] == "Failed to create checkout session"

    async def test_an_outage_and_its_end(self, billing: BillingApp, ann: ApiUser):
        billing.stripe.behaviour.fault = Fault("status", status=503)
        response = await ann.post("/subscription/create-checkout", {"tierId": 2, **BACK})
        assert (response.status_code, response.json()["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert int(response.headers["Retry-After"]) >= 1
        billing.stripe.behaviour.fault = None
        await billing.begin(ann)

    async def test_an_affiliate_is_attributed_before_the_purchase(
        self, billing: BillingApp, ann: ApiUser
    ):
        await billing.begin(ann, affiliateCode="CC_ABCDEFGH")
        assert billing.notes.attributed == [(UUID(ann.id), "CC_ABCDEFGH")]

    async def test_defect_free_cannot_be_bought(self, billing: BillingApp, ann: ApiUser):
        response = await ann.post("/subscription/create-checkout", {"tierId": 1, **BACK})
        assert (response.status_code, response.json()["error"]) == (400, "Tier not available")
        assert billing.stripe.objects("checkout.session") == []

    async def test_defect_a_double_click_is_one_session(self, billing: BillingApp, ann: ApiUser):
        for _ in range(2):
            await billing.begin(ann)
        assert len(billing.stripe.objects("checkout.session")) == 1
        await billing.begin(ann, interval="year")
        assert len(billing.stripe.objects("checkout.session")) == 2

    async def test_defect_years_can_be_bought(self, billing: BillingApp, ann: ApiUser):
        await billing.begin(ann, 3, interval="year")
        price = order(billing)
        assert (price["unit_amount"], price["recurring"]["interval"]) == (9999, "year")

    async def test_defect_the_customer_stays_the_same(self, billing: BillingApp, ann: ApiUser):
        first = await billing.buy(ann)
        await ann.post("/subscription/cancel", {"immediately": True})
        await billing.deliver_all()
        second = await billing.buy(ann, 3)
        customers = {
            billing.stripe.get("subscription", each)["customer"] for each in (first, second)
        }
        assert len(customers) == 1

    async def test_defect_the_same_tier_twice_is_a_conflict(
        self, billing: BillingApp, ann: ApiUser
    ):
        await billing.buy(ann)
        response = await ann.post("/subscription/create-checkout", {"tierId": 2, **BACK})
        assert (response.status_code, response.json()["error"]) == (
            409,
            "Subscription already active",
        )

    async def test_defect_redirects_are_checked(self, ann: ApiUser):
        for url in ELSEWHERE:
            for field in BACK:
                body = {"tierId": 2, **BACK, field: url}
                response = await ann.post("/subscription/create-checkout", body)
                assert response.status_code == 400, url
                assert response.json()["error"] == "Redirect URL not allowed"

    def test_other_origins_have_to_be_named(self):
        redirects = Redirects.of(HOME, ["https://app.test:8443", "http://localhost:3000"])
        for url in ("https://app.test:8443/a?b#c", "http://localhost:3000", "cookcam://x"):
            assert redirects.checked(url) == url
        for url in (HOME, "http://localhost:3001/", "https://app.test/"):
            with pytest.raises(BadRequest):
                redirects.checked(url)


class TestPortal:
    async def test_a_customer(self, billing: BillingApp, ann: ApiUser):
        await billing.buy(ann)
        response = await ann.post("/subscription/portal", {"returnUrl": "cookcam://settings"})
        assert response.status_code == 200
        assert response.json()["portalUrl"].startswith("http")
        response = await ann.post("/subscription/portal", {"returnUrl": "https://evil.test"})
        assert response.status_code == 400

    async def test_nobody(self, ann: ApiUser):
        response = await ann.post("/subscription/portal", {})
        assert (response.status_code, response.json()["error"]) == (404, "No billing account found")

    async def test_customer_unknown_to_stripe(self, billing: BillingApp, ann: ApiUser):
        await grant(billing, ann, "stripe")
        await billing.sql(
            "update user_subscriptions set provider_customer_id = 'cus_gone' where user_id = %(u)s",
            u=ann.id,
        )
        requested = len(billing.stripe.requests)
        response = await ann.post("/subscription/portal", {})
        assert (response.status_code, response.json()["error"]) == (404, "No billing account found")
        assert len(billing.stripe.requests) == requested + 1
        assert faults(billing) == []
        refreshed = await ann.post("/subscription/refresh-status", {})
        assert (refreshed.status_code, refreshed.json()["tier_slug"]) == (200, "regular")


class TestUnknownToStripe:
    """A subscription is here and not at Stripe: it was made with the key of another account."""

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("cancel", {}),
            ("cancel", {"immediately": True}),
            ("change-tier", {"tierId": 1}),
            ("change-tier", {"tierId": 2}),
            ("change-tier", {"tierId": 3}),
        ],
    )
    async def test_it_is_a_conflict_and_nothing_changes(
        self, billing: BillingApp, ann: ApiUser, path: str, body: dict[str, Any]
    ):
        await grant(billing, ann, "stripe")
        before = await billing.sql(
            "select * from user_subscriptions where user_id = %(u)s", u=ann.id
        )
        requested = len(billing.stripe.requests)
        response = await ann.post(f"/subscription/{path}", body)
        assert response.status_code == 409
        assert response.json()["error"] == "Subscription unknown to Stripe"
        assert response.json()["code"] == "CONFLICT_ERROR"
        assert len(billing.stripe.requests) <= requested + 2
        assert before == await billing.sql(
            "select * from user_subscriptions where user_id = %(u)s", u=ann.id
        )
        assert faults(billing) == []


class TestChangeTier:
    async def test_defect_tier_requires_a_payment(self, billing: BillingApp, ann: ApiUser):
        """The earlier server granted 30 days of any tier on request."""
        response = await ann.post("/subscription/change-tier", {"tierId": 3})
        body = response.json()
        assert (response.status_code, body["error"]) == (402, "Payment required")
        assert body["upgradeUrl"] == "/subscription/upgrade"
        assert await billing.has(ann) == "free"
        assert (
            await billing.sql("select 1 from user_subscriptions where user_id = %(u)s", u=ann.id)
            == []
        )

    async def test_which_tier(self, ann: ApiUser):
        for body, words in (
            ({}, "Tier ID required"),
            ({"tierId": 9}, "Invalid tier"),
            ({"tier_id": "x"}, "Invalid tier"),
        ):
            response = await ann.post("/subscription/change-tier", body)
            assert (response.status_code, response.json()["error"]) == (400, words)

    async def test_defect_upgrade_is_immediate_and_sent_to_stripe(
        self, billing: BillingApp, ann: ApiUser
    ):
        bought = await billing.buy(ann)
        response = await ann.post("/subscription/change-tier", {"tierId": 3})
        body = response.json()
        assert response.status_code == 200, body
        assert (body["success"], body["message"]) == (
            True,
            "Subscription tier updated successfully",
        )
        assert body["subscription"]["tier_id"] == 3
        assert await billing.has(ann) == "creator"
        item = billing.stripe.get("subscription", bought)["items"]["data"][0]
        assert item["price"]["unit_amount"] == 999
        await billing.deliver_all()
        assert await billing.has(ann) == "creator"
        assert "upgraded" in await billing.history(bought)

    async def test_defect_down_is_from_the_next_period(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann, 3)
        response = await ann.post("/subscription/change-tier", {"tier_id": 2})
        assert (response.status_code, response.json()["subscription"]["tier_id"]) == (200, 3)
        await billing.deliver_all()
        assert await billing.has(ann) == "creator"
        billing.stripe.advance(32 * DAY)
        await billing.deliver_all()
        assert await billing.has(ann) == "regular"
        assert "downgraded" in await billing.history(bought)

    async def test_to_the_same_tier_takes_back_what_was_to_come(
        self, billing: BillingApp, ann: ApiUser
    ):
        bought = await billing.buy(ann)
        await ann.post("/subscription/cancel", {})
        response = await ann.post("/subscription/change-tier", {"tierId": 2})
        assert response.status_code == 200
        assert response.json()["subscription"]["cancel_at_period_end"] is False
        assert billing.stripe.get("subscription", bought)["cancel_at_period_end"] is False

    async def test_to_free_is_a_cancellation(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        response = await ann.post("/subscription/change-tier", {"tierId": 1})
        assert response.status_code == 200
        assert response.json()["subscription"]["cancel_at_period_end"] is True
        assert billing.stripe.get("subscription", bought)["cancel_at_period_end"] is True
        assert await billing.has(ann) == "regular"

    async def test_a_declined_card_changes_nothing(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        billing.stripe.set_card(billing.stripe.get("subscription", bought)["customer"], "decline")
        response = await ann.post("/subscription/change-tier", {"tierId": 3})
        assert (response.status_code, response.json()["code"]) == (402, "PAYMENT_ERROR")
        await billing.deliver_all()
        assert await billing.has(ann) == "regular"

    async def test_app_stores(self, billing: BillingApp):
        for provider in ("ios", "android"):
            who = await billing.person()
            await grant(billing, who, provider)
            for tier in (1, 2, 3):
                response = await who.post("/subscription/change-tier", {"tierId": tier})
                assert (response.status_code, response.json()["error"]) == (
                    409,
                    "Managed by app store",
                )

    async def test_an_outage_changes_nothing(self, billing: BillingApp, ann: ApiUser):
        await billing.buy(ann)
        billing.stripe.behaviour.fault = Fault("status", status=500)
        response = await ann.post("/subscription/change-tier", {"tierId": 3})
        assert response.status_code == 503
        assert "Retry-After" in response.headers
        assert await billing.has(ann) == "regular"


class TestCancel:
    async def test_defect_stripe_gets_the_response_at_once(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        response = await ann.post("/subscription/cancel", {"immediately": True})
        assert (response.status_code, response.json()) == (
            200,
            {"success": True, "message": "Subscription cancelled immediately"},
        )
        assert billing.stripe.get("subscription", bought)["status"] == "canceled"
        assert await billing.has(ann) == "free"
        row = await billing.row(bought)
        assert (row.status, billing.notes.ended) == ("cancelled", [row.id])
        await billing.deliver_all()
        assert billing.notes.ended == [row.id]

    async def test_nothing_to_cancel(self, ann: ApiUser):
        response = await ann.post("/subscription/cancel", {})
        assert (response.status_code, response.json()["error"]) == (
            404,
            "No active subscription found",
        )

    async def test_only_the_customer_cancels_at_a_store(self, billing: BillingApp):
        for provider in ("ios", "android"):
            who = await billing.person()
            await grant(billing, who, provider)
            response = await who.post("/subscription/cancel", {})
            assert (response.status_code, response.json()) == (
                200,
                {
                    "success": True,
                    "message": "Subscription will be cancelled at the end of the billing period",
                    "managedBy": provider,
                },
            )
            assert (await billing.status(who))["cancel_at_period_end"] is True
            assert await billing.has(who) == "regular"

    async def test_a_grant_is_ours_to_end(self, billing: BillingApp, ann: ApiUser):
        await grant(billing, ann, "manual")
        assert (await ann.post("/subscription/cancel", {"immediately": True})).status_code == 200
        assert await billing.has(ann) == "free"

    async def test_defect_a_user_id_in_the_body_is_not_read(
        self, billing: BillingApp, ann: ApiUser
    ):
        await billing.buy(ann)
        bob = await billing.person("Bob")
        response = await bob.post("/subscription/cancel", {"userId": ann.id, "cancelReason": "x"})
        assert response.status_code == 404
        assert (
            await billing.guest.post("/subscription/cancel", {"userId": ann.id})
        ).status_code == 401
        assert await billing.has(ann) == "regular"

    async def test_an_outage_cancels_nothing(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        billing.stripe.behaviour.fault = Fault("status", status=503)
        response = await ann.post("/subscription/cancel", {})
        assert (response.status_code, response.headers["Retry-After"]) == (503, "2")
        assert (await billing.row(bought)).cancel_at_period_end is False
        billing.stripe.behaviour.fault = None
        assert (await ann.post("/subscription/cancel", {})).status_code == 200


class TestRefreshing:
    async def test_what_no_event_reported(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        billing.stripe.advance(31 * DAY)
        response = await ann.post("/subscription/refresh-status", {})
        assert (response.status_code, response.json()["tier_slug"]) == (200, "regular")
        period = billing.stripe.get("subscription", bought)["items"]["data"][0][
            "current_period_end"
        ]
        assert int((await billing.row(bought)).current_period_end.timestamp()) == period
        assert (await billing.history(bought))[-1] == "reconciled"

    async def test_an_outage(self, billing: BillingApp, ann: ApiUser):
        await billing.buy(ann)
        billing.stripe.behaviour.fault = Fault("status", status=503)
        response = await ann.post("/subscription/refresh-status", {})
        assert response.status_code == 503
        assert "Retry-After" in response.headers

    async def test_nobody_knows_them(self, ann: ApiUser):
        response = await ann.post("/subscription/refresh-status", {})
        assert (response.status_code, response.json()["tier_slug"]) == (200, "free")

    async def test_creator_tier_requires_a_purchase(self, billing: BillingApp, ann: ApiUser):
        claimed = {"subscriptionData": {"productId": "x", "transactionId": "y", "tier": "creator"}}
        response = await ann.post("/subscription/upgrade-to-creator", claimed)
        assert (response.status_code, response.json()["error"]) == (402, "Payment required")
        await billing.buy(ann, 3)
        response = await ann.post("/subscription/upgrade-to-creator", claimed)
        assert (response.status_code, response.json()["isCreator"]) == (200, True)

    async def test_reactivation_is_not_offered(self, billing: BillingApp, ann: ApiUser):
        response = await ann.post("/subscription/reactivate", {"userId": ann.id, "offerCode": "x"})
        assert (response.status_code, response.json()["code"]) == (501, "NOT_IMPLEMENTED")
        assert (await billing.guest.post("/subscription/reactivate", {})).status_code == 401


class TestSuperseded:
    async def test_the_lesser_one_is_ended_at_stripe(self, fresh_database_url: str):
        # A database of its own: all that is superseded in it is this test's.
        async with open_billing_app(fresh_database_url) as billing:
            ann = await billing.person("Ann")
            superseded = billing.container.superseded
            assert superseded is not None

            lesser = await billing.buy(ann)
            better = await billing.buy(ann, 3)
            assert await billing.has(ann) == "creator"
            assert (await billing.row(lesser)).superseded_status == "active"

            billing.stripe.behaviour.fault = Fault("status", times=1, status=400)
            assert await superseded.end_all() == 0
            assert await superseded.end_all() == 1
            assert billing.stripe.get("subscription", lesser)["cancel_at_period_end"] is True
            assert await superseded.end_all() == 0
            await billing.deliver_all()
            assert await billing.has(ann) == "creator"

            # What was paid for is the fallback.
            billing.stripe.refund(billing.stripe.objects("charge")[-1]["id"])
            await billing.deliver_all()
            assert billing.stripe.get("subscription", better)["status"] == "canceled"
            assert await billing.has(ann) == "regular"
            billing.stripe.advance(32 * DAY)
            await billing.deliver_all()
            assert await billing.has(ann) == "free"
            assert int(time.time()) < billing.stripe.now
