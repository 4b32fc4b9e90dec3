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
from tests.support.app_stores import StoresApp, assert_has, open_stores_app, show
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


def sources(stores_app: StoresApp, *, allow_sandbox: bool = True) -> list[Source]:
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
    """Ann's in the App Store, Bob's in Google Play."""
    ann, bob = await stores_app.person(), await stores_app.person("Bob")
    where = "Sandbox" if test else "Production"
    apple = await stores_app.apple.buy("com.cookcam.pro.monthly", where=where)
    play = await stores_app.google.buy("cookcam_pro_monthly", test=test)
    for who, bought in ((ann, apple), (bob, play)):
        assert (await show(who, bought)).status_code == 200
    return apple, play, ann, bob


def found(metrics: RunMetrics) -> tuple[int, int, int, int]:
    """Checked, drift, corrected, errors; nothing was expired."""
    assert metrics.expired_count == 0
    return (
        metrics.total_checked, metrics.drift_detected, metrics.updated_count, metrics.errors_count
    )  # fmt: skip


async def test_drift_is_found_and_corrected_in_each_store(stores_app: StoresApp):
    apple, play, ann, bob = await buy(stores_app)
    assert found(await run(stores_app)) == (2, 0, 0, 0)
    await stores_app.apple.upgrade(apple, "com.cookcam.creator.monthly")
    await stores_app.google.cancel(play)
    assert found(await run(stores_app)) == (2, 2, 2, 0)
    await assert_has(ann, "creator", ends=False)
    await assert_has(bob, "regular", ends=True)
    await stores_app.apple.refund(apple)
    await stores_app.google.revoke(play)
    assert found(await run(stores_app)) == (2, 2, 2, 0)
    assert await stores_app.rows(ann) == [("ios", "cancelled", 3)]
    assert await stores_app.rows(bob) == [("android", "expired", 2)]
    assert found(await run(stores_app)) == (0, 0, 0, 0)


@pytest.mark.parametrize("status", [500, 404, 400])
async def test_a_store_that_fails_ends_nothing(stores_app: StoresApp, status: int):
    """Also one that answers with a page of something else, as a wrong address does."""
    _, _, ann, bob = await buy(stores_app)
    await stores_app.sql(RAN_OUT)
    for behaviour in (stores_app.apple.behaviour, stores_app.google.behaviour):
        behaviour.failures, behaviour.status = 100, status
    assert found(await run(stores_app)) == (2, 0, 0, 2)
    assert await stores_app.rows(ann) == [("ios", "active", 2)]
    assert await stores_app.rows(bob) == [("android", "active", 2)]


async def test_what_a_store_does_not_know_ends(stores_app: StoresApp):
    apple, play, ann, bob = await buy(stores_app)
    del stores_app.apple.purchases[apple.id]
    del stores_app.google.purchases[play.token]
    assert found(await run(stores_app)) == (2, 2, 2, 0)
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
    stores_app: StoresApp, status: int, code: int | None, error: type[Exception], reason: str | None
):
    behaviour = stores_app.apple.behaviour
    behaviour.failures, behaviour.status, behaviour.code = 100, status, code
    with pytest.raises(error) as caught:
        await stores(stores_app)[0].subscription("2000000000000001", "production")
    assert type(caught.value) is error
    assert getattr(caught.value, "reason", None) == reason


async def test_test_purchases_are_kept_where_they_entitle_and_end_elsewhere(stores_app: StoresApp):
    _, _, ann, bob = await buy(stores_app, test=True)
    assert found(await run(stores_app)) == (2, 0, 0, 0)
    assert found(await run(stores_app, allow_sandbox=False)) == (2, 2, 2, 0)
    await assert_has(ann, "free")
    await assert_has(bob, "free")


async def test_who_waits_is_told_what_the_stores_say_and_what_ended_here_may_go_on(
    stores_app: StoresApp,
):
    apple, _, ann, bob = await buy(stores_app)
    await stores_app.sql("update user_subscriptions set status = 'expired'")
    await stores_app.apple.refund(apple)  # over on both sides: nothing is written
    of_stores = UserReconciliation(
        ReconciliationStore(stores_app.database), sources(stores_app), corrections(stores_app), now
    )
    refresh = StoreRefresh(of_stores)
    for who in (ann, bob, bob):  # the third within a minute asks nobody
        await refresh(UUID(who.id))
    assert await stores_app.rows(ann) == [("ios", "expired", 2)]
    await assert_has(bob, "regular")
    cid = await stores_app.person("Cid")
    assert (await show(cid, await stores_app.google.buy("cookcam_pro_monthly"))).status_code == 200
    stores_app.google.behaviour.failures, stores_app.google.behaviour.status = 100, 400
    await refresh(UUID(cid.id))  # no use, and no failure
    await assert_has(cid, "regular")
    dan = await stores_app.person("Dan")
    assert (
        await show(dan, await stores_app.apple.buy("com.cookcam.pro.monthly"))
    ).status_code == 200
    stores_app.apple.behaviour.failures, stores_app.apple.behaviour.status = 100, 503
    with pytest.raises(StoreUnavailable):
        await refresh(UUID(dan.id))
    await assert_has(dan, "regular")
