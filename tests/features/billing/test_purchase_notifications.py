"""What the stores tell by themselves: once, in any order, and only if they said it."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest
import trio

from cookcam.features.billing.app_stores.models import hash_of
from cookcam.features.billing.app_stores.takings import Takings
from cookcam.features.billing.webhooks.store import EventHeader
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from cookcam.sandbox.google_play import server as play
from tests.features.conftest import ApiUser
from tests.support.app_stores import WEBHOOKS, Mall, assert_has, open_mall, show
from tests.support.hubs import cut_all_sessions


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys.make()


@pytest.fixture
async def mall(database_url: str, authority: Authority, keys: Keys) -> AsyncIterator[Mall]:
    async with open_mall(database_url, authority, keys) as opened:
        yield opened


@pytest.fixture
async def ann(mall: Mall) -> ApiUser:
    return await mall.person()


async def log_of(mall: Mall, platform: str) -> list[tuple[str, int, str | None]]:
    return await mall.sql(
        "select status, attempts, error_message from iap_webhook_logs"
        " where platform = %(platform)s order by received_at desc limit 1",
        platform=platform,
    )


class TestApple:
    async def test_defect_what_apple_did_not_sign_is_not_heard(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        apple = mall.apple
        elsewhere = await apple.buy("com.cookcam.pro.monthly", bundle_id="com.evil.app")
        before = await mall.sql("select count(*) from iap_webhook_logs")
        for forged in (
            apple.signed_notification(bought, "REFUND", authority=Authority.make()),
            apple.signed_notification(
                bought,
                "REFUND",
                authority=Authority.make(leaf_ends=datetime(2021, 1, 1, tzinfo=UTC)),
            ),
            apple.signed_notification(bought, "REFUND", appAppleId=5),
            apple.signed_notification(bought, "REFUND", bundleId="com.evil.app"),
            apple.signed_notification(elsewhere, "REFUND"),
            apple.signed_notification(
                bought,
                "REFUND",
                signedTransactionInfo=apple.signed_transaction(bought, Authority.make()),
            ),
            "x.y.z",
            "",
        ):
            assert await apple.deliver(forged) == 400
        response = await mall.http.post(f"{WEBHOOKS}/apple", json={"signedPayload": 5})
        assert response.status_code == 400
        await assert_has(ann, "regular")
        assert await mall.sql("select count(*) from iap_webhook_logs") == before

    async def test_a_notification_counts_once(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await mall.apple.renew(bought)
        for _ in range(3):
            assert await mall.apple.deliver(mall.apple.notifications[0]) == 200
        assert await mall.deeds(ann) == ["created", "renewed"]

    async def test_the_order_of_arrival_does_not_matter(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        endpoint, mall.apple.endpoint = mall.apple.endpoint, None
        await mall.apple.fail_payment(bought)
        await mall.apple.renew(bought)
        await mall.apple.set_renewal(bought, renews=False)
        await mall.apple.refund(bought)
        mall.apple.endpoint = endpoint
        late = mall.apple.notifications[1:] * 2
        random.Random(7).shuffle(late)
        for signed in late:
            assert await mall.apple.deliver(signed) == 200
        await assert_has(ann, "free")
        assert await mall.rows(ann) == [("ios", "cancelled", 2)]

    async def test_defect_a_failed_renewal_and_a_preference_end_nothing_at_once(
        self, mall: Mall, ann: ApiUser
    ):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await mall.apple.set_renewal(bought, renews=False)
        await assert_has(ann, "regular", ends=True)
        await mall.apple.set_renewal(bought, renews=True)
        await mall.apple.fail_payment(bought, grace=False)
        await assert_has(ann, "regular")
        assert await mall.rows(ann) == [("ios", "past_due", 2)]
        await mall.apple.end_grace(bought)
        assert await mall.rows(ann) == [("ios", "past_due", 2)]

    async def test_money_back_for_an_older_period_ends_nothing(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await mall.apple.renew(bought)
        mall.apple.pass_time()
        older = bought.transaction_info(mall.apple.now, bought.transactions[0])
        older["revocationDate"] = int(mall.apple.now.timestamp() * 1000)
        signed = mall.apple.signed_notification(
            bought, "REFUND", signedTransactionInfo=mall.apple.authority.sign(older)
        )
        assert await mall.apple.deliver(signed) == 200
        await assert_has(ann, "regular")

    @pytest.mark.parametrize("kind", ["CONSUMPTION_REQUEST", "REFUND_DECLINED", "REFUND_REVERSED"])
    async def test_a_word_about_an_older_period_changes_nothing_of_the_one_that_runs(
        self, mall: Mall, ann: ApiUser, kind: str
    ):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await mall.apple.renew(bought)
        ends = (await assert_has(ann, "regular"))["current_period_end"]
        mall.apple.pass_time()
        await mall.apple.notify(bought, kind, periods_ago=1)
        assert mall.apple.statuses == [200] * 3
        assert (await assert_has(ann, "regular"))["current_period_end"] == ends

    @pytest.mark.parametrize("kind", ["REFUND", "REVOKE"])
    async def test_what_is_taken_back_ends_now(self, mall: Mall, ann: ApiUser, kind: str):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await mall.apple.refund(bought, kind=kind)
        await assert_has(ann, "free")

    async def test_what_is_not_about_us_is_taken_and_left(self, mall: Mall):
        test = mall.apple.signed_notification(None, "TEST")
        assert await mall.apple.deliver(test) == 200
        await mall.apple.buy("com.cookcam.stickers.monthly", account_token=str(uuid4()))
        await mall.apple.buy("com.cookcam.pro.monthly")  # of nobody
        assert mall.apple.statuses == [200, 200, 200]
        assert await log_of(mall, "ios") == [("ignored", 1, None)]

    async def test_only_what_is_committed_is_answered_with_200(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        mall.apple.endpoint = None
        await mall.apple.refund(bought)
        mall.apple.endpoint = f"{WEBHOOKS}/apple"
        signed = mall.apple.notifications[-1]
        await mall.sql("revoke insert on subscription_history from service_role")
        try:
            assert await mall.apple.deliver(signed) != 200
            ((status, attempts, reason),) = await log_of(mall, "ios")
            assert (status, attempts) == ("failed", 1)
            assert reason
        finally:
            await mall.sql("grant insert on subscription_history to service_role")
        await mall.sql(
            "update iap_webhook_logs set next_attempt_at = now() where status = 'failed'"
        )
        assert await mall.container.store_webhooks.inbox.sweep() >= 1
        await assert_has(ann, "free")
        assert await mall.apple.deliver(signed) == 200
        assert await log_of(mall, "ios") == [("processed", 2, None)]

    async def test_what_another_is_working_on_comes_again(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        mall.apple.endpoint = None
        await mall.apple.refund(bought)
        mall.apple.endpoint = f"{WEBHOOKS}/apple"
        signed = mall.apple.notifications[-1]
        notification = await mall.container.store_webhooks.app_store.notification(signed)
        header = EventHeader("ios", notification.id, notification.type)
        payload = orjson.dumps({"signedPayload": signed}).decode()
        await mall.container.store_webhooks.inbox.store.claim(header, payload)
        assert await mall.apple.deliver(signed) == 503
        # Whoever claimed it died: five minutes later the sweeper has it.
        await mall.sql(
            "update iap_webhook_logs set claimed_at = now() - interval '6 minutes'"
            " where notification_id = %(id)s",
            id=notification.id,
        )
        await mall.container.store_webhooks.inbox.sweep()
        await assert_has(ann, "free")

    @pytest.mark.parametrize("error", [None, RuntimeError("broken")])
    async def test_an_event_whose_claim_was_lost_is_not_marked_by_the_former_holder(
        self,
        mall: Mall,
        ann: ApiUser,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception | None,
    ):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        mall.apple.endpoint = None
        await mall.apple.refund(bought)
        mall.apple.endpoint = f"{WEBHOOKS}/apple"
        read_proceeds = Takings.of_apple

        async def claim_is_lost(*args: Any, **options: Any) -> Any:
            await mall.sql(
                "update iap_webhook_logs set attempts = 2, claimed_at = now()"
                " where status = 'processing'"
            )
            if error is not None:
                raise error
            return await read_proceeds(*args, **options)

        monkeypatch.setattr(Takings, "of_apple", claim_is_lost)
        assert await mall.apple.deliver(mall.apple.notifications[-1]) >= 500
        assert await log_of(mall, "ios") == [("processing", 2, None)]
        await assert_has(ann, "regular")

    async def test_a_restart_of_the_database_loses_nothing(self, mall: Mall, ann: ApiUser):
        bought = await mall.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        cut_all_sessions(mall.database_url)
        mall.apple.endpoint = None
        await mall.apple.expire(bought)
        mall.apple.endpoint = f"{WEBHOOKS}/apple"
        with trio.fail_after(20):
            while await mall.apple.deliver(mall.apple.notifications[-1]) != 200:
                await trio.sleep(0.05)
        await assert_has(ann, "free")


MESSAGES: list[tuple[int, Any, Any]] = [
    (play.RECOVERED, "ACTIVE", "regular"),
    (play.RENEWED, "ACTIVE", "regular"),
    (play.CANCELED, "CANCELED", "regular"),
    (play.PURCHASED, "ACTIVE", "regular"),
    (play.ON_HOLD, "ON_HOLD", "regular"),
    (play.IN_GRACE, "IN_GRACE_PERIOD", "regular"),
    (play.RESTARTED, "ACTIVE", "regular"),
    (play.PRICE_CHANGED, "ACTIVE", "regular"),
    (play.DEFERRED, "ACTIVE", "regular"),
    (play.PAUSED, "PAUSED", "free"),
    (play.PAUSE_SCHEDULE, "ACTIVE", "regular"),
    (play.REVOKED, "EXPIRED", "free"),
    (play.EXPIRED, "EXPIRED", "free"),
]


class TestGoogle:
    async def test_who_is_not_pub_sub_says_nothing(self, mall: Mall, ann: ApiUser, keys: Keys):
        bought = await mall.google.buy("cookcam_pro_monthly", account_token=ann.id)
        bought.state = "EXPIRED"
        told = {"notificationType": play.EXPIRED, "purchaseToken": bought.token}
        envelope = mall.google.envelope({"subscriptionNotification": told})
        other = Keys(keys.account, keys.account)
        for token in (
            keys.push_token(aud="another-service"),
            keys.push_token(iss="https://evil.example"),
            keys.push_token(email="somebody@sandbox.iam.gserviceaccount.com"),
            keys.push_token(email_verified=False),
            keys.push_token(exp=1_600_000_000),
            other.push_token(),
            "not.a.token",
            "x",
        ):
            assert await mall.google.deliver(envelope, token) == 401
        response = await mall.http.post(f"{WEBHOOKS}/google", json=envelope)
        assert response.status_code == 401
        await assert_has(ann, "regular")
        assert await mall.google.deliver(envelope) == 204
        await assert_has(ann, "free")

    async def test_without_google_s_keys_it_is_later_and_not_no(self, mall: Mall):
        mall.google.behaviour.failures = 5
        told = {"testNotification": {"version": "1.0"}}
        assert await mall.google.deliver(mall.google.envelope(told)) == 503

    async def test_google_is_asked_whatever_the_message_says(self, mall: Mall):
        for kind, state, has in MESSAGES:
            ann = await mall.person()
            bought = await mall.google.buy("cookcam_pro_monthly", account_token=ann.id)
            # A message alone changes nothing.
            await mall.google.notify(bought, kind)
            await assert_has(ann, "regular")
            bought.state = state
            await mall.google.notify(bought, kind)
            await assert_has(ann, has)

    async def test_a_voided_purchase_is_over(self, mall: Mall, ann: ApiUser):
        bought = await mall.google.buy("cookcam_pro_monthly", account_token=ann.id)
        await mall.google.void(bought)
        await assert_has(ann, "free")
        assert (await mall.deeds(ann))[-1] == "refunded"

    async def test_what_google_has_forgotten_is_over(self, mall: Mall, ann: ApiUser):
        bought = await mall.google.buy("cookcam_pro_monthly", account_token=ann.id)
        bought.gone = True
        await mall.google.notify(bought, play.EXPIRED)
        await assert_has(ann, "free")

    async def test_what_is_not_about_us_is_taken_and_left(self, mall: Mall):
        google = mall.google
        bought = await google.buy("cookcam_pro_monthly")
        told = {"notificationType": play.PURCHASED, "purchaseToken": bought.token}
        other = google.envelope({"subscriptionNotification": told}, package="com.evil.app")
        asked = len(google.behaviour.requests)
        assert await google.deliver(other) == 204
        assert await google.deliver(google.envelope({"testNotification": {}})) == 204
        assert len(google.behaviour.requests) == asked
        unknown = {"notificationType": play.RENEWED, "purchaseToken": "nobody's"}
        assert await google.deliver(google.envelope({"subscriptionNotification": unknown})) == 204
        for data in ("%%%", b64encode(b"[1]").decode(), b64encode(b"\xff").decode(), None, 5):
            envelope = {"message": {"data": data, "messageId": uuid4().hex}}
            assert await google.deliver(envelope) == 204
        for envelope in ({}, {"message": {}}, {"message": "x"}):
            assert await google.deliver(envelope) == 400

    async def test_an_outage_is_told_to_pub_sub_and_worked_off(self, mall: Mall, ann: ApiUser):
        bought = await mall.google.buy("cookcam_pro_monthly", account_token=ann.id)
        mall.google.behaviour.failures = 3
        await mall.google.expire(bought)
        assert mall.google.statuses[-1] == 503
        await assert_has(ann, "regular")
        assert await log_of(mall, "android") == [("failed", 1, "SERVICE_UNAVAILABLE")]
        assert await mall.google.deliver(mall.google.envelopes[-1]) == 204
        await assert_has(ann, "free")
        assert await mall.google.deliver(mall.google.envelopes[-1]) == 204
        assert await log_of(mall, "android") == [("processed", 2, None)]

    async def test_a_renewal_is_not_hidden_by_the_first_validation(self, mall: Mall, ann: ApiUser):
        bought = await mall.google.buy("cookcam_pro_monthly")
        assert (await show(ann, bought)).status_code == 200
        before = (await assert_has(ann, "regular"))["current_period_end"]
        await mall.google.renew(bought)
        assert (await assert_has(ann, "regular"))["current_period_end"] > before
        (row,) = await mall.sql(
            "select user_id from iap_receipt_bindings where store_key = %(key)s",
            key=hash_of(bought.token),
        )
        assert str(row[0]) == ann.id

    async def test_without_settings_nobody_is_believed(
        self, database_url: str, authority: Authority, keys: Keys
    ):
        async with open_mall(database_url, authority, keys, GOOGLE_PUSH_AUDIENCE=None) as mall:
            assert await mall.google.deliver(mall.google.envelope({})) == 503
