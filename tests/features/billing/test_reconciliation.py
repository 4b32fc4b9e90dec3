"""Reconciliation runs against a fake Stripe and fake app stores."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing
import trio

from cookcam.errors import RateLimited, ServiceError, ServiceUnavailable
from cookcam.features.billing.reconciliation.models import RunMetrics
from cookcam.features.billing.reconciliation.service import UserReconciliation
from cookcam.features.billing.reconciliation.sources.models import UnknownSubscription
from cookcam.features.billing.reconciliation.store import LeaseLost
from cookcam.integrations.stripe import StripeUnavailable
from cookcam.sandbox.stripe import Fault
from tests.support.reconciliation import (
    DAY,
    FakeSource,
    ReconciliationSetup,
    new_users,
    open_reconciliation_setup,
)


@pytest.fixture
async def setup(fresh_database_url: str) -> AsyncIterator[ReconciliationSetup]:
    async with open_reconciliation_setup(fresh_database_url) as opened:
        yield opened


async def run(setup: ReconciliationSetup) -> RunMetrics:
    metrics = await setup.reconciliation.run()
    assert metrics is not None
    return metrics


def counts(metrics: RunMetrics) -> dict[str, int]:
    return {
        "checked": metrics.total_checked,
        "drift": metrics.drift_detected,
        "updated": metrics.updated_count,
        "expired": metrics.expired_count,
        "errors": metrics.errors_count,
    }


def counted(checked: int, drift: int = 0, **others: int) -> dict[str, int]:
    return {
        "checked": checked, "drift": drift, "updated": drift, "expired": 0, "errors": 0, **others
    }  # fmt: skip


class TestDrift:
    async def test_equal_subscriptions_are_not_drift(self, setup: ReconciliationSetup):
        await setup.sell(3)
        assert counts(await run(setup)) == counted(3)
        assert await setup.corrected() == set()
        assert setup.hub.sent == []

    async def test_exactly_the_differences_are_corrected_and_recorded(
        self, setup: ReconciliationSetup
    ):
        """More than two pages of the list, in both directions."""
        refs = await setup.sell(250)
        lost = await setup.sell(3, stored=False)
        gone = await setup.grant("stripe")
        status, period, tier, renews = refs[3], refs[77], refs[120], refs[249]
        await setup.change([status], "status = 'past_due'")
        await setup.change(
            [period], "current_period_end = current_period_end - interval '1 second'"
        )
        await setup.change([tier], "tier_id = 3")
        await setup.change([renews], "cancel_at_period_end = true")
        before = len(setup.stripe.requests)

        metrics = await run(setup)

        assert counts(metrics) == counted(254, drift=8)
        assert await setup.corrected() == {status, period, tier, renews, gone, *lost}
        assert (await setup.row(status))["status"] == "active"
        assert (await setup.row(tier))["tier_id"] == 2
        assert (await setup.row(renews))["cancel_at_period_end"] is False
        assert (await setup.row(gone))["status"] == "cancelled"
        assert {(await setup.row(ref))["status"] for ref in lost} == {"active"}
        # A page for each hundred, and one request for the row that is not on the list.
        assert len(setup.stripe.requests) - before == 3 + 1
        (stored,) = await setup.sql("select * from public.reconciliation_metrics")
        assert stored["drift_detected"] == 8
        assert counts(await run(setup)) == counted(253)

    async def test_subscription_that_ended_at_stripe_is_ended(self, setup: ReconciliationSetup):
        (ref,) = await setup.sell(1)
        await setup.client.cancel_subscription_now(ref)
        assert counts(await run(setup)) == counted(1, drift=1)
        assert (await setup.row(ref))["status"] == "cancelled"
        assert [event for _, event, _ in setup.hub.sent] == ["subscription_updated"]
        assert counts(await run(setup)) == counted(0)

    async def test_subscription_that_is_live_at_stripe_is_reactivated(
        self, setup: ReconciliationSetup
    ):
        (ref,) = await setup.sell(1)
        await setup.change([ref], "status = 'expired'")
        assert counts(await run(setup)) == counted(1, drift=1)
        assert (await setup.row(ref))["status"] == "active"

    async def test_superseded_rows_are_compared(self, setup: ReconciliationSetup):
        (ref,) = await setup.sell(1)
        await setup.change([ref], "status = 'cancelled', superseded_status = 'active'")
        await setup.grant("manual", user=setup.users[0], tier_id=3, ends_in=30 * DAY)
        assert counts(await run(setup)) == counted(1)
        await setup.client.cancel_subscription_now(ref)
        assert counts(await run(setup)) == counted(1, drift=1)
        assert (await setup.row(ref))["superseded_status"] is None

    async def test_row_that_is_newer_than_the_list_is_fetched_again(
        self, setup: ReconciliationSetup
    ):
        """An event arrived during the request for the page, or clocks differ."""
        agrees, differs = await setup.sell(2)
        await setup.change([agrees, differs], "as_of = now() + interval '1 hour'")
        await setup.change([differs], "status = 'past_due'")
        assert counts(await run(setup)) == counted(2, drift=1)
        assert (await setup.row(differs))["status"] == "active"
        assert f"GET /v1/subscriptions/{differs}" in setup.stripe.requests

    async def test_new_subscription_without_a_row_is_not_drift(self, setup: ReconciliationSetup):
        await setup.sell(1, stored=False)
        setup.stripe._api.store.all("subscription")[0].created = setup.stripe.now - 60
        assert counts(await run(setup)) == counted(0)

    async def test_subscription_without_a_user_is_unresolved_drift(
        self, setup: ReconciliationSetup
    ):
        setup.stripe.stock(1)
        setup.stripe.stock(1, metadata=lambda _: {"user_id": str(uuid4())})
        with structlog.testing.capture_logs() as logs:
            metrics = await run(setup)
        assert counts(metrics) == counted(2, drift=2, updated=0)
        assert {line["why"] for line in logs if "why" in line} == {"User not found", "of no user"}
        assert await setup.sql("select id from public.user_subscriptions") == []

    async def test_profile_is_updated_when_the_tier_changed_by_time(
        self, setup: ReconciliationSetup
    ):
        """A grace period ends without an event."""
        user = (await new_users(setup.url, 1))[0]
        grace = {"status": "past_due", "tier_id": 3, "ends_in": -8 * DAY}
        await setup.grant("manual", user=user, **grace)
        await setup.sql("update public.users set is_creator = true where id = %(id)s", id=user)
        await run(setup)
        rows = await setup.sql("select is_creator from public.users where id = %(id)s", id=user)
        assert rows == [{"is_creator": False}]
        ((notified, _, event),) = setup.hub.sent
        assert (notified, event.tier, event.status) == (user, "free", "expired")


class TestExpiry:
    async def test_ended_period_expires_after_its_provider_was_read(
        self, setup: ReconciliationSetup
    ):
        second_instance, fake = setup.second_instance, FakeSource("ios")
        over = await setup.grant("ios", ends_in=-DAY)
        renewed = await setup.grant("ios", ends_in=-DAY)
        manual = await setup.grant("manual", ends_in=-DAY)
        superseded = await setup.grant(
            "ios", ends_in=-DAY, status="cancelled", superseded_status="active"
        )
        row = await setup.row(over)
        for ref, ends in ((over, row["current_period_end"]), (superseded, None)):
            end = ends or (await setup.row(ref))["current_period_end"]
            fake.report(ref, current_period_end=end, current_period_start=end - 30 * DAY)
        fake.report(renewed)
        metrics = await second_instance(fake).run()
        assert metrics is not None
        # One was renewed; three expired, of which the manual grant had not been counted as checked.
        assert counts(metrics) == counted(4, drift=1, expired=3)
        status = {ref: (await setup.row(ref))["status"] for ref in (over, renewed, manual)}
        assert status == {over: "expired", renewed: "active", manual: "expired"}
        assert (await setup.row(superseded))["superseded_status"] is None
        again = await second_instance(fake).run()
        assert again is not None
        assert counts(again) == counted(1)

    async def test_expiry_is_kept_until_stripe_reports_another_period(
        self, setup: ReconciliationSetup
    ):
        (ref,) = await setup.sell(1)
        sold = setup.stripe._api.store.all("subscription")[0]
        sold.period_end = setup.stripe.now - 60
        end = datetime.fromtimestamp(sold.period_end, UTC)
        await setup.change([ref], "current_period_end = %(end)s", end=end)
        assert counts(await run(setup)) == counted(1, expired=1)
        assert counts(await run(setup)) == counted(1)
        sold.period_end += 86_400
        assert counts(await run(setup)) == counted(1, drift=1)
        assert (await setup.row(ref))["status"] == "active"


class TestOutages:
    @pytest.mark.parametrize("kind", ["status", "garbage", "cut"])
    async def test_nothing_expires_during_an_outage(self, setup: ReconciliationSetup, kind: Any):
        refs = await setup.sell(3)
        await setup.change(refs, "current_period_end = now() - interval '1 hour'")
        setup.stripe.behaviour.fault = Fault(kind, status=503)
        metrics = await run(setup)
        assert counts(metrics) == counted(3, errors=3)
        assert metrics.alerts == ["HIGH_ERROR_RATE", "RUN_CUT_SHORT"]
        assert (await setup.row(refs[0]))["status"] == "active"
        assert len(setup.stripe.requests) == 3, "one request and its retries"
        setup.stripe.behaviour.fault = None
        assert counts(await run(setup)) == counted(3, drift=3)

    async def test_outage_without_subscriptions_is_an_error(self, setup: ReconciliationSetup):
        setup.stripe.behaviour.fault = Fault("status", status=500)
        metrics = await run(setup)
        assert counts(metrics) == counted(0, errors=1)
        assert metrics.alerts == ["HIGH_ERROR_RATE", "RUN_CUT_SHORT"]

    async def test_failed_request_is_retried(self, setup: ReconciliationSetup):
        await setup.sell(2)
        setup.stripe.behaviour.fault = Fault("status", times=2, status=500)
        assert counts(await run(setup)) == counted(2)

    async def test_outage_within_the_list_counts_the_rest_as_errors(
        self, setup: ReconciliationSetup
    ):
        refs = await setup.sell(250)
        await setup.change([refs[0], refs[249]], "status = 'past_due'")  # the oldest, the newest
        source, (real,) = _Interrupted(after=2), setup.reconciliation.sources
        source.real = real
        metrics = await setup.second_instance(source).run()
        assert metrics is not None
        assert counts(metrics) == counted(250, drift=1, errors=50)
        assert await setup.corrected() == {refs[249]}
        assert counts(await run(setup)) == counted(250, drift=1)

    async def test_single_failure_is_one_error(self, setup: ReconciliationSetup):
        fake = FakeSource("android")
        good, bad, gone = [await setup.grant("android") for _ in range(3)]
        fake.report(good)
        fake.responses |= {bad: ServiceError(), gone: UnknownSubscription()}
        metrics = await setup.second_instance(fake).run()
        assert metrics is not None
        assert counts(metrics) == counted(3, drift=2, errors=1)
        assert (await setup.row(bad))["status"] == "active"
        assert (await setup.row(gone))["status"] == "cancelled"

    async def test_unavailable_provider_is_not_read_for_every_row(self, setup: ReconciliationSetup):
        fake = FakeSource("ios")
        for _ in range(60):
            ref = await setup.grant("ios")
            fake.responses[ref] = ServiceUnavailable()
        metrics = await setup.second_instance(fake).run()
        assert metrics is not None
        assert counts(metrics) == counted(60, errors=60)
        assert 24 <= len(fake.fetched) < 40

    async def test_at_most_eight_concurrent_requests(self, setup: ReconciliationSetup):
        fake = _Crowded("ios")
        for _ in range(30):
            fake.report(await setup.grant("ios"))
        await setup.second_instance(fake).run()
        assert fake.maximum == 8

    async def test_provider_without_a_source_is_reported_and_left_out(
        self, setup: ReconciliationSetup
    ):
        ref = await setup.grant("ios", ends_in=-DAY)
        with structlog.testing.capture_logs() as logs:
            assert counts(await run(setup)) == counted(0)
        assert {"provider": "ios", "unchecked": 1}.items() <= next(
            line for line in logs if line["event"] == "no source for a provider"
        ).items()
        assert (await setup.row(ref))["status"] == "active"


class _Interrupted:
    """Stripe, unavailable after `after` pages."""

    provider, can_list = "stripe", True
    real: Any

    def __init__(self, after: int) -> None:
        self.after = after

    async def list_page(self, after: str | None) -> Any:
        if self.after == 0:
            raise StripeUnavailable
        self.after -= 1
        return await self.real.list_page(after)

    async def fetch(self, stored: Any) -> Any:
        raise StripeUnavailable


class _Crowded(FakeSource):
    """Counts concurrent requests."""

    concurrent = maximum = 0

    async def fetch(self, stored: Any) -> Any:
        self.concurrent += 1
        self.maximum = max(self.maximum, self.concurrent)
        await trio.sleep(0.01)
        self.concurrent -= 1
        return await super().fetch(stored)


class TestLock:
    async def test_two_instances_never_run_together(self, setup: ReconciliationSetup):
        fake = _Stopped("ios")
        fake.report(await setup.grant("ios"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.second_instance(fake).run)
            await fake.reached.wait()
            assert await setup.reconciliation.run() is None
            assert await setup.reconciliation.request_run() is False
            fake.resume.set()
        assert len(await setup.sql("select id from public.reconciliation_metrics")) == 1
        assert await setup.reconciliation.request_run() is True
        assert await setup.reconciliation.request_run() is False

    async def test_run_that_lost_its_lock_writes_nothing(self, setup: ReconciliationSetup):
        """Its connection broke, and another process resumed the run before it noticed."""
        fake = _Stopped("ios")
        ref = await setup.grant("ios")
        fake.report(ref)

        async def lose() -> None:
            with pytest.raises(LeaseLost):
                await setup.second_instance(fake).run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            await fake.reached.wait()
            await setup.reconciliation.store.resume(uuid4())
            fake.resume.set()
        assert await setup.corrected() == set()

    async def test_interrupted_run_resumes_after_its_last_page(self, setup: ReconciliationSetup):
        await setup.sell(250)
        await setup.change([setup.refs[i] for i in (1, 120, 240)], "status = 'past_due'")
        source, (real,) = _Breaking(), setup.reconciliation.sources
        source.real = real
        with pytest.raises(ExceptionGroup):
            await setup.second_instance(source).run()
        (left,) = await setup.sql("select * from public.reconciliation_runs")
        assert (left["step"], left["total_checked"]) == ("stripe list", 100)
        before = len(setup.stripe.requests)
        metrics = await run(setup)
        assert counts(metrics) == counted(250, drift=3)
        assert len(setup.stripe.requests) - before == 2, "the first page is not requested again"

    async def test_invalid_cursor_restarts_the_list(self, setup: ReconciliationSetup):
        await setup.sell(150)
        holder = await setup.reconciliation.store.start(uuid4())
        await setup.sql(
            "update public.reconciliation_runs set step = 'stripe list', cursor = 'sub_unknown'"
        )
        assert counts(await run(setup)) == counted(150)
        assert await setup.sql("select id from public.reconciliation_runs") == [{"id": holder.id}]

    async def test_old_interrupted_run_is_closed_and_another_starts(
        self, setup: ReconciliationSetup
    ):
        await setup.sell(2)
        await setup.reconciliation.store.start(uuid4())
        await setup.sql(
            "update public.reconciliation_runs set began_at = now() - interval '13 hours',"
            " total_checked = 7"
        )
        assert counts(await run(setup)) == counted(2)
        rows = await setup.sql(
            "select total_checked from public.reconciliation_metrics order by reconciled_at"
        )
        assert [row["total_checked"] for row in rows] == [7, 2]


class _Stopped(FakeSource):
    """Waits in `fetch` until `resume` is set."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.reached, self.resume = trio.Event(), trio.Event()

    async def fetch(self, stored: Any) -> Any:
        self.reached.set()
        await self.resume.wait()
        return await super().fetch(stored)


