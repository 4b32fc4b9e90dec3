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
from cookcam.features.billing.reconciliation.sources import Listing
from tests.features.billing.test_reconciliation import counted, counts, run
from tests.support.reconciliation import DAY, Shelf, Shop, open_shop


@pytest.fixture
async def shop(fresh_database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(fresh_database_url) as opened:
        yield opened


async def run_source(shop: Shop, source: Any) -> RunMetrics:
    metrics = await shop.second(source).run()
    assert metrics is not None
    return metrics


class BrokenList:
    """The list of Stripe, whose pages after the first cannot be read, or are the first again."""

    provider, lists = "stripe", True

    def __init__(self, source: Any, failure: Exception | None) -> None:
        self.source, self.failure = source, failure

    async def page(self, after: str | None) -> Listing:
        if after is None:
            first = await self.source.page(None)
            return Listing(first.items, "cursor")
        if self.failure is not None:
            raise self.failure
        return Listing([], "cursor")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)


@pytest.mark.parametrize(
    "fields", [{"items": None}, {"status": None}, {"customer": 7}, {"created": "then"}]
)
async def test_an_unreadable_row_of_the_list_is_an_error_and_the_page_is_compared(
    shop: Shop, fields: dict[str, Any]
):
    refs = await shop.sell(3)
    await shop.change(refs, "status = 'past_due'")
    shop.stripe.reshape(refs[1], **fields)
    with structlog.testing.capture_logs() as logs:
        metrics = await run(shop)
    assert await shop.corrected() == {refs[0], refs[2]}
    assert metrics.errors_count >= 1
    assert not metrics.cut_short
    reported = [line for line in logs if line["event"] == "object of a Stripe list cannot be read"]
    assert {line["object_id"] for line in reported} == {refs[1]}


async def test_a_price_without_an_amount_of_another_product_is_no_error(shop: Shop):
    (ours,) = await shop.sell(1)
    (other,) = shop.stripe.stock(1)
    items = deepcopy(shop.stripe.get("subscription", other)["items"])
    items["data"][0]["price"]["unit_amount"] = None
    shop.stripe.reshape(other, items=items)
    await shop.change([ours], "status = 'past_due'")
    metrics = await run(shop)
    assert await shop.corrected() == {ours}
    assert (metrics.errors_count, metrics.cut_short) == (0, False)


@pytest.mark.parametrize("failure", [ServiceError(), None])
async def test_a_list_that_breaks_off_makes_the_run_a_failure(
    shop: Shop, failure: Exception | None
):
    await shop.sell(3)
    (source,) = shop.reconciliation.sources
    with structlog.testing.capture_logs() as logs:
        metrics = await run_source(shop, BrokenList(source, failure))
    assert counts(metrics) == counted(3)
    assert metrics.alerts == ["RUN_CUT_SHORT"]
    assert "reconciliation was cut short" in [line["event"] for line in logs]
    (alert,) = await shop.reconciliation.alerts()
    assert alert.alerts == ["RUN_CUT_SHORT"]
    assert shop.metrics.reconciliation_last_run_cut_short._value.get() == 1
    assert not (await run(shop)).cut_short
    assert shop.metrics.reconciliation_last_run_cut_short._value.get() == 0


async def test_a_run_given_up_for_its_age_was_cut_short(shop: Shop):
    await shop.sql(
        "insert into public.reconciliation_runs (holder, began_at)"
        " values (gen_random_uuid(), now() - interval '13 hours')"
    )
    assert not (await run(shop)).cut_short
    assert sorted(row.cut_short for row in await shop.reconciliation.newest()) == [False, True]


async def test_a_stored_row_that_cannot_be_read_is_reported_and_the_others_are_checked(
    shop: Shop,
):
    shelf = Shelf("android")
    refs = [await shop.grant("android", ends_in=timedelta(hours=1)) for _ in range(3)]
    manual = [await shop.grant("manual", ends_in=-DAY) for _ in range(2)]
    for ref in refs:
        shelf.tell(ref)
    await shop.change([refs[1]], "current_period_end = 'infinity'")
    with structlog.testing.capture_logs() as logs:
        metrics = await run_source(shop, shelf)
    assert sorted(shelf.asked) == sorted([refs[0], refs[2]])
    assert await shop.corrected() == {refs[0], refs[2], *manual}
    assert (metrics.errors_count, metrics.expired_count, metrics.cut_short) == (1, 2, False)
    assert "stored subscription cannot be read" in [line["event"] for line in logs]


async def test_a_row_that_cannot_be_written_is_reported_and_the_others_are_corrected(shop: Shop):
    shelf = Shelf("ios")
    refs = [await shop.grant("ios") for _ in range(3)]
    for ref in refs:
        shelf.tell(ref)
    shelf.tell(refs[1], ends_in=-60 * DAY)  # it ends before it starts
    shelf.responses[refs[2]] = KeyError("an error of ours")
    metrics = await run_source(shop, shelf)
    assert await shop.corrected() == {refs[0]}
    assert metrics.errors_count == 2
