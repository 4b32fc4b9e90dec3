"""What the stores tell by themselves: once, in any order, and only if they said it."""

from __future__ import annotations

import random
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import orjson
import pytest
import structlog.testing
import trio

from cookcam.features.billing.app_stores.models import hash_of
from cookcam.features.billing.app_stores.proceeds import StoreProceeds
from cookcam.features.billing.webhooks.store import EventHeader
from cookcam.integrations.google_play import client as google_play_client
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from cookcam.sandbox.google_play import server as play
from cookcam.sandbox.serving import Failure
from tests.features.conftest import ApiUser
from tests.support.app_stores import WEBHOOKS, StoresApp, assert_has, open_stores_app, show
from tests.support.hubs import cut_all_sessions


@pytest.fixture
async def ann(stores_app: StoresApp) -> ApiUser:
    return await stores_app.person()


async def log_of(stores_app: StoresApp, platform: str) -> list[tuple[str, int, str | None]]:
    return await stores_app.sql(
        "select status, attempts, error_message from iap_webhook_logs"
        " where platform = %(platform)s order by received_at desc limit 1",
        platform=platform,
    )


class TestApple:
    async def test_defect_what_apple_did_not_sign_is_not_heard(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        apple = stores_app.apple
        elsewhere = await apple.buy("com.cookcam.pro.monthly", bundle_id="com.evil.app")
        before = await stores_app.sql("select count(*) from iap_webhook_logs")
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
        response = await stores_app.http.post(f"{WEBHOOKS}/apple", json={"signedPayload": 5})
        assert response.status_code == 400
        await assert_has(ann, "regular")
        assert await stores_app.sql("select count(*) from iap_webhook_logs") == before

    async def test_a_notification_counts_once(self, stores_app: StoresApp, ann: ApiUser):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await stores_app.apple.renew(bought)
        for _ in range(3):
            assert await stores_app.apple.deliver(stores_app.apple.notifications[0]) == 200
        assert await stores_app.deeds(ann) == ["created", "renewed"]

    async def test_the_order_of_arrival_does_not_matter(self, stores_app: StoresApp, ann: ApiUser):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        endpoint, stores_app.apple.endpoint = stores_app.apple.endpoint, None
        await stores_app.apple.fail_payment(bought)
        await stores_app.apple.renew(bought)
        await stores_app.apple.set_renewal(bought, renews=False)
        await stores_app.apple.refund(bought)
        stores_app.apple.endpoint = endpoint
        late = stores_app.apple.notifications[1:] * 2
        random.Random(7).shuffle(late)
        for signed in late:
            assert await stores_app.apple.deliver(signed) == 200
        await assert_has(ann, "free")
        assert await stores_app.rows(ann) == [("ios", "cancelled", 2)]

    async def test_defect_a_failed_renewal_and_a_preference_end_nothing_at_once(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await stores_app.apple.set_renewal(bought, renews=False)
        await assert_has(ann, "regular", ends=True)
        await stores_app.apple.set_renewal(bought, renews=True)
        await stores_app.apple.fail_payment(bought, grace=False)
        await assert_has(ann, "regular")
        assert await stores_app.rows(ann) == [("ios", "past_due", 2)]
        await stores_app.apple.end_grace(bought)
        assert await stores_app.rows(ann) == [("ios", "past_due", 2)]
        notified = "select type from notification_logs where user_id = %(id)s"
        assert await stores_app.sql(notified, id=ann.id) == [("payment_failed",)]

    async def test_money_back_for_an_older_period_ends_nothing(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await stores_app.apple.renew(bought)
        stores_app.apple.pass_time()
        older = bought.transaction_info(stores_app.apple.now, bought.transactions[0])
        older["revocationDate"] = int(stores_app.apple.now.timestamp() * 1000)
        signed = stores_app.apple.signed_notification(
            bought, "REFUND", signedTransactionInfo=stores_app.apple.authority.sign(older)
        )
        assert await stores_app.apple.deliver(signed) == 200
        await assert_has(ann, "regular")

    @pytest.mark.parametrize("kind", ["CONSUMPTION_REQUEST", "REFUND_DECLINED", "REFUND_REVERSED"])
    async def test_notification_of_an_older_period_does_not_change_the_current_one(
        self, stores_app: StoresApp, ann: ApiUser, kind: str
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await stores_app.apple.renew(bought)
        ends = (await assert_has(ann, "regular"))["current_period_end"]
        stores_app.apple.pass_time()
        await stores_app.apple.notify(bought, kind, periods_ago=1)
        assert stores_app.apple.statuses == [200] * 3
        assert (await assert_has(ann, "regular"))["current_period_end"] == ends

    @pytest.mark.parametrize("kind", ["REFUND", "REVOKE"])
    async def test_refunded_or_revoked_purchase_ends_at_once(
        self, stores_app: StoresApp, ann: ApiUser, kind: str
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        await stores_app.apple.refund(bought, kind=kind)
        await assert_has(ann, "free")

    async def test_what_is_not_about_us_is_taken_and_left(self, stores_app: StoresApp):
        test = stores_app.apple.signed_notification(None, "TEST")
        assert await stores_app.apple.deliver(test) == 200
        await stores_app.apple.buy("com.cookcam.stickers.monthly", account_token=str(uuid4()))
        await stores_app.apple.buy("com.cookcam.pro.monthly")  # without an owner
        assert stores_app.apple.statuses == [200, 200, 200]
        assert await log_of(stores_app, "ios") == [("ignored", 1, None)]

    @pytest.mark.parametrize(
        "damage", [{"expiresDate": 10**30}, {"productId": None}, {"price": []}]
    )
    async def test_a_signed_transaction_of_no_known_shape_is_stored_and_logged(
        self, stores_app: StoresApp, ann: ApiUser, damage: dict[str, Any]
    ):
        """Apple would send it again five times, and it would never be different."""
        apple = stores_app.apple
        bought = await apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        info = bought.transaction_info(apple.now, bought.transactions[-1])
        signed = apple.authority.sign({**info, **damage})
        with structlog.testing.capture_logs() as logs:
            received = apple.signed_notification(bought, "EXPIRED", signedTransactionInfo=signed)
            assert await apple.deliver(received) == 200
        assert "notification of Apple cannot be read" in [line["event"] for line in logs]
        assert await log_of(stores_app, "ios") == [("ignored", 1, None)]
        await assert_has(ann, "regular")

    async def test_only_what_is_committed_is_answered_with_200(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        stores_app.apple.endpoint = None
        await stores_app.apple.refund(bought)
        stores_app.apple.endpoint = f"{WEBHOOKS}/apple"
        signed = stores_app.apple.notifications[-1]
        await stores_app.sql("revoke insert on subscription_history from service_role")
        try:
            assert await stores_app.apple.deliver(signed) != 200
            ((status, attempts, reason),) = await log_of(stores_app, "ios")
            assert (status, attempts) == ("failed", 1)
            assert reason
        finally:
            await stores_app.sql("grant insert on subscription_history to service_role")
        await stores_app.sql(
            "update iap_webhook_logs set next_attempt_at = now() where status = 'failed'"
        )
        assert await stores_app.container.store_webhooks.inbox.sweep() >= 1
        await assert_has(ann, "free")
        assert await stores_app.apple.deliver(signed) == 200
        assert await log_of(stores_app, "ios") == [("processed", 2, None)]

    async def test_what_another_is_working_on_comes_again(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        stores_app.apple.endpoint = None
        await stores_app.apple.refund(bought)
        stores_app.apple.endpoint = f"{WEBHOOKS}/apple"
        signed = stores_app.apple.notifications[-1]
        notification = await stores_app.container.store_webhooks.app_store.notification(signed)
        header = EventHeader("ios", notification.id, notification.type)
        payload = orjson.dumps({"signedPayload": signed}).decode()
        await stores_app.container.store_webhooks.inbox.store.claim(header, payload)
        assert await stores_app.apple.deliver(signed) == 503
        # The holder of the claim died: five minutes later the sweep processes it.
        await stores_app.sql(
            "update iap_webhook_logs set claimed_at = now() - interval '6 minutes'"
            " where notification_id = %(id)s",
            id=notification.id,
        )
        await stores_app.container.store_webhooks.inbox.sweep()
        await assert_has(ann, "free")

    @pytest.mark.parametrize("error", [None, RuntimeError("broken")])
    async def test_an_event_whose_claim_was_lost_is_not_marked_by_the_former_holder(
        self,
        stores_app: StoresApp,
        ann: ApiUser,
        monkeypatch: pytest.MonkeyPatch,
        error: Exception | None,
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        stores_app.apple.endpoint = None
        await stores_app.apple.refund(bought)
        stores_app.apple.endpoint = f"{WEBHOOKS}/apple"
        read_proceeds = StoreProceeds.of_apple

        async def claim_is_lost(*args: Any, **options: Any) -> Any:
            await stores_app.sql(
                "update iap_webhook_logs set attempts = 2, claimed_at = now()"
                " where status = 'processing'"
            )
            if error is not None:
                raise error
            return await read_proceeds(*args, **options)

        monkeypatch.setattr(StoreProceeds, "of_apple", claim_is_lost)
        assert await stores_app.apple.deliver(stores_app.apple.notifications[-1]) >= 500
        assert await log_of(stores_app, "ios") == [("processing", 2, None)]
        await assert_has(ann, "regular")

    async def test_a_restart_of_the_database_loses_nothing(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.apple.buy("com.cookcam.pro.monthly", account_token=ann.id)
        cut_all_sessions(stores_app.database_url)
        stores_app.apple.endpoint = None
        await stores_app.apple.expire(bought)
        stores_app.apple.endpoint = f"{WEBHOOKS}/apple"
        with trio.fail_after(20):
            while await stores_app.apple.deliver(stores_app.apple.notifications[-1]) != 200:
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
    async def test_who_is_not_pub_sub_says_nothing(
        self, stores_app: StoresApp, ann: ApiUser, keys: Keys
    ):
        bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=ann.id)
        bought.state = "EXPIRED"
        received = {"notificationType": play.EXPIRED, "purchaseToken": bought.token}
        envelope = stores_app.google.envelope({"subscriptionNotification": received})
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
            assert await stores_app.google.deliver(envelope, token) == 401
        response = await stores_app.http.post(f"{WEBHOOKS}/google", json=envelope)
        assert response.status_code == 401
        await assert_has(ann, "regular")
        assert await stores_app.google.deliver(envelope) == 204
        await assert_has(ann, "free")

    async def test_without_google_s_keys_it_is_later_and_not_no(self, stores_app: StoresApp):
        stores_app.google.behaviour.failure = Failure(500, times=5)
        received = {"testNotification": {"version": "1.0"}}
        assert await stores_app.google.deliver(stores_app.google.envelope(received)) == 503

    async def test_google_is_requested_whatever_the_message_says(self, stores_app: StoresApp):
        for kind, state, has in MESSAGES:
            ann = await stores_app.person()
            bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=ann.id)
            # A message alone changes nothing.
            await stores_app.google.notify(bought, kind)
            await assert_has(ann, "regular")
            bought.state = state
            await stores_app.google.notify(bought, kind)
            await assert_has(ann, has)

    async def test_a_voided_purchase_is_over(self, stores_app: StoresApp, ann: ApiUser):
        bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=ann.id)
        await stores_app.google.void(bought)
        await assert_has(ann, "free")
        assert (await stores_app.deeds(ann))[-1] == "refunded"

    async def test_what_google_has_forgotten_is_over(self, stores_app: StoresApp, ann: ApiUser):
        bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=ann.id)
        bought.gone = True
        await stores_app.google.notify(bought, play.EXPIRED)
        await assert_has(ann, "free")

    async def test_what_is_not_about_us_is_taken_and_left(self, stores_app: StoresApp):
        google = stores_app.google
        bought = await google.buy("cookcam_pro_monthly")
        received = {"notificationType": play.PURCHASED, "purchaseToken": bought.token}
        other = google.envelope({"subscriptionNotification": received}, package="com.evil.app")
        requested = len(google.behaviour.requests)
        assert await google.deliver(other) == 204
        assert await google.deliver(google.envelope({"testNotification": {}})) == 204
        assert len(google.behaviour.requests) == requested
        unknown = {"notificationType": play.RENEWED, "purchaseToken": "nobody's"}
        assert await google.deliver(google.envelope({"subscriptionNotification": unknown})) == 204
        for data in ("%%%", b64encode(b"[1]").decode(), b64encode(b"\xff").decode(), None, 5):
            envelope = {"message": {"data": data, "messageId": uuid4().hex}}
            assert await google.deliver(envelope) == 204
        for envelope in ({}, {"message": {}}, {"message": "x"}):
            assert await google.deliver(envelope) == 400

    async def test_a_state_of_no_known_shape_is_a_dead_letter_at_once(
        self, stores_app: StoresApp, ann: ApiUser, monkeypatch: pytest.MonkeyPatch
    ):
        bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=ann.id)

        def unreadable(*_: Any) -> None:
            raise TypeError("not a state")

        monkeypatch.setattr(google_play_client, "subscription_of", unreadable)
        await stores_app.google.expire(bought)
        assert stores_app.google.statuses[-1] == 204
        assert await log_of(stores_app, "android") == [("failed", 10, "unreadable")]
        await assert_has(ann, "regular")
        monkeypatch.undo()
        assert await stores_app.google.deliver(stores_app.google.envelopes[-1]) == 204
        await assert_has(ann, "free")

    async def test_an_outage_is_reported_to_pub_sub_and_worked_off(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.google.buy("cookcam_pro_monthly", account_token=ann.id)
        stores_app.google.behaviour.failure = Failure(500, times=3)
        await stores_app.google.expire(bought)
        assert stores_app.google.statuses[-1] == 503
        await assert_has(ann, "regular")
        assert await log_of(stores_app, "android") == [("failed", 1, "SERVICE_UNAVAILABLE")]
        assert await stores_app.google.deliver(stores_app.google.envelopes[-1]) == 204
        await assert_has(ann, "free")
        assert await stores_app.google.deliver(stores_app.google.envelopes[-1]) == 204
        assert await log_of(stores_app, "android") == [("processed", 2, None)]

    async def test_a_renewal_is_not_hidden_by_the_first_validation(
        self, stores_app: StoresApp, ann: ApiUser
    ):
        bought = await stores_app.google.buy("cookcam_pro_monthly")
        assert (await show(ann, bought)).status_code == 200
        before = (await assert_has(ann, "regular"))["current_period_end"]
        await stores_app.google.renew(bought)
        assert (await assert_has(ann, "regular"))["current_period_end"] > before
        (row,) = await stores_app.sql(
            "select user_id from iap_receipt_bindings where store_key = %(key)s",
            key=hash_of(bought.token),
        )
        assert str(row[0]) == ann.id

    async def test_without_settings_nobody_is_believed(
        self, database_url: str, authority: Authority, keys: Keys
    ):
        async with open_stores_app(
            database_url, authority, keys, GOOGLE_PUSH_AUDIENCE=None
        ) as stores_app:
            assert await stores_app.google.deliver(stores_app.google.envelope({})) == 503