class _Breaking(_Interrupted):
    """Crashes on the second page, after the first was compared."""

    def __init__(self) -> None:
        super().__init__(after=1)

    async def list_page(self, after: str | None) -> Any:
        if after is not None:
            await trio.sleep(0.5)
            raise OSError("killed")
        return await self.real.list_page(after)


class _NoRows:
    """An empty store."""

    def __getattr__(self, name: str) -> Any:
        async def of_user(user_id: Any) -> list[Any]:
            return []

        return of_user


class TestOneUser:
    async def test_only_the_rows_of_the_user_are_corrected(self, setup: ReconciliationSetup):
        refs = await setup.sell(2)
        await setup.change(refs, "status = 'past_due'")
        await setup.of_users.reconcile(setup.users[0])
        assert await setup.corrected() == {refs[0]}
        assert (await setup.row(refs[1]))["status"] == "past_due"
        assert len(setup.stripe.requests) <= 2

    async def test_subscription_without_an_event_is_found(self, setup: ReconciliationSetup):
        """A second subscription of an existing customer."""
        (ref,) = await setup.sell(1)
        customer = setup.stripe.get("subscription", ref)["customer"]
        await setup.change([ref], "provider_customer_id = %(customer)s", customer=customer)
        (lost,) = setup.stripe.stock(1)
        store = setup.stripe._api.store
        store.get("subscription", lost).customer = customer
        store.collection("subscription")._of_customer[customer].append(lost)
        await setup.of_users.reconcile(setup.users[0])
        # Which of the two is effective depends on their ids; both must be stored.
        assert lost in await setup.corrected()

    async def test_user_is_reconciled_once_a_minute(self, autojump_clock: Any):
        of_users = UserReconciliation(_NoRows(), [], _NoRows(), lambda: datetime.now(UTC))
        ann, bob = uuid4(), uuid4()
        await of_users.reconcile(ann)
        await trio.sleep(20)
        with pytest.raises(RateLimited) as caught:
            await of_users.reconcile(ann)
        assert caught.value.retry_after == 40
        await of_users.reconcile(bob)
        await trio.sleep(41)
        await of_users.reconcile(ann)

    async def test_outage_is_raised_and_expires_nothing(self, setup: ReconciliationSetup):
        (ref,) = await setup.sell(1)
        await setup.change([ref], "current_period_end = now() - interval '1 hour'")
        setup.stripe.behaviour.fault = Fault("status", status=503)
        with pytest.raises(ServiceUnavailable):
            await setup.of_users.reconcile(setup.users[0])
        assert (await setup.row(ref))["status"] == "active"


