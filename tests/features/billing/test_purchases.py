"""Purchases that clients show: who gets them, and what each answer of a store becomes."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import trio

from cookcam.config.readers import Secret
from cookcam.features.billing.app_stores.models import hash_of
from cookcam.features.billing.app_stores.service import ReceiptCipher
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from cookcam.sandbox.serving import Failure
from tests.features.conftest import ApiUser
from tests.support.app_stores import RECEIPT_KEY, StoresApp, assert_has, open_stores_app, show

DAY = timedelta(days=1)


@pytest.fixture
async def ann(stores_app: StoresApp) -> ApiUser:
    return await stores_app.person()


def rejected(answer: Any, error: str) -> bool:
    body = answer.json()
    return (answer.status_code, body["success"], body["error"], body["shouldRetry"]) == (
        400,
        False,
        error,
        False,
    )


def deferred(answer: Any) -> bool:
    body = answer.json()
    received = (body["success"], body["error"], body["shouldRetry"])
    return (
        answer.status_code == 503
        and received == (False, "Validation failed after retries", True)
        and int(answer.headers["Retry-After"]) > 0
    )


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({}, "INVALID_REQUEST"),
    ({"platform": "ios", "receipt": "x"}, "INVALID_REQUEST"),
    ({"productId": "com.cookcam.pro.monthly"}, "INVALID_REQUEST"),
    ({"platform": "ios", "productId": "p"}, "MISSING_RECEIPT"),
    ({"platform": "ios", "productId": "p", "receipt": 5}, "MISSING_RECEIPT"),
    ({"platform": "android", "productId": "p", "receipt": "x"}, "MISSING_TOKEN"),
    ({"platform": "web", "productId": "p"}, "INVALID_PLATFORM"),
    ({"platform": ["ios"], "productId": "p"}, "INVALID_PLATFORM"),
]


class TestRequests:
    async def test_defect_missing_part_is_reported_and_the_server_continues(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        for path in ("/iap/validate-receipt", "/subscription/validate-purchase"):
            for body, code in MALFORMED:
                answer = await ann.post(path, body)
                received = answer.json()
                assert (answer.status_code, received["code"], received["error"]) == (
                    400,
                    code,
                    code,
                ), body
                assert received["success"] is False
        assert (await ann.get("/subscription/status")).status_code == 200

    async def test_nobody_buys_without_signing_in(self, stores_app: StoresApp):
        for path in ("/iap/validate-receipt", "/subscription/validate-purchase"):
            answer = await stores_app.http.post(f"/api/v1{path}", json={})
            assert (answer.status_code, answer.json()["success"]) == (401, False)
            assert answer.json()["error"]

    async def test_the_older_routes_take_what_they_took(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        for path, error in (
            ("/subscription/verify-ios", "Receipt data required"),
            ("/subscription/verify-android", "Purchase token required"),
        ):
            answer = await ann.post(path, {})
            assert (answer.status_code, answer.json()["error"]) == (400, error)
        ours = await stores_app.apple.buy("com.cookcam.monthly")
        answer = await ann.post("/subscription/verify-ios", {"receipt": ours.receipt})
        body = answer.json()
        assert (answer.status_code, body["message"]) == (200, "iOS subscription created")
        assert body["subscription"]["provider_subscription_id"] == ours.id
        assert body["subscription"]["tier_id"] == 2
        bob = await stores_app.person("Bob")
        theirs = await stores_app.google.buy("cookcam_creator_monthly")
        answer = await bob.post("/subscription/verify-android", {"purchaseToken": theirs.token})
        assert answer.json()["message"] == "Android subscription created"
        assert answer.json()["subscription"]["tier_id"] == 3
        assert theirs.acknowledged

    async def test_defect_any_text_was_a_subscription(self, stores_app: StoresApp, ann: ApiUser):
        for path, body in (
            ("/subscription/verify-ios", {"receipt": "anything"}),
            ("/subscription/verify-android", {"purchaseToken": "anything"}),
        ):
            answer = await ann.post(path, body)
            assert (answer.status_code, answer.json()["shouldRetry"]) == (400, False)
        await assert_has(ann, "free")


class TestWhatCountsIsTheStore:
    async def test_defect_the_product_is_the_receipts_and_not_the_clients(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        regular = await stores_app.apple.buy("com.cookcam.pro.monthly")
        answer = await show(ann, regular, productId="com.cookcam.creator.monthly")
        assert rejected(answer, "Product mismatch")
        token = await stores_app.google.buy("cookcam_pro_monthly")
        answer = await show(ann, token, productId="cookcam_creator_monthly")
        assert rejected(answer, "Product mismatch")
        await assert_has(ann, "free")
        assert not token.acknowledged

    async def test_defect_products_are_known_exactly(self, stores_app: StoresApp, ann: ApiUser):
        for product in ("com.cookcam.creator.lifetime", "creator", "cookcam_creator_monthly"):
            body = {"platform": "ios", "productId": product, "receipt": "x"}
            assert rejected(await ann.post("/iap/validate-receipt", body), "Unknown product")
        assert stores_app.apple.behaviour.requests == []

    async def test_defect_a_receipt_of_another_app_is_rejected(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        other = await stores_app.apple.buy("com.cookcam.pro.monthly", bundle_id="com.evil.app")
        assert rejected(await show(ann, other), "The receipt belongs to another app")
        signed = stores_app.apple.signed_transaction(other)
        answer = await show(ann, other, receipt=signed)
        assert rejected(answer, "The signature could not be verified")
        await assert_has(ann, "free")

    async def test_defect_an_expired_purchase_gives_nothing(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        stores_app.apple.advance(days=-40)
        stores_app.google.advance(days=-40)
        receipt = await stores_app.apple.buy("com.cookcam.pro.monthly")
        token = await stores_app.google.buy("cookcam_pro_monthly")
        assert rejected(await show(ann, receipt), "Subscription expired")
        assert rejected(await show(ann, token), "Subscription expired")
        await assert_has(ann, "free")
        assert await stores_app.rows(ann) == []

    async def test_defect_the_newest_entry_counts_wherever_it_is(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        stores_app.apple.advance(days=-40)
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
        await stores_app.apple.renew(bought)
        bought.transactions.reverse()
        assert (await show(ann, bought)).status_code == 200
        bob = await stores_app.person("Bob")
        answer = await show(bob, bought)
        assert answer.status_code == 409

    async def test_defect_a_refunded_purchase_gives_nothing(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
        await stores_app.apple.refund(bought)
        assert rejected(await show(ann, bought), "Subscription expired")
        token = await stores_app.google.buy("cookcam_pro_monthly")
        await stores_app.google.revoke(token)
        assert rejected(await show(ann, token), "Subscription expired")

    async def test_an_upgraded_receipt_is_of_the_newer_product(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.pro.yearly")
        await stores_app.apple.upgrade(bought, "com.cookcam.creator.monthly")
        assert (await show(ann, bought)).status_code == 200
        await assert_has(ann, "creator")

    async def test_defect_a_free_trial_is_a_subscription(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        trial = await stores_app.google.buy("cookcam_creator_monthly", trial=True)
        assert (await show(ann, trial)).status_code == 200
        assert (await assert_has(ann, "creator"))["status"] == "trial"
        (audit,) = await stores_app.sql(
            "select validation_response from iap_validation_history where receipt_hash = %(hash)s",
            hash=hash_of(trial.token),
        )
        assert audit[0]["paymentState"] == 2

    async def test_what_is_still_to_be_paid_waits_for_the_store(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        pending = await stores_app.google.buy("cookcam_pro_monthly", pending=True)
        answer = await show(ann, pending)
        body = answer.json()
        assert (answer.status_code, body["error"]) == (400, "Purchase is pending")
        assert body["shouldRetry"] is True
        await assert_has(ann, "free")
        await stores_app.google.pay(pending)
        await assert_has(ann, "regular")
        assert pending.acknowledged
        bob = await stores_app.person("Bob")
        given_up = await stores_app.google.buy("cookcam_pro_monthly", pending=True)
        await show(bob, given_up)
        await stores_app.google.drop(given_up)
        await assert_has(bob, "free")


class TestSandbox:
    async def test_defect_a_test_purchase_is_no_purchase(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        receipt = await stores_app.apple.buy("com.cookcam.pro.monthly", where="Sandbox")
        token = await stores_app.google.buy("cookcam_pro_monthly", test=True)
        for bought in (receipt, token):
            assert rejected(await show(ann, bought), "Sandbox purchases are not accepted")
        await assert_has(ann, "free")
        found = await stores_app.sql(
            "select distinct environment from iap_validation_history where user_id = %(id)s",
            id=ann.id,
        )
        assert found == [("sandbox",)]

    async def test_it_is_where_it_may_be(self, database_url: str, authority: Authority, keys: Keys):
        async with open_stores_app(
            database_url, authority, keys, IAP_ALLOW_SANDBOX="true"
        ) as stores_app:
            stores_app.silence()
            ann = await stores_app.person()
            receipt = await stores_app.apple.buy("com.cookcam.pro.monthly", where="Sandbox")
            received = (await show(ann, receipt)).json()
            assert received["subscription"]["environment"] == "sandbox"
            signed = stores_app.apple.signed_transaction(receipt)
            assert (await show(ann, receipt, receipt=signed)).status_code == 200
            stores_app.apple.endpoint = "http://cookcam.test/api/subscription/webhook/apple"
            await stores_app.apple.expire(receipt)
            await assert_has(ann, "free")


class TestWhoseItIs:
    async def test_defect_a_purchase_is_its_first_users(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        bob = await stores_app.person("Bob")
        for bought in (
            await stores_app.apple.buy("com.cookcam.pro.monthly"),
            await stores_app.google.buy("cookcam_pro_monthly"),
        ):
            assert (await show(ann, bought)).status_code == 200
            answer = await show(bob, bought)
            body = answer.json()
            assert (answer.status_code, body["error"]) == (
                409,
                "Receipt belongs to another account",
            )
            assert (body["success"], body["shouldRetry"]) == (False, False)
        await assert_has(bob, "free")
        await assert_has(ann, "regular")

    async def test_it_outlives_the_account(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        bought = await stores_app.google.buy("cookcam_pro_monthly")
        await show(ann, bought)
        await stores_app.sql("delete from auth.users where id = %(id)s", id=ann.id)
        bob = await stores_app.person("Bob")
        assert (await show(bob, bought)).status_code == 409
        stores_app.google.endpoint = "http://cookcam.test/api/v1/subscription/webhook/google"
        await stores_app.google.renew(bought)
        assert stores_app.google.statuses == [204]

    async def test_two_who_show_it_at_once_are_not_two_who_have_it(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bob = await stores_app.person("Bob")
        bought = await stores_app.apple.buy("com.cookcam.creator.monthly")
        responses: list[int] = []

        async def try_it(who: ApiUser) -> None:
            responses.append((await show(who, bought)).status_code)

        async with trio.open_nursery() as nursery:
            for who in (ann, bob, ann, bob):
                nursery.start_soon(try_it, who)
        assert sorted(responses) == [200, 200, 409, 409]
        rows = await stores_app.rows(ann) + await stores_app.rows(bob)
        assert rows == [("ios", "active", 3)]

    async def test_what_the_app_named_when_it_bought_is_not_anothers(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bob = await stores_app.person("Bob")
        bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=bob.id)
        assert (await show(ann, bought)).status_code == 409
        stranger = await stores_app.google.buy("cookcam_pro_monthly", account_token=str(uuid4()))
        assert (await show(ann, stranger)).status_code == 200

    async def test_a_row_from_before_there_were_bindings_is_its_users(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bob = await stores_app.person("Bob")
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
        await stores_app.sql(
            "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
            " current_period_end, provider, provider_subscription_id, as_of)"
            " values (%(id)s, 2, 'active', now() - interval '9 days', now() + interval '9 days',"
            " 'ios', %(ref)s, now() - interval '9 days')",
            id=bob.id,
            ref=bought.id,
        )
        assert (await show(ann, bought)).status_code == 409
        stores_app.apple.endpoint = "http://cookcam.test/api/v1/subscription/webhook/apple"
        await stores_app.apple.refund(bought)
        await assert_has(bob, "free")


class TestHistory:
    async def test_defect_a_replay_adds_nothing_and_ends_with_the_period(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
        first = await show(ann, bought)
        ends = (await assert_has(ann, "regular"))["current_period_end"]
        requested = len(stores_app.apple.behaviour.requests)
        for _ in range(3):
            assert (await show(ann, bought)).json() == first.json()
        assert len(stores_app.apple.behaviour.requests) == requested  # younger than ten minutes
        assert (await assert_has(ann, "regular"))["current_period_end"] == ends

    async def test_defect_outdated_response_is_fetched_again(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.google.buy("cookcam_pro_monthly")
        await show(ann, bought)
        await stores_app.google.revoke(bought)
        await stores_app.sql(
            "update iap_validation_history set validated_at = now() - interval '11 minutes'"
            " where user_id = %(id)s",
            id=ann.id,
        )
        assert rejected(await show(ann, bought), "Subscription expired")
        await assert_has(ann, "free")

    async def test_a_refund_ends_the_answer_that_is_kept(self, stores_app: StoresApp, ann: ApiUser):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
        await show(ann, bought)
        await stores_app.apple.refund(bought)
        assert rejected(await show(ann, bought), "Subscription expired")

    async def test_what_is_rejected_for_good_is_not_requested_again(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        product = {"ios": "com.cookcam.pro.monthly", "android": "cookcam_pro_monthly"}
        proof = uuid4().hex
        for platform, field, word in (
            ("ios", "receipt", "Receipt"),
            ("android", "purchaseToken", "Purchase"),
        ):
            body = {"platform": platform, "productId": product[platform], field: proof}
            assert (await ann.post("/iap/validate-receipt", body)).status_code == 400
            answer = await ann.post("/iap/validate-receipt", body)
            assert rejected(answer, f"{word} already validated as invalid")
        assert len(stores_app.apple.behaviour.requests) == 1

    async def test_defect_receipts_are_kept_encrypted(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
        await show(ann, bought)
        (row,) = await stores_app.sql(
            "select receipt_hash, receipt_ciphertext, original_transaction_id, validation_response,"
            " validation_duration_ms from iap_validation_history where user_id = %(id)s",
            id=ann.id,
        )
        digest, ciphertext, transaction, response, took = row
        assert (digest, transaction) == (hash_of(bought.receipt), bought.id)
        assert bought.receipt.encode() not in bytes(ciphertext)
        assert bought.receipt not in str(response)
        assert took >= 0
        key, following = Secret(RECEIPT_KEY), Secret("x" * 32)
        receipt_cipher = ReceiptCipher([key])
        assert receipt_cipher.decrypt(bytes(ciphertext), digest) == bought.receipt
        replaced = ReceiptCipher([following, key])
        assert replaced.decrypt(bytes(ciphertext), digest) == bought.receipt
        encrypted = replaced.encrypt(bought.receipt, digest)
        assert encrypted is not None
        assert ReceiptCipher([following]).decrypt(encrypted, digest) == bought.receipt
        for other in (ReceiptCipher([following]), ReceiptCipher([])):
            with pytest.raises(ValueError, match="not encrypted"):
                other.decrypt(bytes(ciphertext), digest)
        with pytest.raises(ValueError, match="not encrypted"):
            receipt_cipher.decrypt(bytes(ciphertext), "0" * 64)

    async def test_it_is_counted(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        await show(ann, await stores_app.apple.buy("com.cookcam.pro.monthly"))
        assert (
            b'iap_validations_total{outcome="valid",platform="ios"} 1.0'
            in stores_app.metrics.render()
        )


class TestStripe:
    async def test_defect_a_subscription_by_card_is_not_overwritten(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        await stores_app.sql(
            "insert into user_subscriptions (user_id, tier_id, status, current_period_start,"
            " current_period_end, provider, provider_subscription_id)"
            " values (%(id)s, 2, 'active', now(), now() + interval '9 days', 'stripe', %(ref)s)",
            id=ann.id,
            ref=f"sub_{uuid4().hex}",
        )
        await show(ann, await stores_app.google.buy("cookcam_creator_monthly"))
        await assert_has(ann, "creator")
        assert sorted(await stores_app.rows(ann)) == [
            ("android", "active", 3),
            ("stripe", "active", 2),
        ]
        assert stores_app.rung == ["superseded"]
        assert "created" in await stores_app.deeds(ann)


APPLE_STATUSES: list[tuple[dict[str, Any], int, str, int]] = [
    # answer, HTTP status, error, requests
    ({"status": 21000}, 400, "The App Store could not read the request", 1),
    ({"status": 21002}, 400, "The receipt data is malformed or missing", 1),
    ({"status": 21003}, 400, "The receipt could not be authenticated", 1),
    ({"status": 21004}, 503, "Validation failed after retries", 1),
    ({"status": 21005}, 503, "Validation failed after retries", 3),
    ({"status": 21006}, 400, "Subscription expired", 1),
    ({"status": 21009}, 503, "Validation failed after retries", 3),
    ({"status": 21009, "is-retryable": True}, 503, "Validation failed after retries", 3),
    ({"status": 21010}, 400, "The account of the receipt was not found or was deleted", 1),
    ({"status": 21100}, 503, "Validation failed after retries", 3),
    ({"status": 21199, "is-retryable": 0}, 400, "The App Store could not validate the receipt", 1),
    ({"status": 99999}, 503, "Validation failed after retries", 3),
    ({"status": "0"}, 503, "Validation failed after retries", 3),
    ({"status": 0}, 503, "Validation failed after retries", 1),
]


class TestApple:
    async def test_every_status_of_a_receipt_is_what_it_has_to_be(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        for received, status, error, requests in APPLE_STATUSES:
            behaviour = stores_app.apple.behaviour
            behaviour.requests.clear()
            behaviour.receipt_statuses[:] = [received] * 3
            body = {
                "platform": "ios",
                "productId": "com.cookcam.pro.monthly",
                "receipt": uuid4().hex,
            }
            answer = await ann.post("/iap/validate-receipt", body)
            seen = (answer.status_code, answer.json()["error"], len(behaviour.requests))
            assert seen == (status, error, requests), received
        behaviour.receipt_statuses.clear()

    @pytest.mark.parametrize("first", [21007, 21008])
    async def test_defect_each_environment_sends_to_the_other_and_not_for_ever(
        self, stores_app: StoresApp, ann: ApiUser, first: int
    ):
        stores_app.silence()
        behaviour = stores_app.apple.behaviour
        behaviour.receipt_statuses[:] = [{"status": first}, {"status": 21005}]
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", where="Sandbox")
        assert rejected(await show(ann, bought), "Sandbox purchases are not accepted")
        assert behaviour.requests == ["POST /verifyReceipt", *["POST /sandbox/verifyReceipt"] * 2]
        behaviour.receipt_statuses[:] = [{"status": 21007}, {"status": 21008}]
        assert deferred(await show(ann, bought, receipt=uuid4().hex))

    async def test_a_signed_transaction_is_taken_as_a_receipt_is(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.creator.monthly")
        old = stores_app.apple.signed_transaction(bought)
        assert (await show(ann, bought, receipt=old)).status_code == 200
        await assert_has(ann, "creator")
        await stores_app.apple.refund(bought)
        await stores_app.sql(
            "update iap_validation_history set validated_at = now() - interval '1 day'"
        )
        answer = await show(ann, bought, receipt=old)  # signed before; the App Store knows better
        assert rejected(answer, "Subscription expired")
        await assert_has(ann, "free")

    async def test_defect_a_signed_transaction_alone_does_not_undo_a_refund(
        self, database_url: str, authority: Authority, keys: Keys
    ):
        none: dict[str, Any] = dict.fromkeys(
            ["APPLE_API_PRIVATE_KEY", "APPLE_API_KEY_ID", "APPLE_API_ISSUER_ID"]
        )
        async with open_stores_app(database_url, authority, keys, **none) as stores_app:
            ann = await stores_app.person()
            bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
            signed = stores_app.apple.signed_transaction(bought)
            assert (await show(ann, bought, receipt=signed)).status_code == 200
            await stores_app.apple.refund(bought)
            assert rejected(await show(ann, bought, receipt=signed), "Subscription expired")
            await assert_has(ann, "free")

    async def test_who_is_not_apple_signs_nothing(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        bought = await stores_app.apple.buy("com.cookcam.creator.monthly")
        header, payload, signature = stores_app.apple.signed_transaction(bought).split(".")
        other = payload[:-6] + ("AAAAAA" if payload[-6:] != "AAAAAA" else "BBBBBB")
        unsigned = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        for forged in (
            stores_app.apple.signed_transaction(bought, Authority.make()),
            stores_app.apple.signed_transaction(
                bought, Authority.make(leaf_ends=datetime(2021, 1, 1, tzinfo=UTC))
            ),
            f"{header}.{other}.{signature}",
            f"{unsigned}.{payload}.",
            "a.b.c",
            "..",
        ):
            answer = await show(ann, bought, receipt=forged)
            assert rejected(answer, "The signature could not be verified")
        assert stores_app.apple.behaviour.requests == []
        await assert_has(ann, "free")

    @pytest.mark.parametrize(
        "authority_of_this",
        [{"leaf_ends": datetime(2021, 1, 1, tzinfo=UTC)}, {"marked": False}],
        ids=["expired", "unmarked"],
    )
    async def test_invalid_certificate_under_a_trusted_root_is_rejected(
        self, database_url: str, keys: Keys, authority_of_this: dict[str, Any]
    ):
        bad = Authority.make(**authority_of_this)  # whose root we do trust
        async with open_stores_app(database_url, bad, keys) as stores_app:
            ann = await stores_app.person()
            bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
            assert stores_app.apple.statuses == [400]
            answer = await show(ann, bought, receipt=stores_app.apple.signed_transaction(bought))
            assert rejected(answer, "The signature could not be verified")
            await assert_has(ann, "free")

    @pytest.mark.parametrize("setting", ["APPLE_SHARED_SECRET", "APPLE_APP_ID"])
    async def test_what_is_not_configured_is_not_the_clients_fault(
        self, database_url: str, authority: Authority, keys: Keys, setting: str
    ):
        taken: dict[str, Any] = {setting: None}
        async with open_stores_app(database_url, authority, keys, **taken) as stores_app:
            stores_app.silence()
            ann = await stores_app.person()
            bought = await stores_app.apple.buy("com.cookcam.pro.monthly")
            receipt = bought.receipt
            if setting == "APPLE_APP_ID":
                receipt = stores_app.apple.signed_transaction(bought)
            assert deferred(await show(ann, bought, receipt=receipt))


GOOGLE_STATUSES = [
    # HTTP status at Google, ours, requests
    (400, 400, 1),
    (401, 503, 2),
    (403, 503, 1),
    (404, 400, 1),
    (410, 400, 1),
    (429, 503, 3),
    (500, 503, 3),
    (503, 503, 3),
]


class TestGoogle:
    async def test_every_answer_is_what_it_has_to_be(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        behaviour = stores_app.google.behaviour
        for status, answered, requests in GOOGLE_STATUSES:
            bought = await stores_app.google.buy("cookcam_pro_monthly")
            behaviour.requests.clear()
            behaviour.failure = Failure(status)
            answer = await show(ann, bought)
            requested = [path for path in behaviour.requests if "subscriptionsv2" in path]
            assert (status, answer.status_code, len(requested)) == (status, answered, requests)
            behaviour.failure = None
            if answered == 503:
                assert deferred(answer)
                assert (await show(ann, bought)).status_code == 200  # never stored as invalid
            else:
                assert rejected(answer, "Receipt validation failed")

    async def test_defect_a_token_is_escaped(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        bought = await stores_app.google.buy("cookcam_pro_monthly")
        stores_app.google.purchases["a/../b?c#d%2F e"] = bought
        bought.token = "a/../b?c#d%2F e"
        assert (await show(ann, bought)).status_code == 200
        assert bought.acknowledged

    async def test_defect_a_purchase_is_acknowledged_however_late(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        stores_app.silence()
        bought = await stores_app.google.buy("cookcam_pro_monthly")
        assert (await show(ann, bought)).status_code == 200
        bought.acknowledged = False  # as if that call had been lost
        due = "update iap_receipt_bindings set acknowledge_at = now() where store_key = %(key)s"
        await stores_app.sql(due, key=hash_of(bought.token))
        stores_app.google.behaviour.failure = Failure(500, times=1)
        await stores_app.container.acknowledging.sweep()
        assert not bought.acknowledged
        assert await stores_app.container.acknowledging.sweep() == 0  # not at once again
        await stores_app.sql(due, key=hash_of(bought.token))
        await stores_app.container.acknowledging.sweep()
        assert bought.acknowledged
        (left,) = await stores_app.sql(
            "select acknowledge_at from iap_receipt_bindings where store_key = %(key)s",
            key=hash_of(bought.token),
        )
        assert left[0] is None

    async def test_one_access_token_serves_all(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        for _ in range(3):
            await show(ann, await stores_app.google.buy("cookcam_pro_monthly"))
        assert len(stores_app.google.access_tokens) == 1
        stores_app.google.access_tokens.clear()  # revoked at Google
        assert (
            await show(ann, await stores_app.google.buy("cookcam_pro_monthly"))
        ).status_code == 200

    async def test_a_rejected_service_account_is_our_fault(
        self, database_url: str, authority: Authority, keys: Keys
    ):
        async with open_stores_app(database_url, authority, keys) as stores_app:
            stores_app.silence()
            ann = await stores_app.person()
            bought = await stores_app.google.buy("cookcam_pro_monthly")
            stores_app.google.keys = Keys(keys.push, keys.push)
            assert deferred(await show(ann, bought))


class TestOutages:
    @pytest.mark.parametrize("store", ["apple", "google", "server api"])
    async def test_defect_an_outage_is_no_verdict_and_is_over_when_it_is_over(
        self, stores_app: StoresApp, store: str
    ):
        stores_app.silence()
        behaviour: Any = (stores_app.google if store == "google" else stores_app.apple).behaviour
        for how in ("500", "429", "garbled", "silence"):
            ann = await stores_app.person()
            bought: Any = await (
                stores_app.google.buy("cookcam_pro_monthly")
                if store == "google"
                else stores_app.apple.buy("com.cookcam.pro.monthly")
            )
            changes: dict[str, Any] = {}
            if store == "server api":
                changes["receipt"] = stores_app.apple.signed_transaction(bought)
            if how in ("500", "429"):
                behaviour.failure = Failure(int(how), times=3)
            elif how == "garbled":
                behaviour.garbled = True
            else:
                behaviour.delay = 60.0
                stores_app.impatient(attempt_timeout=0.1, deadline=0.25)
            with trio.fail_after(30):
                assert deferred(await show(ann, bought, **changes)), how
            stores_app.impatient()
            await assert_has(ann, "free")
            behaviour.failure, behaviour.garbled, behaviour.delay = None, False, 0.0
            assert (await show(ann, bought, **changes)).status_code == 200
            await assert_has(ann, "regular")
            assert [status for status, _ in await stores_app.history(ann)] == ["error", "valid"]

    async def test_a_passing_failure_is_not_noticed(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        for fake, product in (
            (stores_app.apple, "com.cookcam.pro.monthly"),
            (stores_app.google, "cookcam_pro_monthly"),
        ):
            bought = await fake.buy(product)
            fake.behaviour.failure = Failure(500, times=2)
            assert (await show(ann, bought)).status_code == 200

    async def test_the_stores_advice_is_passed_on(self, stores_app: StoresApp, ann: ApiUser):
        stores_app.silence()
        bought = await stores_app.google.buy("cookcam_pro_monthly")
        behaviour = stores_app.google.behaviour
        behaviour.failure, behaviour.retry_after = Failure(429, times=9), 77
        answer = await show(ann, bought)
        assert deferred(answer)
        assert answer.headers["Retry-After"] == "77"
        assert behaviour.failure.times == 8  # not asked again before
