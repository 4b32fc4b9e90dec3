"""Rows that cannot be read are reported and skipped; a run that was cut short counts as failed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from cookcam.errors import ServiceError
from cookcam.features.billing.reconciliation.models import RunMetrics
from cookcam.features.billing.reconciliation.sources.models import SubscriptionPage
from tests.features.billing.test_reconciliation import counted, counts, run
from tests.support.reconciliation import (
    DAY,
    FakeSource,
    ReconciliationSetup,
    open_reconciliation_setup,
)


@pytest.fixture
async def setup(fresh_database_url: str) -> AsyncIterator[ReconciliationSetup]:
    async with open_reconciliation_setup(fresh_database_url) as opened:
        yield opened


async def run_source(setup: ReconciliationSetup, source: Any) -> RunMetrics:
    metrics = await setup.second_instance(source).run()
    assert metrics is not None
    return metrics


class BrokenList:
    """Stripe's list, whose pages after the first fail, or repeat the first cursor."""

    provider, can_list = "stripe", True

    def __init__(self, source: Any, failure: Exception | None) -> None:
        self.source, self.failure = source, failure

    async def list_page(self, after: str | None) -> SubscriptionPage:
        if after is None:
            first = await self.source.list_page(None)
            return SubscriptionPage(first.items, "cursor")
        if self.failure is not None:
            raise self.failure
        return SubscriptionPage([], "cursor")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)


@pytest.mark.parametrize(
    "fields", [{"items": None}, {"status": None}, {"customer": 7}, {"created": "then"}]
)
async def test_malformed_row_of_the_list_is_an_error_and_the_page_is_compared(
    setup: ReconciliationSetup, fields: dict[str, Any]
):
    refs = await setup.sell(3)
    await setup.change(refs, "status = 'past_due'")
    setup.stripe.reshape(refs[1], **fields)
    with structlog.testing.capture_logs() as logs:
        metrics = await run(setup)
    assert await setup.corrected() == {refs[0], refs[2]}
    assert metrics.errors_count >= 1
    assert not metrics.cut_short
    reported = [line for line in logs if line["event"] == "object of a Stripe list cannot be read"]
    assert {line["object_id"] for line in reported} == {refs[1]}


async def test_price_without_an_amount_of_another_product_is_no_error(setup: ReconciliationSetup):
    (ours,) = await setup.sell(1)
    (other,) = setup.stripe.stock(1)
    items = deepcopy(setup.stripe.get("subscription", other)["items"])
    items["data"][0]["price"]["unit_amount"] = None
    setup.stripe.reshape(other, items=items)
    await setup.change([ours], "status = 'past_due'")
    metrics = await run(setup)
    assert await setup.corrected() == {ours}
    assert (metrics.errors_count, metrics.cut_short) == (0, False)


@pytest.mark.parametrize("failure", [ServiceError(), None])
async def test_list_that_ends_early_makes_the_run_a_failure(
    setup: ReconciliationSetup, failure: Exception | None
):
    await setup.sell(3)
    (source,) = setup.reconciliation.sources
    with structlog.testing.capture_logs() as logs:
        metrics = await run_source(setup, BrokenList(source, failure))
    assert counts(metrics) == counted(3)
    assert metrics.alerts == ["RUN_CUT_SHORT"]
    assert "reconciliation was cut short" in [line["event"] for line in logs]
    (alert,) = await setup.reconciliation.alerts()
    assert alert.alerts == ["RUN_CUT_SHORT"]
    assert setup.metrics.reconciliation_last_run_cut_short._value.get() == 1
    assert not (await run(setup)).cut_short
    assert setup.metrics.reconciliation_last_run_cut_short._value.get() == 0


async def test_run_closed_for_its_age_was_cut_short(setup: ReconciliationSetup):
    await setup.sql(
        "insert into public.reconciliation_runs (holder, began_at)"
        " values (gen_random_uuid(), now() - interval '13 hours')"
    )
    assert not (await run(setup)).cut_short
    assert sorted(row.cut_short for row in await setup.reconciliation.newest_runs()) == [
        False,
        True,
    ]


async def test_unreadable_stored_row_is_reported_and_the_others_are_checked(
    setup: ReconciliationSetup,
):
    fake = FakeSource("android")
    refs = [await setup.grant("android", ends_in=timedelta(hours=1)) for _ in range(3)]
    manual = [await setup.grant("manual", ends_in=-DAY) for _ in range(2)]
    for ref in refs:
        fake.report(ref)
    await setup.change([refs[1]], "current_period_end = 'infinity'")
    with structlog.testing.capture_logs() as logs:
        metrics = await run_source(setup, fake)
    assert sorted(fake.fetched) == sorted([refs[0], refs[2]])
    assert await setup.corrected() == {refs[0], refs[2], *manual}
    assert (metrics.errors_count, metrics.expired_count, metrics.cut_short) == (1, 2, False)
    assert "stored subscription cannot be read" in [line["event"] for line in logs]


async def test_unwritable_row_is_reported_and_the_others_are_corrected(setup: ReconciliationSetup):
    fake = FakeSource("ios")
    refs = [await setup.grant("ios") for _ in range(3)]
    for ref in refs:
        fake.report(ref)
    fake.report(refs[1], ends_in=-60 * DAY)  # it ends before it starts
    fake.responses[refs[2]] = KeyError("a bug")
    metrics = await run_source(setup, fake)
    assert await setup.corrected() == {refs[0]}
    assert metrics.errors_count == 2
