"""Runs against stand-ins for the App Store and Google Play: what they correct, and never end."""

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
from cookcam.features.billing.reconciliation.sources import Source
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.features.billing.reconciliation.store_sources import (
    AppStoreSource,
    GooglePlaySource,
)
from cookcam.integrations.app_store.client import AppStore
from cookcam.integrations.google_play import GooglePlay
from cookcam.integrations.store_calls import StoreMisconfigured, StoreRejected, StoreUnavailable
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.app_store import Authority
from cookcam.sandbox.google_play import Keys
from tests.features.conftest import ApiUser
from tests.support.app_stores import Mall, assert_has, open_mall, show
from tests.support.commissions import NoCommissions

RAN_OUT = """
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
    return mall.container.purchases.app_store, mall.container.purchases.google_play


def sources(mall: Mall, *, allow_sandbox: bool = True) -> list[Source]:
    app_store, google_play = stores(mall)
    return [
        AppStoreSource(app_store=app_store, allow_sandbox=allow_sandbox),
        GooglePlaySource(google_play=google_play, allow_sandbox=allow_sandbox),
    ]


def corrections(mall: Mall) -> Corrections:
    ledger = mall.container.purchases.grants.ledger
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
    """Ann's in the App Store, Bob's in Google Play."""
    ann, bob = await mall.person(), await mall.person("Bob")
    where = "Sandbox" if test else "Production"
    apple = await mall.apple.buy("com.cookcam.pro.monthly", where=where)
    play = await mall.google.buy("cookcam_pro_monthly", test=test)
    for who, bought in ((ann, apple), (bob, play)):
        assert (await show(who, bought)).status_code == 200
    return apple, play, ann, bob


def found(metrics: RunMetrics) -> tuple[int, int, int, int]:
    """Checked, drift, corrected, errors; nothing was expired."""
    assert metrics.expired_count == 0
    return (
        metrics.total_checked, metrics.drift_detected, metrics.updated_count, metrics.errors_count
    )  # fmt: skip


async def test_drift_is_found_and_corrected_in_each_store(mall: Mall):
    apple, play, ann, bob = await buy(mall)
    assert found(await run(mall)) == (2, 0, 0, 0)
    await mall.apple.upgrade(apple, "com.cookcam.creator.monthly")
    await mall.google.cancel(play)
    assert found(await run(mall)) == (2, 2, 2, 0)
    await assert_has(ann, "creator", ends=False)
    await assert_has(bob, "regular", ends=True)
    await mall.apple.refund(apple)
    await mall.google.revoke(play)
    assert found(await run(mall)) == (2, 2, 2, 0)
    assert await mall.rows(ann) == [("ios", "cancelled", 3)]
    assert await mall.rows(bob) == [("android", "expired", 2)]
    assert found(await run(mall)) == (0, 0, 0, 0)


@pytest.mark.parametrize("status", [500, 404, 400])
async def test_a_store_that_fails_ends_nothing(mall: Mall, status: int):
    """Also one that answers with a page of something else, as a wrong address does."""
    _, _, ann, bob = await buy(mall)
    await mall.sql(RAN_OUT)
    for behaviour in (mall.apple.behaviour, mall.google.behaviour):
        behaviour.failures, behaviour.status = 100, status
    assert found(await run(mall)) == (2, 0, 0, 2)
    assert await mall.rows(ann) == [("ios", "active", 2)]
    assert await mall.rows(bob) == [("android", "active", 2)]


async def test_what_a_store_does_not_know_ends(mall: Mall):
    apple, play, ann, bob = await buy(mall)
    del mall.apple.purchases[apple.id]
    del mall.google.purchases[play.token]
    assert found(await run(mall)) == (2, 2, 2, 0)
    await assert_has(ann, "free")
    await assert_has(bob, "free")


@pytest.mark.parametrize(
    ("status", "code", "error", "reason"),
    [
        (404, 4040005, StoreRejected, "unknown"),
        (404, 4040010, StoreRejected, "unknown"),
        (404, 4040001, StoreRejected, "4040001"),
        (400, 4000006, StoreRejected, "4000006"),
        (404, 4040003, StoreMisconfigured, None),
        (404, None, StoreMisconfigured, None),
        (404, 4040006, StoreUnavailable, None),
    ],
)
async def test_only_two_codes_of_apple_are_of_an_unknown_subscription(
    mall: Mall, status: int, code: int | None, error: type[Exception], reason: str | None
):
    behaviour = mall.apple.behaviour
    behaviour.failures, behaviour.status, behaviour.code = 100, status, code
    with pytest.raises(error) as caught:
        await stores(mall)[0].subscription("2000000000000001", "production")
    assert type(caught.value) is error
    assert getattr(caught.value, "reason", None) == reason


async def test_test_purchases_are_kept_where_they_entitle_and_end_elsewhere(mall: Mall):
    _, _, ann, bob = await buy(mall, test=True)
    assert found(await run(mall)) == (2, 0, 0, 0)
    assert found(await run(mall, allow_sandbox=False)) == (2, 2, 2, 0)
    await assert_has(ann, "free")
    await assert_has(bob, "free")


async def test_who_waits_is_told_what_the_stores_say_and_what_ended_here_may_go_on(mall: Mall):
    apple, _, ann, bob = await buy(mall)
    await mall.sql("update user_subscriptions set status = 'expired'")
    await mall.apple.refund(apple)  # over on both sides: nothing is written
    of_stores = UserReconciliation(
        ReconciliationStore(mall.database), sources(mall), corrections(mall), now
    )
    refresh = StoreRefresh(of_stores)
    for who in (ann, bob, bob):  # the third within a minute asks nobody
        await refresh(UUID(who.id))
    assert await mall.rows(ann) == [("ios", "expired", 2)]
    await assert_has(bob, "regular")
    cid = await mall.person("Cid")
    assert (await show(cid, await mall.google.buy("cookcam_pro_monthly"))).status_code == 200
    mall.google.behaviour.failures, mall.google.behaviour.status = 100, 400
    await refresh(UUID(cid.id))  # no use, and no failure
    await assert_has(cid, "regular")
    dan = await mall.person("Dan")
    assert (await show(dan, await mall.apple.buy("com.cookcam.pro.monthly"))).status_code == 200
    mall.apple.behaviour.failures, mall.apple.behaviour.status = 100, 503
    with pytest.raises(StoreUnavailable):
        await refresh(UUID(dan.id))
    await assert_has(dan, "regular")
