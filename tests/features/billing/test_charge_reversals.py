"""Nothing is charged for an account that is gone, and nothing twice: what Stripe took all the same
is cancelled, given back, recorded and reported, in whatever order its events arrive.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

import pytest
import trio

from cookcam.features.billing.ledger import reversals as reversals_module
from cookcam.sandbox.stripe import Fault
from cookcam.sandbox.stripe.outbox import Endpoint
from tests.features.conftest import ApiUser
from tests.identity.project import PASSWORD
from tests.support.owners import OwnersApp, open_owners_app
from tests.support.stripe_billing import BACK, BillingApp, open_billing_app

DAY = 86_400
SECRET = "whsec_of_the_program"


@pytest.fixture
async def billing(fresh_database_url: str) -> AsyncIterator[BillingApp]:
    async with open_billing_app(fresh_database_url) as opened:
        yield opened


@pytest.fixture
async def ann(billing: BillingApp) -> ApiUser:
    return await billing.person("Ann")


async def delete_account(billing: BillingApp, who: ApiUser) -> None:
    await billing.sql("delete from auth.users where id = %(id)s", id=who.id)
    await billing.sql("delete from users where id = %(id)s", id=who.id)


async def reverse(billing: BillingApp) -> int:
    return await billing.container.charge_reversals.sweep()


async def recorded(billing: BillingApp) -> list[tuple[str, str, str | None]]:
    return await billing.sql(
        "select reason, status, outcome from charge_reversals order by 1, 2, 3"
    )


def refunded(billing: BillingApp) -> int:
    return sum(refund["amount"] for refund in billing.stripe.objects("refund"))


class TestClosedAccounts:
    @pytest.mark.parametrize("seed", range(6))
    async def test_deleted_between_checkout_and_payment_is_cancelled_and_refunded_once(
        self, billing: BillingApp, ann: ApiUser, seed: int
    ):
        session = await billing.begin(ann)
        await delete_account(billing, ann)
        bought = billing.stripe.pay(session["id"])["subscription"]
        events = billing.new()
        random.Random(seed).shuffle(events)
        for number, event in enumerate(events):
            assert (await billing.deliver(event)).status_code == 200
            if number % 3 == seed % 3:
                await reverse(billing)
        await reverse(billing)
        await billing.deliver_all()
        await reverse(billing)
        assert billing.stripe.get("subscription", bought)["status"] == "canceled"
        assert refunded(billing) == 399
        assert await recorded(billing) == [("closed_account", "settled", "refunded")]
        assert billing.notes.reported
        assert ("closed_account", "refunded") in billing.notes.reversed
        assert "closed account was charged" in [line["event"] for line in billing.logs]

    async def test_renewal_after_the_deletion_is_refunded(self, billing: BillingApp, ann: ApiUser):
        bought = await billing.buy(ann)
        await delete_account(billing, ann)
        billing.stripe.advance(31 * DAY)
        await billing.deliver_all()
        await reverse(billing)
        await billing.deliver_all()
        await reverse(billing)
        assert billing.stripe.get("subscription", bought)["status"] == "canceled"
        assert refunded(billing) == 399, "the renewal, and not the period that was used"

    async def test_every_payment_since_the_deletion_is_refunded(
        self, billing: BillingApp, ann: ApiUser
    ):
        """Three months were charged before the first event arrived."""
        bought = await billing.buy(ann)
        billing.stripe.advance(5 * DAY)
        await billing.sql(
            "insert into account_deletions (user_hash, user_id, requested_at)"
            " values (%(hash)s, %(id)s, to_timestamp(%(at)s))",
            hash=billing.container.receipts.hashes_of(UUID(str(ann.id)))[0],
            id=ann.id,
            at=billing.stripe.now,
        )
        await delete_account(billing, ann)
        for _ in range(3):
            billing.stripe.advance(31 * DAY)
        await billing.deliver_all()
        await reverse(billing)
        await billing.deliver_all()
        await reverse(billing)
        assert billing.stripe.get("subscription", bought)["status"] == "canceled"
        assert refunded(billing) == 3 * 399, "not the period that was used"

    async def test_a_subscription_that_was_cancelled_with_its_account_is_not_refunded(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        bought = billing.stripe.pay(session["id"])["subscription"]
        late = billing.new("customer.subscription.updated")
        for event in late:
            billing.delivered.add(event["id"])
        await billing.deliver_all()
        await ann.post("/subscription/cancel", {"immediately": True})
        await delete_account(billing, ann)
        for event in late:
            await billing.deliver(event)
        await billing.deliver_all()
        await reverse(billing)
        assert refunded(billing) == 0
        assert billing.stripe.get("subscription", bought)["status"] == "canceled"
        assert billing.notes.reported == []

    async def test_outage_between_cancellation_and_refund_delays_the_refund(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        await delete_account(billing, ann)
        bought = billing.stripe.pay(session["id"])["subscription"]
        await billing.deliver_all()
        billing.stripe.behaviour.fault = Fault("status", status=503, path="/v1/refunds")
        assert await reverse(billing) == 0
        assert billing.stripe.get("subscription", bought)["status"] == "canceled"
        billing.stripe.behaviour.fault = None
        await billing.sql("update charge_reversals set next_attempt_at = now()")
        assert await reverse(billing) == 1
        assert refunded(billing) == 399

    async def test_what_is_not_ours_is_left_alone(self, billing: BillingApp):
        (other,) = billing.stripe.stock(1, amount=1234, events=True)
        await billing.deliver_all()
        assert await reverse(billing) == 0
        assert billing.stripe.get("subscription", other)["status"] == "active"

    async def test_too_many_in_a_day_stop_it(
        self, billing: BillingApp, ann: ApiUser, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(reversals_module, "DAILY_LIMIT", 1)
        for name in ("Bob", "Cat"):
            who = await billing.person(name)
            session = await billing.begin(who)
            await delete_account(billing, who)
            billing.stripe.pay(session["id"])
            await billing.deliver_all()
            await reverse(billing)
        assert refunded(billing) == 399
        assert "too many charges to reverse; is this the right database?" in [
            line["event"] for line in billing.logs
        ]

    @pytest.mark.parametrize("how", ["deleted", "banned", "being deleted"])
    async def test_a_closed_account_cannot_buy_or_change(
        self, billing: BillingApp, ann: ApiUser, how: str
    ):
        if how == "deleted":
            await delete_account(billing, ann)
        elif how == "banned":
            await billing.sql(
                "update auth.users set banned_until = now() + interval '1 day' where id = %(id)s",
                id=ann.id,
            )
        else:
            await billing.sql(
                "insert into account_deletions (user_hash, user_id)"
                " values (repeat('a', 64), %(id)s)",
                id=ann.id,
            )
        for path, body in (
            ("create-checkout", {"tierId": 2, **BACK}),
            ("change-tier", {"tierId": 3}),
            ("cancel", {}),
        ):
            response = await ann.post(f"/subscription/{path}", body)
            assert response.status_code in (401, 403, 404), (path, response.text)
        assert billing.stripe.objects("checkout.session") == []


class TestTwoTabs:
    async def test_a_second_checkout_closes_the_first_and_the_same_again_is_the_same(
        self, billing: BillingApp, ann: ApiUser
    ):
        first = await billing.begin(ann)
        assert (await billing.begin(ann))["id"] == first["id"]
        second = await billing.begin(ann, interval="year")
        third = await billing.begin(ann)
        assert len({first["id"], second["id"], third["id"]}) == 3
        assert [session["status"] for session in billing.stripe.objects("checkout.session")] == [
            "expired",
            "expired",
            "open",
        ]

    async def test_a_checkout_after_a_payment_that_no_event_reported_is_rejected(
        self, billing: BillingApp, ann: ApiUser
    ):
        session = await billing.begin(ann)
        billing.stripe.pay(session["id"])
        response = await ann.post("/subscription/create-checkout", {"tierId": 2, **BACK})
        assert (response.status_code, response.json()["error"]) == (
            409,
            "Subscription already active",
        )
        await billing.deliver_all()
        assert len(billing.stripe.objects("checkout.session")) == 1

    async def test_tabs_that_open_at_once_leave_one_page(self, billing: BillingApp, ann: ApiUser):
        statuses: list[int] = []

        async def open_tab(number: int) -> None:
            body = {"tierId": 2 + number % 2, **BACK, "interval": ("month", "year")[number // 4]}
            response = await ann.post("/subscription/create-checkout", body)
            statuses.append(response.status_code)

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(open_tab, number)
        assert set(statuses) <= {200, 409}
        sessions = billing.stripe.objects("checkout.session")
        assert [session["status"] for session in sessions].count("open") == 1

    async def test_a_second_purchase_of_a_tier_is_ended_and_refunded(
        self, billing: BillingApp, ann: ApiUser
    ):
        await billing.buy(ann)
        customer = billing.stripe.objects("subscription")[0]["customer"]
        api = billing.stripe._api
        # As an older instance sold it, which left both pages open.
        second = api.billing.subscribe(
            customer,
            billing.stripe.objects("price")[-1]["id"],
            {"user_id": ann.id, "tier_id": "2"},
        )
        await billing.deliver_all()
        superseded = billing.container.superseded
        assert superseded is not None
        await superseded.end_all()
        await reverse(billing)
        await superseded.end_all()
        await billing.deliver_all()
        await reverse(billing)
        statuses = sorted(one["status"] for one in billing.stripe.objects("subscription"))
        assert statuses == ["active", "canceled"], second.id
        assert refunded(billing) == 399
        assert await billing.has(ann) == "regular"
        assert billing.notes.reported == []


async def test_twenty_changes_at_once_end_in_a_state_and_none_in_a_500(
    billing: BillingApp, ann: ApiUser
):
    bought = await billing.buy(ann)
    statuses: list[int] = []

    async def change(tier: int) -> None:
        response = await ann.post("/subscription/change-tier", {"tierId": tier})
        statuses.append(response.status_code)

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(change, 2 + number % 2)
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    await billing.deliver_all()
    row, received = await billing.row(bought), billing.stripe.get("subscription", bought)
    (item,) = received["items"]["data"]
    assert row.tier_id == {399: 2, 999: 3}[item["price"]["unit_amount"]]
    assert row.cancel_at_period_end == received["cancel_at_period_end"]


class TestWholeProgram:
    @pytest.fixture
    async def house(self, fresh_database_url: str, tmp_path: Path) -> AsyncIterator[OwnersApp]:
        async with open_owners_app(
            fresh_database_url, tmp_path, STRIPE_WEBHOOK_SECRET=SECRET
        ) as opened:
            assert opened.server is not None
            url = f"{opened.server.url}/api/v1/subscription/webhook/stripe"
            opened.stripe.outbox.endpoints.append(Endpoint(url, [SECRET]))
            yield opened

    async def open_page(self, house: OwnersApp, who: ApiUser) -> str:
        response = await who.post("/subscription/create-checkout", {"tier_id": 2})
        assert response.status_code == 200, response.text
        return house.stripe.objects("checkout.session")[-1]["id"]

    async def test_deleting_an_account_closes_its_page(self, house: OwnersApp):
        ann = await house.person("Ann")
        session_id = await self.open_page(house, ann)
        response = await ann.delete("/auth/account", json={"confirmPassword": PASSWORD})
        assert response.status_code == 200, response.text
        assert house.stripe.get("checkout.session", session_id)["status"] == "expired"

    async def test_page_paid_during_the_deletion_of_its_account_is_refunded(self, house: OwnersApp):
        ann = await house.person("Ann")
        session_id = await self.open_page(house, ann)
        house.stripe.behaviour.mail.hold = True
        bought = house.stripe.pay(session_id)["subscription"]
        response = await ann.delete("/auth/account", json={"confirmPassword": PASSWORD})
        assert response.status_code == 200, response.text
        house.stripe.release(seed=1)
        with trio.fail_after(15):
            while not house.stripe.objects("refund"):
                await trio.sleep(0.05)
            while not await house.sql("select 1 from charge_reversals where status = 'settled'"):
                await trio.sleep(0.05)
        assert house.stripe.get("subscription", bought)["status"] == "canceled"
        assert [refund["amount"] for refund in house.stripe.objects("refund")] == [399]
        assert house.server is not None
        shown = (await house.http.get("/metrics")).text
        assert 'reason="closed_account"' in shown
