"""Reconciliation runs against fakes of the App Store and Google Play."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cookcam.features.billing.reconciliation.corrections import Corrections
from cookcam.features.billing.reconciliation.models import RunMetrics
from cookcam.features.billing.reconciliation.service import (
    Reconciliation,
    StoreRefresh,
    UserReconciliation,
)
from cookcam.features.billing.reconciliation.sources.app_stores import (
    AppStoreSource,
    GooglePlaySource,
)
from cookcam.features.billing.reconciliation.sources.models import SubscriptionSource
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.integrations.app_store.client import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.provider_calls import (
    ProviderMisconfigured,
    ProviderUnavailable,
    StoreRejected,
)
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from cookcam.sandbox.serving import Failure
from tests.features.conftest import ApiUser
from tests.support.app_stores import StoresApp, assert_has, open_stores_app, show
from tests.support.commissions import NoCommissions

END_PERIODS = """
update user_subscriptions set current_period_start = current_period_start - interval '2 months',
  current_period_end = now() - interval '1 hour'"""


@pytest.fixture
async def stores_app(
    fresh_database_url: str, authority: Authority, keys: Keys
) -> AsyncIterator[StoresApp]:
    async with open_stores_app(
        fresh_database_url, authority, keys, IAP_ALLOW_SANDBOX="true"
    ) as opened:
        opened.silence()
        yield opened


def stores(stores_app: StoresApp) -> tuple[AppStore, GooglePlay]:
    return stores_app.container.purchases.app_store, stores_app.container.purchases.google_play


def sources(stores_app: StoresApp, *, allow_sandbox: bool = True) -> list[SubscriptionSource]:
    app_store, google_play = stores(stores_app)
    return [
        AppStoreSource(app_store=app_store, allow_sandbox=allow_sandbox),
        GooglePlaySource(google_play=google_play, allow_sandbox=allow_sandbox),
    ]


def corrections(stores_app: StoresApp) -> Corrections:
    ledger = stores_app.container.purchases.grants.ledger
    return Corrections(ledger, ledger.store, NoCommissions(), now)


async def run(stores_app: StoresApp, **sold: Any) -> RunMetrics:
    store = ReconciliationStore(stores_app.database)
    reconciliation = Reconciliation(
        store, sources(stores_app, **sold), corrections(stores_app), now, Metrics()
    )
    metrics = await reconciliation.run()
    assert metrics is not None
    return metrics


def now() -> datetime:
    return datetime.now(UTC)


async def buy(stores_app: StoresApp, *, test: bool = False) -> tuple[Any, Any, ApiUser, ApiUser]:
    """Ann buys in the App Store, Bob in Google Play."""
    ann, bob = await stores_app.person(), await stores_app.person("Bob")
    where = "Sandbox" if test else "Production"
    apple = await stores_app.apple.buy("com.cookcam.pro.monthly", where=where)
    play = await stores_app.google.buy("cookcam_pro_monthly", test=test)
    for user, bought in ((ann, apple), (bob, play)):
        assert (await show(user, bought)).status_code == 200
    return apple, play, ann, bob


def summary(metrics: RunMetrics) -> tuple[int, int, int, int]:
    """Checked, drift, corrected, errors; nothing was expired."""
    assert metrics.expired_count == 0
    return (
        metrics.total_checked, metrics.drift_detected, metrics.updated_count, metrics.errors_count
    )  # fmt: skip


async def test_drift_is_found_and_corrected_in_each_store(stores_app: StoresApp):
    apple, play, ann, bob = await buy(stores_app)
    assert summary(await run(stores_app)) == (2, 0, 0, 0)
    await stores_app.apple.upgrade(apple, "com.cookcam.creator.monthly")
    await stores_app.google.cancel(play)
    assert summary(await run(stores_app)) == (2, 2, 2, 0)
    await assert_has(ann, "creator", ends=False)
    await assert_has(bob, "regular", ends=True)
    await stores_app.apple.refund(apple)
    await stores_app.google.revoke(play)
    assert summary(await run(stores_app)) == (2, 2, 2, 0)
    assert await stores_app.rows(ann) == [("ios", "cancelled", 3)]
    assert await stores_app.rows(bob) == [("android", "expired", 2)]
    assert summary(await run(stores_app)) == (0, 0, 0, 0)


@pytest.mark.parametrize("status", [500, 404, 400])
async def test_failing_store_ends_no_subscription(stores_app: StoresApp, status: int):
    """Also a store whose address is wrong and returns an unrelated page."""
    _, _, ann, bob = await buy(stores_app)
    await stores_app.sql(END_PERIODS)
    for behaviour in (stores_app.apple.behaviour, stores_app.google.behaviour):
        behaviour.failure = Failure(status)
    assert summary(await run(stores_app)) == (2, 0, 0, 2)
    assert await stores_app.rows(ann) == [("ios", "active", 2)]
    assert await stores_app.rows(bob) == [("android", "active", 2)]


async def test_subscription_unknown_to_its_store_is_ended(stores_app: StoresApp):
    apple, play, ann, bob = await buy(stores_app)
    del stores_app.apple.purchases[apple.id]
    del stores_app.google.purchases[play.token]
    assert summary(await run(stores_app)) == (2, 2, 2, 0)
    await assert_has(ann, "free")
    await assert_has(bob, "free")


@pytest.mark.parametrize(
    ("status", "code", "error", "reason"),
    [
        (404, 4040005, StoreRejected, "unknown"),
        (404, 4040010, StoreRejected, "unknown"),
        (404, 4040001, StoreRejected, "4040001"),
        (400, 4000006, StoreRejected, "4000006"),
        (404, 4040003, ProviderMisconfigured, None),
        (404, None, ProviderMisconfigured, None),
        (404, 4040006, ProviderUnavailable, None),
    ],
)
async def test_only_two_codes_of_apple_mean_an_unknown_subscription(
    stores_app: StoresApp, status: int, code: int | None, error: type[Exception], reason: str | None
):
    behaviour = stores_app.apple.behaviour
    behaviour.failure, behaviour.code = Failure(status), code
    with pytest.raises(error) as caught:
        await stores(stores_app)[0].subscription("2000000000000001", "production")
    assert type(caught.value) is error
    assert getattr(caught.value, "reason", None) == reason


async def test_test_purchases_end_unless_sandbox_is_allowed(stores_app: StoresApp):
    _, _, ann, bob = await buy(stores_app, test=True)
    assert summary(await run(stores_app)) == (2, 0, 0, 0)
    assert summary(await run(stores_app, allow_sandbox=False)) == (2, 2, 2, 0)
    await assert_has(ann, "free")
    await assert_has(bob, "free")


async def test_refresh_returns_the_stores_state_and_reactivates(stores_app: StoresApp):
    apple, _, ann, bob = await buy(stores_app)
    await stores_app.sql("update user_subscriptions set status = 'expired'")
    await stores_app.apple.refund(apple)  # ended on both sides: nothing is written
    of_stores = UserReconciliation(
        ReconciliationStore(stores_app.database), sources(stores_app), corrections(stores_app), now
    )
    refresh = StoreRefresh(of_stores)
    for user in (ann, bob, bob):  # the third, within a minute, sends no request
        await refresh(UUID(user.id))
    assert await stores_app.rows(ann) == [("ios", "expired", 2)]
    await assert_has(bob, "regular")
    cid = await stores_app.person("Cid")
    assert (await show(cid, await stores_app.google.buy("cookcam_pro_monthly"))).status_code == 200
    stores_app.google.behaviour.failure = Failure(400)
    await refresh(UUID(cid.id))  # a malformed response is no failure
    await assert_has(cid, "regular")
    dan = await stores_app.person("Dan")
    assert (
        await show(dan, await stores_app.apple.buy("com.cookcam.pro.monthly"))
    ).status_code == 200
    stores_app.apple.behaviour.failure = Failure(503)
    with pytest.raises(ProviderUnavailable):
        await refresh(UUID(dan.id))
    await assert_has(dan, "regular")