class TestAlarms:
    @pytest.mark.parametrize(
        ("figures", "alerts"),
        [
            ((100, 10, 5, 300_000), []),
            ((100, 11, 5, 0), ["HIGH_ERROR_RATE"]),
            ((100, 0, 6, 0), ["HIGH_DRIFT_RATE"]),
            ((100, 11, 6, 300_001), ["HIGH_ERROR_RATE", "HIGH_DRIFT_RATE", "SLOW_EXECUTION"]),
            ((0, 1, 0, 0), ["HIGH_ERROR_RATE"]),
            ((0, 0, 0, 0), []),
        ],
    )
    async def test_thresholds_are_those_of_the_view(
        self, setup: ReconciliationSetup, figures: tuple[int, ...], alerts: list[str]
    ):
        checked, errors, drift, duration = figures
        await setup.sql(
            "insert into public.reconciliation_metrics"
            " (total_checked, errors_count, drift_detected, duration_ms)"
            " values (%(checked)s, %(errors)s, %(drift)s, %(duration)s)",
            checked=checked,
            errors=errors,
            drift=drift,
            duration=duration,
        )
        (row,) = await setup.reconciliation.newest_runs()
        assert row.alerts == alerts
        alert_rows = await setup.reconciliation.alerts()
        assert [alert.alerts for alert in alert_rows] == ([alerts] if alerts else [])

    async def test_thresholds_are_logged_and_the_run_is_in_the_metrics(
        self, setup: ReconciliationSetup
    ):
        refs = await setup.sell(10)
        await setup.change(refs[:1], "status = 'past_due'")
        with structlog.testing.capture_logs() as logs:
            await run(setup)
        warnings = [
            (line["event"], line["log_level"]) for line in logs if line["log_level"] != "info"
        ]
        assert warnings == [("reconciliation: much drift", "warning")]
        setup.stripe.behaviour.fault = Fault("status", status=503)
        with structlog.testing.capture_logs() as logs:
            await run(setup)
        assert ("reconciliation: too many errors", "error") in [
            (line["event"], line["log_level"]) for line in logs
        ]
        text = setup.metrics.render().decode()
        assert "reconciliation_last_run_errors 10.0" in text
        assert "reconciliation_last_run_checked 10.0" in text


