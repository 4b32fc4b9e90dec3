"""Tips, commissions and payouts: money that arrives once, goes back once, and is paid once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from cookcam.database import Database
from cookcam.errors import AppError, ConstraintViolation
from cookcam.features.accounts.referrals.service import Referrals
from cookcam.features.accounts.referrals.store import ReferralStore
from cookcam.features.billing.commissions import MoneyBack, Receipt
from cookcam.features.billing.tiers.models import Subscription
from cookcam.features.billing.tiers.store import SubscriptionStore
from cookcam.features.creators.commissions.service import CreatorCommissions
from cookcam.features.creators.commissions.store import AttributionStore
from cookcam.features.creators.ledger import CreatorLedger, Earning
from cookcam.features.creators.money import cents_of, prorate
from cookcam.features.creators.payouts.service import Payouts
from cookcam.features.creators.payouts.store import PayoutStore
from cookcam.features.messaging.notifications.messages import payout_failed
from cookcam.integrations.stripe.events import Event
from cookcam.sandbox.stripe import Fault
from tests.features.conftest import ApiUser
from tests.support.creators import CREATOR, STRIPE, CreatorsServer, open_creators_server
from tests.support.profiles import profiles_of

NOW = datetime.now(UTC)
PAYOUT_KEYS = {
    "id",
    "creator_id",
    "stripe_account_id",
    "amount",
    "currency",
    "method",
    "status",
    "stripe_transfer_id",
    "stripe_payout_id",
    "notes",
    "requested_at",
    "processed_at",
    "created_at",
    "updated_at",
}


@pytest.fixture
async def server(database_url: str) -> AsyncIterator[CreatorsServer]:
    async with open_creators_server(database_url) as opened:
        await opened.resolve()  # what other tests left
        yield opened


@pytest.fixture
async def cid(server: CreatorsServer) -> ApiUser:
    return await server.creator(account="active")


def figures(body: dict[str, Any]) -> tuple[float, float, float]:
    return body["total_earnings"], body["available_balance"], body["pending_balance"]


@given(st.integers(-(10**9), 10**9))
def test_cents_survive_conversion_to_dollars_and_back(cents: int):
    assert cents_of(cents / 100) == cents
    assert cents_of(float(f"{cents / 100:.2f}")) == cents


@pytest.mark.parametrize("dollars", [0.001, 10.005, float("nan"), float("inf"), 1e300, 1e-9])
def test_invalid_dollar_amounts_are_rejected(dollars: float):
    assert cents_of(dollars) is None


@given(st.integers(0, 10**7), st.integers(0, 100))
def test_shares_are_rounded_half_up(cents: int, percent: int):
    share = prorate(cents, percent, 100)
    assert -50 <= cents * percent - share * 100 < 50
    assert 0 <= share <= cents


def test_the_documented_commissions():
    assert (prorate(399, 30, 100), prorate(999, 30, 100)) == (120, 300)


class TestTips:
    async def test_tip_is_pending_until_it_is_paid(self, server: CreatorsServer, cid: ApiUser):
        ann, recipe = await server.person(), await server.recipe(cid)
        response = await ann.post(f"/recipe/{recipe}/tip", {"amount": 0.5, "message": "Thanks"})
        body = response.json()
        assert response.status_code == 200
        assert set(body) == {"success", "message", "clientSecret", "tipId"}
        assert body["message"] == "Tip sent successfully"
        (intent,) = (i for i in server.stripe.objects("payment_intent"))
        assert intent["client_secret"] == body["clientSecret"]
        assert intent["metadata"]["creator_id"] == cid.id
        assert figures(await server.balance(cid)) == (0, 0, 0)
        server.stripe.confirm(intent["id"])
        await server.deliver_all()
        assert figures(await server.balance(cid)) == (0.5, 0, 0.5)
        assert await server.ledger(cid) == [("tip", 50)]
        (event,) = (e for e in server.stripe.events if e["type"] == "payment_intent.succeeded")
        assert (await server.deliver({**event, "id": f"evt_{uuid4().hex}"})).status_code == 200
        assert await server.ledger(cid) == [("tip", 50)]
        await server.assert_balanced(cid)

    async def test_money_cannot_be_created(self, server: CreatorsServer, cid: ApiUser):
        ann, bob = await server.person(), await server.person("Bob")
        recipe, path = await server.recipe(cid), "/subscription/recipe/{}/tip"
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "Missing required parameters"),
            ({"amount": 5, "creatorId": bob.id}, "Invalid creator"),
            ({"amount": 0.49}, "Minimum tip amount is $0.50"),
            ({"amount": -5}, "Minimum tip amount is $0.50"),
            ({"amount": 500.01}, "Maximum tip amount is $500"),
            ({"amount": 1.001}, "Invalid amount"),
            ({"amount": 1e300}, "Invalid amount"),
            ({"amount": "5"}, "VALIDATION_ERROR"),
            ({"amount": True}, "VALIDATION_ERROR"),
            ({"amount": 5, "message": "x" * 501}, "VALIDATION_ERROR"),
        ]
        for body, error in cases:
            response = await ann.post(path.format(recipe), body)
            assert (response.status_code, response.json()["error"]) == (400, error), body
        assert (await ann.post(path.format(recipe), {})).json()["required"] == [
            "amount",
            "creatorId",
        ]
        response = await cid.post(path.format(recipe), {"amount": 5})
        assert (response.status_code, response.json()["error"]) == (400, "Invalid creator")
        draft = await server.recipe(cid, published=False)
        for unknown in (str(uuid4()), "nonsense", draft):
            assert (await ann.post(path.format(unknown), {"amount": 5})).status_code == 404
        assert (await server.guest.post(path.format(recipe), {"amount": 5})).status_code == 401
        await server.deliver_all()
        assert server.stripe.objects("payment_intent") == []
        assert figures(await server.balance(cid)) == (0, 0, 0)

    async def test_partial_refunds_and_disputes_reduce_the_share(
        self, server: CreatorsServer, cid: ApiUser
    ):
        ann, recipe = await server.person(), await server.recipe(cid)
        intent = await server.tip(ann, recipe, 10)
        charge = server.stripe.confirm(intent["id"])["latest_charge"]
        server.stripe.refund(charge, 300)
        # The refund is reported before the payment, and both are reported again.
        events = server.new("payment_intent.succeeded", "charge.refunded")
        for event in (*reversed(events), *events):
            copy = {**event, "id": f"evt_{uuid4().hex}"}
            assert (await server.deliver(copy)).status_code == 200
        assert await server.ledger(cid) == [("tip", 1000), ("refund", -300)]
        dispute = server.stripe.dispute(charge)
        await server.deliver_all()
        assert sum(cents for _, cents in await server.ledger(cid)) == 0
        assert await tip_status(server, intent) == "refunded"
        server.stripe.close_dispute(dispute["id"], won=True)
        await server.deliver_all()
        assert sum(cents for _, cents in await server.ledger(cid)) == 700
        assert await tip_status(server, intent) == "completed"
        server.stripe.refund(charge)
        await server.deliver_all()
        assert sum(cents for _, cents in await server.ledger(cid)) == 0
        assert await tip_status(server, intent) == "refunded"
        assert figures(await server.balance(cid)) == (0, 0, 0)
        await server.assert_balanced(cid)

    async def test_tip_while_stripe_is_unavailable_or_not_configured(
        self, server: CreatorsServer, cid: ApiUser
    ):
        ann, recipe = await server.person(), await server.recipe(cid)
        path = f"/subscription/recipe/{recipe}/tip"
        server.stripe.behaviour.fault = Fault("status", status=503, path="/v1/payment_intents")
        response = await ann.post(path, {"amount": 5})
        assert (response.status_code, response.headers["retry-after"]) == (503, "2")
        server.stripe.behaviour.fault = Fault("status", status=400, path="/v1/payment_intents")
        response = await ann.post(path, {"amount": 5})
        assert (response.status_code, response.json()["error"]) == (502, "Failed to send tip")
        rows = await server.sql(
            "select status from creator_tips where creator_id = %(id)s order by created_at",
            id=cid.id,
        )
        assert rows == [("pending",), ("failed",)]


async def tip_status(server: CreatorsServer, intent: dict[str, Any]) -> str:
    rows = await server.sql(
        "select status from creator_tips where stripe_payment_intent_id = %(id)s", id=intent["id"]
    )
    return rows[0][0]


class TestPayouts:
    async def test_payout_from_balance_to_bank(self, server: CreatorsServer, cid: ApiUser):
        await server.earn(cid, 2500)
        await server.earn(cid, 700, days_ago=1)
        balance = await server.balance(cid)
        assert figures(balance) == (32, 25, 7)
        assert balance["last_payout_date"] is None
        payday = datetime.fromisoformat(balance["next_payout_date"])
        assert payday.weekday() == 4
        assert timedelta(0) < payday - datetime.now(UTC) <= timedelta(days=7)

        response = await server.payout(cid, 20)
        assert response.status_code == 200, response.text
        body = response.json()
        assert body["message"] == "Payout request submitted successfully"
        payout = body["payout"]
        assert set(payout) == PAYOUT_KEYS
        assert (payout["amount"], payout["status"], payout["method"]) == (
            20,
            "processing",
            "stripe",
        )
        transfer = server.stripe.get("transfer", payout["stripe_transfer_id"])
        assert transfer["amount"] == 2000
        assert transfer["metadata"] == {
            "creator_id": cid.id,
            "payout_id": payout["id"],
            "platform": "cookcam",
        }
        assert figures(await server.balance(cid)) == (32, 5, 7)

        server.stripe.advance(86_400)
        paid = server.stripe.pay_out(payout["stripe_account_id"], 2000)
        await server.deliver_all()
        history = (await cid.get(f"{CREATOR}/payouts/history")).json()
        assert history["pagination"] == {"limit": 20, "offset": 0, "total": 1}
        (known,) = history["payouts"]
        assert (known["status"], known["stripe_payout_id"]) == ("completed", paid["id"])
        assert known["processed_at"] is not None
        assert (await server.balance(cid))["last_payout_date"] == known["processed_at"]
        await server.assert_balanced(cid)

    async def test_payout_amount_method_and_balance_are_validated(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 1500)
        cases: list[tuple[dict[str, Any], str]] = [
            ({}, "Missing required parameters"),
            ({"amount": 10}, "Missing required parameters"),
            ({"amount": 10, "method": "paypal"}, "Unsupported payout method"),
            ({"amount": 10, "method": "bank_transfer"}, "Unsupported payout method"),
            ({"amount": 9.99, "method": "stripe"}, "Minimum payout amount is $10"),
            ({"amount": -100, "method": "stripe"}, "Minimum payout amount is $10"),
            ({"amount": 15.01, "method": "stripe"}, "Insufficient balance"),
            ({"amount": 10.001, "method": "stripe"}, "Invalid amount"),
            ({"amount": 1e300, "method": "stripe"}, "Invalid amount"),
            ({"amount": "12", "method": "stripe"}, "VALIDATION_ERROR"),
        ]
        for body, error in cases:
            response = await cid.post(f"{CREATOR}/payout", body)
            assert (response.status_code, response.json()["error"]) == (400, error), body
        response = await cid.post(f"{CREATOR}/payout", {})
        assert response.json()["required"] == ["amount", "method"]
        assert server.stripe.objects("transfer") == []

    async def test_payout_without_an_active_account_is_a_conflict(self, server: CreatorsServer):
        for account in (None, "restricted"):
            cid = await server.creator(account=account)
            await server.earn(cid, 1500)
            response = await server.payout(cid, 15)
            assert (response.status_code, response.json()["error"]) == (
                409,
                "Stripe account not ready",
            )
            assert figures(await server.balance(cid)) == (15, 15, 0)
            assert (await cid.get(f"{CREATOR}/payouts/history")).json()["payouts"] == []

    async def test_concurrent_payouts_cannot_exceed_the_balance(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 5000)
        responses: list[int] = []

        async def ask() -> None:
            responses.append((await server.payout(cid, 20)).status_code)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert sorted(responses) == [200, 200] + [400] * 8
        assert len(server.stripe.objects("transfer")) == 2
        assert figures(await server.balance(cid)) == (50, 10, 0)
        await server.assert_balanced(cid)

    async def test_repeated_idempotency_key_is_one_payout(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 5000)
        headers = {"Idempotency-Key": "tap"}
        first, second = [(await server.payout(cid, 20, **headers)).json() for _ in range(2)]
        assert first == second
        assert len(server.stripe.objects("transfer")) == 1

    async def test_key_reused_for_another_amount_is_rejected_with_409(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 9000)
        headers = {"Idempotency-Key": "tap"}
        first = await server.payout(cid, 20, **headers)
        for dollars in (30, 5, 9000):
            other = await server.payout(cid, dollars, **headers)
            assert (other.status_code, other.json()["code"]) == (409, "IDEMPOTENCY_KEY_REUSED")
        assert (await server.payout(cid, 20, **headers)).json() == first.json()
        assert len(server.stripe.objects("transfer")) == 1

    async def test_long_idempotency_keys_are_distinguished(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 9000)
        for end in ("a", "b"):
            response = await server.payout(cid, 20, **{"Idempotency-Key": "k" * 250 + end})
            assert response.status_code == 200
        assert len(server.stripe.objects("transfer")) == 2

    async def test_rejected_transfer_releases_the_amount(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 2000)
        server.stripe.behaviour.balance_cents = 100
        response = await server.payout(cid, 20)
        assert (response.status_code, response.json()["error"]) == (502, "Failed to request payout")
        (payout,) = (await cid.get(f"{CREATOR}/payouts/history")).json()["payouts"]
        assert (payout["status"], payout["notes"]) == ("failed", "balance_insufficient")
        assert figures(await server.balance(cid)) == (20, 20, 0)
        server.stripe.behaviour.balance_cents = None
        assert (await server.payout(cid, 20)).status_code == 200
        await server.assert_balanced(cid)

    async def test_transfer_with_lost_response_is_not_paid_twice(
        self, server: CreatorsServer, cid: ApiUser
    ):
        """Stripe makes the transfer, and the connection drops each time before it says so."""
        await server.earn(cid, 2000)
        server.stripe.behaviour.fault = Fault("cut", late=True, path="/v1/transfers")
        response = await server.payout(cid, 20)
        assert response.status_code == 200
        payout = response.json()["payout"]
        assert (payout["status"], payout["stripe_transfer_id"]) == ("processing", None)
        assert figures(await server.balance(cid)) == (20, 0, 0)
        assert await server.resolve() == 0  # Stripe is still away
        server.stripe.behaviour.fault = None
        assert await server.resolve(minutes=1) == 0  # its request may still be running
        assert await server.resolve() == 1
        assert await server.resolve() == 0
        (transfer,) = server.stripe.objects("transfer")
        (known,) = (await cid.get(f"{CREATOR}/payouts/history")).json()["payouts"]
        assert (known["status"], known["stripe_transfer_id"]) == ("processing", transfer["id"])
        await server.assert_balanced(cid)

    async def test_crash_between_reservation_and_transfer_is_resolved(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 2000)
        server.stripe.behaviour.fault = Fault("hang", path="/v1/transfers")
        earlier = len(server.stripe.requests)  # also of payouts that other tests left
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.payout, cid, 20)
            while not any("transfers" in path for path in server.stripe.requests[earlier:]):
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        assert figures(await server.balance(cid)) == (20, 0, 0)
        assert server.stripe.objects("transfer") == []
        server.stripe.behaviour.fault = None
        # Two instances find it at once.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.resolve)
            nursery.start_soon(server.resolve)
        assert len(server.stripe.objects("transfer")) == 1
        assert await server.resolve() == 0
        assert figures(await server.balance(cid)) == (20, 0, 0)
        await server.assert_balanced(cid)

    async def test_transfer_event_settles_a_payout_without_a_response(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 2000)
        server.stripe.behaviour.fault = Fault("cut", late=True, path="/v1/transfers")
        payout = (await server.payout(cid, 20)).json()["payout"]
        server.stripe.behaviour.fault = None
        # Taken for failed by mistake: the money has left all the same.
        await server.sql(
            "update creator_payouts set status = 'failed' where id = %(id)s", id=payout["id"]
        )
        assert figures(await server.balance(cid)) == (20, 20, 0)
        await server.deliver_all()
        assert figures(await server.balance(cid)) == (20, 0, 0)
        assert await server.resolve() == 0
        assert len(server.stripe.objects("transfer")) == 1
        await server.assert_balanced(cid)

    async def test_reversed_transfer_is_owed_again(self, server: CreatorsServer, cid: ApiUser):
        await server.earn(cid, 2000)
        payout = (await server.payout(cid, 20)).json()["payout"]
        server.stripe.reverse(payout["stripe_transfer_id"])
        for event in (*reversed(server.new()), *server.new()):
            copy = {**event, "id": f"evt_{uuid4().hex}"}
            assert (await server.deliver(copy)).status_code == 200
        (known,) = (await cid.get(f"{CREATOR}/payouts/history")).json()["payouts"]
        assert known["status"] == "failed"
        assert figures(await server.balance(cid)) == (20, 20, 0)
        await server.assert_balanced(cid)

    async def test_bank_payout_completes_earlier_transfers_of_its_account(
        self, server: CreatorsServer
    ):
        cid, dee = [await server.creator(account="active") for _ in range(2)]
        for who in (cid, dee):
            await server.earn(who, 4000)
        first = (await server.payout(cid, 20)).json()["payout"]
        other = (await server.payout(dee, 20)).json()["payout"]
        await server.deliver_all()
        server.stripe.advance(3600)
        server.stripe.pay_out(first["stripe_account_id"], 2000)
        server.stripe.advance(3600)
        later = (await server.payout(cid, 20)).json()["payout"]
        await server.deliver_all()
        # One of our own account is not a creator's.
        event = next(e for e in server.stripe.events if e["type"] == "payout.paid")
        own = {key: value for key, value in event.items() if key != "account"}
        assert (await server.deliver({**own, "id": f"evt_{uuid4().hex}"})).status_code == 200
        rows = await server.sql(
            "select id, status from creator_payouts where id = any(%(ids)s::uuid[])",
            ids=[first["id"], other["id"], later["id"]],
        )
        assert {str(payout_id): status for payout_id, status in rows} == {
            first["id"]: "completed",
            other["id"]: "processing",
            later["id"]: "processing",
        }

    async def test_payout_rejected_by_the_bank_stays_owed(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 2000)
        payout = (await server.payout(cid, 20)).json()["payout"]
        server.stripe.advance(3600)
        failed = server.stripe.pay_out(payout["stripe_account_id"], 2000, fails=True)
        await server.deliver_all()
        # Stripe says of some payouts that they are paid before it learns better, in any order.
        event = next(e for e in server.stripe.events if e["type"] == "payout.failed")
        paid = {**event, "id": f"evt_{uuid4().hex}", "type": "payout.paid"}
        assert (await server.deliver(paid)).status_code == 200
        (known,) = (await cid.get(f"{CREATOR}/payouts/history")).json()["payouts"]
        assert (known["status"], known["stripe_payout_id"]) == ("processing", failed["id"])
        assert known["notes"]
        assert figures(await server.balance(cid)) == (20, 0, 0)
        # Applied again to check the notification of the creator.
        payouts = Payouts(PayoutStore(server.database), server.client, lambda: NOW)
        async with server.database.transaction() as tx:
            notifications = await payouts.bank_failed(tx, Event.of(event))
        assert notifications == [
            payout_failed(
                UUID(cid.id),
                {"payout_id": payout["id"], "amount": 20.0, "reason": known["notes"]},
                event["id"],
                NOW,
            )
        ]
        server.stripe.advance(3600)
        server.stripe.pay_out(payout["stripe_account_id"], 2000)
        await server.deliver_all()
        (known,) = (await cid.get(f"{CREATOR}/payouts/history")).json()["payouts"]
        assert (known["status"], known["notes"]) == ("completed", None)
        await server.assert_balanced(cid)

    async def test_history_is_paged_with_the_total(self, server: CreatorsServer, cid: ApiUser):
        await server.earn(cid, 5000)
        for _ in range(3):
            assert (await server.payout(cid, 10)).status_code == 200
        path = f"{CREATOR}/payouts/history"
        body = (await cid.get(f"{path}?limit=2&offset=2")).json()
        assert len(body["payouts"]) == 1
        assert body["pagination"] == {"limit": 2, "offset": 2, "total": 3}
        for query, limit in (("limit=0", 1), ("limit=1000", 100), ("limit=-3", 1), ("limit=x", 20)):
            assert (await cid.get(f"{path}?{query}")).json()["pagination"]["limit"] == limit


class TestConcurrency:
    async def test_hundred_concurrent_payouts_tips_and_refunds(
        self, server: CreatorsServer, cid: ApiUser
    ):
        await server.earn(cid, 20_000)
        ann, recipe = await server.person(), await server.recipe(cid)
        intents = [await server.tip(ann, recipe, 2) for _ in range(40)]
        charges = [server.stripe.confirm(intent["id"])["latest_charge"] for intent in intents]
        for charge in charges[:30]:
            server.stripe.refund(charge, 50)
        for charge in charges[:10]:
            server.stripe.refund(charge)
        events = server.new("payment_intent.succeeded", "charge.refunded")
        assert len(events) == 80
        requested, room = [0] * 2, trio.CapacityLimiter(12)

        async def pay() -> None:
            async with room:
                response = await server.payout(cid, 10)
            assert response.status_code in (200, 400), response.text
            requested[response.status_code == 200] += 1

        async def tell(event: dict[str, Any]) -> None:
            async with room:
                response = await server.deliver(event)
            assert response.status_code == 200, response.text

        async with trio.open_nursery() as nursery:
            for number, event in enumerate(events):
                nursery.start_soon(tell, event)
                if number < 40:
                    nursery.start_soon(pay)
        earned = 20_000 + 40 * 200 - 10 * 200 - 20 * 50
        assert sum(cents for _, cents in await server.ledger(cid)) == earned
        rejected, paid = requested
        assert rejected + paid == 40
        # Refunds count at once and tips only after their hold, so never more than was there.
        assert paid <= 20
        assert len(server.stripe.objects("transfer")) == paid
        assert await server.owed(cid) == earned - paid * 1000
        total, available, pending = figures(await server.balance(cid))
        assert total == earned / 100
        assert pending == (earned - 20_000) / 100
        refunds = 10 * 200 + 20 * 50
        assert available == max(0, 20_000 - refunds - paid * 1000) / 100
        await server.assert_balanced(cid)

    async def test_database_rejects_a_posting_without_its_counter_side(self, database: Database):
        with pytest.raises(ConstraintViolation):
            async with database.transaction() as tx:
                await tx.execute(
                    """with e as (
                      insert into creator_ledger (kind, amount_cents, source_ref, occurred_at)
                      values ('tip', 5, %(ref)s, now()) returning id
                    )
                    insert into creator_journal (ledger_id, account, amount_cents, currency)
                    select id, 'paid', 5, 'usd' from e""",
                    ref=uuid4().hex,
                )
        for statement in (
            "update creator_journal set amount_cents = 1 where ledger_id = %(id)s",
            "delete from creator_journal where ledger_id = %(id)s",
        ):
            async with database.transaction() as tx:
                ref = uuid4().hex
                await CreatorLedger(tx).record_earning(Earning(None, "tip", 5, "usd", ref, NOW))
                entry = await CreatorLedger(tx).find_entry(ref)
            assert entry is not None
            with pytest.raises(ConstraintViolation):
                async with database.transaction() as tx:
                    await tx.execute(statement, id=entry.id)


class Patron:
    """A referred subscriber, and receipts and refunds of the subscriber's payments."""

    def __init__(
        self, server: CreatorsServer, commissions: CreatorCommissions, person: ApiUser
    ) -> None:
        self.server, self.commissions, self.person = server, commissions, person

    async def subscribe(self, status: str = "active", tier: int = 2) -> Subscription:
        ref = f"sub_{uuid4().hex}"
        await self.server.sql(
            """insert into user_subscriptions (user_id, tier_id, status, current_period_start,
              current_period_end, provider, provider_subscription_id)
            values (%(id)s, %(tier)s, %(status)s, now(), now() + interval '1 month', 'ios', %(ref)s)
            """,
            id=self.person.id,
            tier=tier,
            status=status,
            ref=ref,
        )
        found = await SubscriptionStore(self.server.database).find("ios", ref)
        assert found is not None
        return found

    async def pay(
        self, subscription: Subscription, cents: int = 399, ref: str | None = None
    ) -> str:
        ref = ref or f"ios:{uuid4().hex}"
        async with self.server.database.transaction() as tx:
            await self.commissions.on_invoice_paid(
                tx, Receipt(ref, subscription, cents, "usd", NOW)
            )
        return ref

    async def back(
        self, ref: str, cents: int, paid: int = 399, *, by: str = "r", s: int = 0
    ) -> None:
        async with self.server.database.transaction() as tx:
            await self.commissions.on_refund(
                tx,
                MoneyBack(f"{by}:{ref}", ref, None, paid, cents, "usd", NOW + timedelta(seconds=s)),
            )

    async def end(self, *ended: Subscription) -> None:
        async with self.server.database.transaction() as tx:
            await self.commissions.on_ended(tx, ended)

    async def conversions(self) -> list[tuple[Any, ...]]:
        return await self.server.sql(
            """select tier_id, is_active from affiliate_conversions
            where subscriber_id = %(id)s order by converted_at""",
            id=self.person.id,
        )


