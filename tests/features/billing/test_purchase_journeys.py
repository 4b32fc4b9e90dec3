"""From buying to the refund, at each store: what it tells, and what the app and the gates say."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import httpx

from cookcam.sandbox.app_store import Authority, open_apple
from cookcam.sandbox.google_play import Keys, open_google_play
from tests.features.conftest import ApiUser
from tests.identity.project import new_user, open_project
from tests.support.app_stores import StoresApp, assert_has, show
from tests.support.whole_server import environment, whole_server

CLAIMED = {
    "subscriptionData": {
        "productId": "com.cookcam.creator.monthly",
        "transactionId": "2000000000000001",
        "tier": "creator",
    }
}


async def test_a_subscription_of_the_app_store_from_its_purchase_to_its_refund(
    stores_app: StoresApp,
):
    apple, ann = stores_app.apple, await stores_app.person()
    await assert_has(ann, "free")
    bought = await apple.buy("com.cookcam.pro.monthly", trial=True)
    await assert_has(ann, "free")  # nobody said yet whose it is
    response = await show(ann, bought)
    assert response.json() == {
        "success": True,
        "message": "Subscription activated successfully",
        "subscription": {
            "platform": "ios",
            "productId": "com.cookcam.pro.monthly",
            "status": "active",
            "transactionId": bought.id,
            "environment": "production",
        },
    }
    assert (await assert_has(ann, "regular", ends=False))["status"] == "trial"

    await apple.renew(bought)
    assert (await assert_has(ann, "regular"))["status"] == "active"
    await apple.fail_payment(bought)
    await assert_has(ann, "regular")  # in grace
    await apple.renew(bought)
    await assert_has(ann, "regular")
    await apple.upgrade(bought, "com.cookcam.creator.monthly")
    await assert_has(ann, "creator")
    await apple.set_renewal(bought, renews=False)
    await assert_has(ann, "creator", ends=True)
    await apple.set_renewal(bought, renews=True)
    await assert_has(ann, "creator", ends=False)
    await apple.downgrade(bought, "com.cookcam.pro.monthly")
    await assert_has(ann, "creator")  # until the period is over
    await apple.renew(bought)
    await assert_has(ann, "regular")
    await apple.set_renewal(bought, renews=False)
    await apple.expire(bought)
    await assert_has(ann, "free")
    await apple.renew(bought)  # subscribed again
    await assert_has(ann, "regular")
    await apple.refund(bought)
    await assert_has(ann, "free")

    assert apple.statuses == [200] * len(apple.notifications)
    assert await stores_app.rows(ann) == [("ios", "cancelled", 2)]
    assert (await stores_app.deeds(ann)) == [
        "created",
        "renewed",
        "past_due",
        "renewed",
        "upgraded",
        "scheduled_cancel",
        "reactivated",
        "downgraded",
        "scheduled_cancel",
        "expired",
        "reactivated",
        "refunded",
    ]
    assert {event for _, event, _ in stores_app.notifier.sent} == {"subscription_updated"}


async def test_a_subscription_of_google_play_from_its_purchase_to_its_refund(stores_app: StoresApp):
    google, ann = stores_app.google, await stores_app.person()
    bought = await google.buy("cookcam_pro_monthly", trial=True)
    await assert_has(ann, "free")
    response = await show(ann, bought)
    assert response.json()["subscription"]["transactionId"] == bought.order_id
    assert (await assert_has(ann, "regular"))["status"] == "trial"
    assert bought.acknowledged

    await google.renew(bought)
    assert (await assert_has(ann, "regular"))["status"] == "active"
    await google.fail_payment(bought)
    await assert_has(ann, "regular")
    await google.hold(bought, since=google.now - timedelta(days=500))
    await assert_has(ann, "free")  # on hold, and longer than we wait
    await google.renew(bought)
    await assert_has(ann, "regular")
    await google.cancel(bought)
    await assert_has(ann, "regular", ends=True)
    await google.restart(bought)
    await assert_has(ann, "regular", ends=False)
    better = await google.buy("cookcam_creator_yearly", instead_of=bought)
    await assert_has(ann, "creator")  # known by the token it replaces
    assert better.acknowledged
    await google.pause(better)
    await assert_has(ann, "free")
    await google.renew(better)
    await assert_has(ann, "creator")
    await google.cancel(better)
    await google.expire(better)
    await assert_has(ann, "free")
    last = await google.buy("cookcam_pro_yearly", account_token=ann.id)
    await assert_has(ann, "regular")
    await google.revoke(last)
    await assert_has(ann, "free")

    assert google.statuses == [204] * len(google.envelopes)
    assert (await stores_app.deeds(ann))[-1] == "refunded"
    assert {row[1] for row in await stores_app.rows(ann)} <= {"expired", "cancelled"}


async def test_who_is_named_in_a_purchase_has_it_without_a_call_of_the_app(stores_app: StoresApp):
    ann, bob = await stores_app.person(), await stores_app.person("Bob")
    bought = await stores_app.apple.buy("com.cookcam.creator.yearly", account_token=ann.id)
    await assert_has(ann, "creator")
    assert (await show(bob, bought)).status_code == 409
    await stores_app.google.buy("cookcam_pro_monthly", account_token=bob.id)
    await assert_has(bob, "regular")
    assert await stores_app.history(bob) == [("invalid", "another")]


async def test_the_program_as_it_is_assembled_hears_both_stores(
    database_url: str, authority: Authority, keys: Keys, tmp_path: Path
):
    root, key, account = tmp_path / "root.der", tmp_path / "key.p8", tmp_path / "account.json"
    root.write_bytes(authority.root)
    async with (
        open_project(database_url) as gotrue,
        open_apple(authority=authority) as apple,
        open_google_play(keys=keys) as google,
    ):
        key.write_text(apple.private_key)
        account.write_text(google.service_account)
        environ = environment(
            database_url,
            gotrue,
            **apple.bindings,
            **google.bindings,
            APPLE_ROOT_CERTIFICATES=str(root),
            APPLE_API_PRIVATE_KEY=str(key),
            GOOGLE_SERVICE_ACCOUNT_KEY_FILE=str(account),
        )
        async with whole_server(environ) as server:
            apple.endpoint = f"{server.url}/api/v1/subscription/webhook/apple"
            google.endpoint = f"{server.url}/api/subscription/webhook/google"
            async with httpx.AsyncClient(base_url=server.url, timeout=30) as http:
                user = await new_user(gotrue)
                ann = ApiUser(http, gotrue.issue_token(user), user)

                async def tier() -> str:
                    return (await ann.get("/subscription/status")).json()["tier_slug"]

                other = await google.buy("cookcam_pro_monthly", account_token=ann.id)
                assert await tier() == "regular"
                rejected = await ann.post("/subscription/upgrade-to-creator", CLAIMED)
                assert (rejected.status_code, rejected.json()["error"]) == (402, "Payment required")
                bought = await apple.buy("com.cookcam.creator.monthly", account_token=ann.id)
                assert await tier() == "creator"
                upgraded = await ann.post("/subscription/upgrade-to-creator", {})
                assert (upgraded.status_code, upgraded.json()["isCreator"]) == (200, True)
                signed = apple.signed_transaction(bought)
                assert (await show(ann, bought, receipt=signed)).status_code == 200
                await apple.refund(bought)
                assert await tier() == "regular"
                google.endpoint = None  # no further notifications
                await google.revoke(other)
                assert await tier() == "regular"
                for _ in range(2):  # the second, within a minute, tells what is known
                    requested = await ann.post("/subscription/refresh-status", {})
                    assert (requested.status_code, requested.json()["tier_slug"]) == (200, "free")
    assert (apple.statuses, google.statuses) == ([200, 200], [204])
