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
from tests.features.conftest import ApiUser
from tests.support.app_stores import Mall, assert_has, open_mall, show
from tests.support.commissions import NoCommissions

END_PERIODS = """
update user_subscriptions set current_period_start = current_period_start - interval '2 months',
  current_period_end = now() - interval '1 hour'"""


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.make()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys.make()


@pytest.fixture
async def mall(fresh_database_url: str, authority: Authority, keys: Keys) -> AsyncIterator[Mall]:
    async with open_mall(fresh_database_url, authority, keys, IAP_ALLOW_SANDBOX="true") as opened:
        opened.silence()
        yield opened


def stores(mall: Mall) -> tuple[AppStore, GooglePlay]:
    return mall.stores.purchases.app_store, mall.stores.purchases.google_play


def sources(mall: Mall, *, allow_sandbox: bool = True) -> list[SubscriptionSource]:
    app_store, google_play = stores(mall)
    return [
        AppStoreSource(app_store=app_store, allow_sandbox=allow_sandbox),
        GooglePlaySource(google_play=google_play, allow_sandbox=allow_sandbox),
    ]


def corrections(mall: Mall) -> Corrections:
    ledger = mall.stores.purchases.grants.ledger
    return Corrections(ledger, ledger.store, NoCommissions(), now)


async def run(mall: Mall, **sold: Any) -> RunMetrics:
    store = ReconciliationStore(mall.database)
    reconciliation = Reconciliation(store, sources(mall, **sold), corrections(mall), now, Metrics())
    metrics = await reconciliation.run()
    assert metrics is not None
    return metrics


def now() -> datetime:
    return datetime.now(UTC)


async def buy(mall: Mall, *, test: bool = False) -> tuple[Any, Any, ApiUser, ApiUser]:
    """Ann buys in the App Store, Bob in Google Play."""
    ann, bob = await mall.person(), await mall.person("Bob")
    where = "Sandbox" if test else "Production"
    apple = await mall.apple.buy("com.cookcam.pro.monthly", where=where)
    play = await mall.google.buy("cookcam_pro_monthly", test=test)
    for user, bought in ((ann, apple), (bob, play)):
        assert (await show(user, bought)).status_code == 200
    return apple, play, ann, bob


def summary(metrics: RunMetrics) -> tuple[int, int, int, int]:
    """Checked, drift, corrected, errors; nothing was expired."""
    assert metrics.expired_count == 0
    return (
        metrics.total_checked, metrics.drift_detected, metrics.updated_count, metrics.errors_count
    )  # fmt: skip


async def test_drift_is_found_and_corrected_in_each_store(mall: Mall):
    apple, play, ann, bob = await buy(mall)
    assert summary(await run(mall)) == (2, 0, 0, 0)
    await mall.apple.upgrade(apple, "com.cookcam.creator.monthly")
    await mall.google.cancel(play)
    assert summary(await run(mall)) == (2, 2, 2, 0)
    await assert_has(ann, "creator", ends=False)
    await assert_has(bob, "regular", ends=True)
    await mall.apple.refund(apple)
    await mall.google.revoke(play)
    assert summary(await run(mall)) == (2, 2, 2, 0)
    assert await mall.rows(ann) == [("ios", "cancelled", 3)]
    assert await mall.rows(bob) == [("android", "expired", 2)]
    assert summary(await run(mall)) == (0, 0, 0, 0)


@pytest.mark.parametrize("status", [500, 404, 400])
async def test_failing_store_ends_no_subscription(mall: Mall, status: int):
    """Also a store whose address is wrong and returns an unrelated page."""
    _, _, ann, bob = await buy(mall)
    await mall.sql(END_PERIODS)
    for behaviour in (mall.apple.behaviour, mall.google.behaviour):
        behaviour.failures, behaviour.status = 100, status
    assert summary(await run(mall)) == (2, 0, 0, 2)
    assert await mall.rows(ann) == [("ios", "active", 2)]
    assert await mall.rows(bob) == [("android", "active", 2)]


async def test_subscription_unknown_to_its_store_is_ended(mall: Mall):
    apple, play, ann, bob = await buy(mall)
    del mall.apple.bought[apple.id]
    del mall.google.bought[play.token]
    assert summary(await run(mall)) == (2, 2, 2, 0)
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
    mall: Mall, status: int, code: int | None, error: type[Exception], reason: str | None
):
    behaviour = mall.apple.behaviour
    behaviour.failures, behaviour.status, behaviour.code = 100, status, code
    with pytest.raises(error) as caught:
        await stores(mall)[0].subscription("2000000000000001", "production")
    assert type(caught.value) is error
    assert getattr(caught.value, "reason", None) == reason


async def test_test_purchases_end_unless_sandbox_is_allowed(mall: Mall):
    _, _, ann, bob = await buy(mall, test=True)
    assert summary(await run(mall)) == (2, 0, 0, 0)
    assert summary(await run(mall, allow_sandbox=False)) == (2, 2, 2, 0)
    await assert_has(ann, "free")
    await assert_has(bob, "free")


async def test_refresh_returns_the_stores_state_and_reactivates(mall: Mall):
    apple, _, ann, bob = await buy(mall)
    await mall.sql("update user_subscriptions set status = 'expired'")
    await mall.apple.refund(apple)  # ended on both sides: nothing is written
    of_stores = UserReconciliation(
        ReconciliationStore(mall.database), sources(mall), corrections(mall), now
    )
    refresh = StoreRefresh(of_stores)
    for user in (ann, bob, bob):  # the third, within a minute, sends no request
        await refresh(UUID(user.id))
    assert await mall.rows(ann) == [("ios", "expired", 2)]
    await assert_has(bob, "regular")
    cid = await mall.person("Cid")
    assert (await show(cid, await mall.google.buy("cookcam_pro_monthly"))).status_code == 200
    mall.google.behaviour.failures, mall.google.behaviour.status = 100, 400
    await refresh(UUID(cid.id))  # a malformed response is no failure
    await assert_has(cid, "regular")
    dan = await mall.person("Dan")
    assert (await show(dan, await mall.apple.buy("com.cookcam.pro.monthly"))).status_code == 200
    mall.apple.behaviour.failures, mall.apple.behaviour.status = 100, 503
    with pytest.raises(ProviderUnavailable):
        await refresh(UUID(dan.id))
    await assert_has(dan, "regular")