class TestCommissions:
    @pytest.fixture
    async def commissions(self, server: CreatorsServer) -> CreatorCommissions:
        referrals = Referrals(
            ReferralStore(server.database), profiles_of(server.database), lambda: datetime.now(UTC)
        )
        return CreatorCommissions(AttributionStore(server.database), referrals)

    @pytest.fixture
    async def cid(self, server: CreatorsServer) -> ApiUser:
        return await server.creator()

    @pytest.fixture
    async def ann(
        self, server: CreatorsServer, commissions: CreatorCommissions, cid: ApiUser
    ) -> Patron:
        """A user referred by Cid."""
        person = await server.person()
        await commissions.attribute(UUID(person.id), f"CHEF_{cid.id[-8:].upper()}")
        return Patron(server, commissions, person)

    async def test_each_paid_period_earns_one_commission_with_any_provider(
        self, server: CreatorsServer, cid: ApiUser, ann: Patron
    ):
        subscription = await ann.subscribe()
        first = await ann.pay(subscription)
        await ann.pay(subscription, ref=first)
        await ann.pay(subscription)
        await ann.pay(subscription, cents=0)
        assert await server.ledger(cid) == [("commission", 120), ("commission", 120)]
        assert await ann.conversions() == [(2, True)]
        links = (await cid.get("/subscription/affiliate/links")).json()["links"]
        assert [link["conversion_count"] for link in links] == [1]
        month = (await cid.get(f"{CREATOR}/revenue")).json()["revenue"]
        assert (month["active_referrals"], month["new_referrals"]) == (1, 1)
        assert month["affiliate_earnings"] == 2.4
        await server.assert_balanced(cid)

    async def test_conversion_ends_and_resumes_with_its_subscription(self, ann: Patron):
        subscription = await ann.subscribe()
        await ann.pay(subscription)
        await ann.end(subscription)
        assert await ann.conversions() == [(2, False)]
        await ann.end(subscription)
        await ann.pay(subscription)
        assert await ann.conversions() == [(2, True)]

    async def test_self_late_and_second_referrals_are_ignored(
        self, server: CreatorsServer, commissions: CreatorCommissions, cid: ApiUser, ann: Patron
    ):
        code = f"CHEF_{cid.id[-8:].upper()}"
        dee = await server.creator()
        await commissions.attribute(UUID(ann.person.id), f"CHEF_{dee.id[-8:].upper()}")
        await commissions.attribute(UUID(cid.id), code)
        await commissions.attribute(UUID(dee.id), code)  # pays already
        old = await server.person("Old")
        await server.sql(
            "update users set created_at = now() - interval '31 days' where id = %(id)s", id=old.id
        )
        await commissions.attribute(UUID(old.id), code)
        await commissions.attribute(UUID((await server.person()).id), "CC_NOBODY00")
        rows = await server.sql(
            "select user_id from referral_attributions where referrer_id = any(%(ids)s::uuid[])",
            ids=[cid.id, dee.id],
        )
        assert rows == [(UUID(ann.person.id),)]

    async def test_user_without_referral_earns_no_commission(
        self, server: CreatorsServer, commissions: CreatorCommissions
    ):
        before = await server.sql("select count(*) from creator_ledger")
        bob = Patron(server, commissions, await server.person("Bob"))
        ref = await bob.pay(await bob.subscribe())
        await bob.back(ref, 399)
        assert await server.sql("select count(*) from creator_ledger") == before

    async def test_refunds_reduce_commissions_in_any_order(
        self, server: CreatorsServer, cid: ApiUser, ann: Patron
    ):
        subscription = await ann.subscribe()
        early = f"ios:{uuid4().hex}"
        await ann.back(early, 399)
        await ann.pay(subscription, ref=early)
        assert sum(cents for _, cents in await server.ledger(cid)) == 0
        ref = await ann.pay(subscription)
        await ann.back(ref, 200, s=2)
        await ann.back(ref, 100, s=1)  # of before: nothing new
        await ann.back(ref, 200, s=2)
        assert sum(cents for _, cents in await server.ledger(cid)) == prorate(120, 199, 399)
        await ann.back(ref, 399, by="dispute", s=3)
        assert sum(cents for _, cents in await server.ledger(cid)) == 0
        await ann.back(ref, 0, by="dispute", s=3)
        assert sum(cents for _, cents in await server.ledger(cid)) == prorate(120, 199, 399)
        await server.assert_balanced(cid)

    async def test_payment_reported_concurrently_is_booked_once(
        self, server: CreatorsServer, cid: ApiUser, ann: Patron
    ):
        subscription, ref = await ann.subscribe(), f"ios:{uuid4().hex}"
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ann.pay, subscription, 399, ref)
                nursery.start_soon(partial(ann.back, ref, 399, by=f"r{number % 2}"))
        assert sum(cents for _, cents in await server.ledger(cid)) == 0
        assert await ann.conversions() == [(2, True)]
        await server.assert_balanced(cid)

    async def test_refund_reported_before_its_payment_is_applied(
        self, server: CreatorsServer, cid: ApiUser, ann: Patron
    ):
        subscription, ref = await ann.subscribe(), f"ios:{uuid4().hex}"
        receipt = Receipt(ref, subscription, 399, "usd", NOW)
        async with trio.open_nursery() as nursery, server.database.transaction() as tx:
            await ann.commissions.on_invoice_paid(tx, receipt)
            nursery.start_soon(ann.back, ref, 399)
            await trio.sleep(0.2)  # it would be done by now
        assert await server.ledger(cid) == [("commission", 120), ("refund", -120)]

    async def test_card_payment_from_checkout_to_refund(self, server: CreatorsServer, cid: ApiUser):
        """With the fake Stripe and its webhooks; the referral code is given at checkout."""
        link = (await cid.post("/subscription/affiliate/generate")).json()["affiliateLink"]
        bob = await server.person("Bob")
        response = await bob.post(
            "/subscription/create-checkout",
            {
                "tierId": 2,
                "affiliateCode": link["link_code"],
                "successUrl": "cookcam://thanks",
                "cancelUrl": "cookcam://plans",
            },
        )
        assert response.status_code == 200, response.text
        session = server.stripe.pay(server.stripe.objects("checkout.session")[-1]["id"])
        await server.deliver_all()
        assert await server.ledger(cid) == [("commission", 120)]
        server.stripe.advance(32 * 86_400)
        await server.deliver_all()
        assert await server.ledger(cid) == [("commission", 120)] * 2
        charge = server.stripe.objects("charge")[-1]
        server.stripe.refund(charge["id"])
        await server.deliver_all()
        assert await server.ledger(cid) == [("commission", 120)] * 2 + [("refund", -120)]
        rows = await server.sql(
            "select is_active from affiliate_conversions where subscriber_id = %(id)s", id=bob.id
        )
        assert session["subscription"]
        assert rows == [(False,)]
        await server.assert_balanced(cid)


async def test_without_payments(database_url: str, database: Database):
    payouts = Payouts(PayoutStore(database), None, lambda: NOW)
    assert await payouts.resolve() == 0
    with pytest.raises(AppError) as rejected:
        await payouts.request(uuid4(), 1000)
    assert rejected.value.status == 503
    assert STRIPE