class TestDefectsOfTheReference:
    async def test_defect_period_of_the_item_is_read(self, setup: ReconciliationSetup):
        """The reference server read no date and counted every Stripe row as an error."""
        refs = await setup.sell(5)
        assert "current_period_end" not in setup.stripe.get("subscription", refs[0])
        await setup.change(refs[:1], "current_period_end = current_period_end - interval '1 day'")
        assert counts(await run(setup)) == counted(5, drift=1)

    async def test_defect_a_renewed_subscription_is_not_expired_first(
        self, setup: ReconciliationSetup
    ):
        (ref,) = await setup.sell(1)
        await setup.change([ref], "current_period_end = now() - interval '1 hour'")
        assert counts(await run(setup)) == counted(1, drift=1)
        history = await setup.sql("select metadata from public.subscription_history")
        assert [line["metadata"]["action"] for line in history] == ["renewed"]

    async def test_defect_stores_are_read(self, setup: ReconciliationSetup):
        """The reference server compared their rows with old receipts."""
        apple, play = FakeSource("ios"), FakeSource("android")
        a, g = await setup.grant("ios"), await setup.grant("android")
        apple.report(a)
        play.report(g)
        await setup.second_instance(apple, play).run()
        assert (apple.fetched, play.fetched) == ([a], [g])

    async def test_defect_tiers_are_lowered_as_well(self, setup: ReconciliationSetup):
        (ref,) = await setup.sell(1)
        await setup.change([ref], "tier_id = 3")
        await setup.sql("update public.users set is_creator = true")
        await run(setup)
        rows = await setup.sql("select user_tier_id(id) as tier, is_creator from public.users")
        assert rows == [{"tier": 2, "is_creator": False}]

    async def test_defect_reads_do_not_stop_at_a_thousand_rows(self, setup: ReconciliationSetup):
        refs = await setup.sell(1_150)
        await setup.change([refs[0], refs[-1]], "status = 'past_due'")
        assert counts(await run(setup)) == counted(1_150, drift=2)

    async def test_defect_errors_with_nothing_checked_have_no_infinite_rate(
        self, setup: ReconciliationSetup
    ):
        setup.stripe.behaviour.fault = Fault("status", status=503)
        await run(setup)
        (alert,) = await setup.reconciliation.alerts()
        assert (alert.alert_level, alert.error_rate_percentage) == ("HIGH_ERROR_RATE", None)
