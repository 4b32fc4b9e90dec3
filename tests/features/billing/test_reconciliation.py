"""Runs against a stand-in for Stripe: what they find, correct, count, survive and never do."""

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
from cookcam.features.billing.reconciliation.sources import Gone
from cookcam.features.billing.reconciliation.store import LeaseLost
from cookcam.integrations.stripe import StripeUnavailable
from cookcam.sandbox.stripe import Fault
from tests.support.reconciliation import DAY, Shelf, Shop, new_users, open_shop


@pytest.fixture
async def shop(fresh_database_url: str) -> AsyncIterator[Shop]:
    async with open_shop(fresh_database_url) as opened:
        yield opened


async def run(shop: Shop) -> RunMetrics:
    metrics = await shop.reconciliation.run()
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
    async def test_none_is_found_where_there_is_none(self, shop: Shop):
        await shop.sell(3)
        assert counts(await run(shop)) == counted(3)
        assert await shop.corrected() == set()
        assert shop.hub.sent == []

    async def test_exactly_what_differs_is_corrected_and_recorded(self, shop: Shop):
        """More than two pages of the list, in both directions."""
        refs = await shop.sell(250)
        lost = await shop.sell(3, stored=False)
        gone = await shop.grant("stripe")
        status, period, tier, renews = refs[3], refs[77], refs[120], refs[249]
        await shop.change([status], "status = 'past_due'")
        await shop.change([period], "current_period_end = current_period_end - interval '1 second'")
        await shop.change([tier], "tier_id = 3")
        await shop.change([renews], "cancel_at_period_end = true")
        before = len(shop.stripe.requests)

        metrics = await run(shop)

        assert counts(metrics) == counted(254, drift=8)
        assert await shop.corrected() == {status, period, tier, renews, gone, *lost}
        assert (await shop.row(status))["status"] == "active"
        assert (await shop.row(tier))["tier_id"] == 2
        assert (await shop.row(renews))["cancel_at_period_end"] is False
        assert (await shop.row(gone))["status"] == "cancelled"
        assert {(await shop.row(ref))["status"] for ref in lost} == {"active"}
        # A page for each hundred, and the one that Stripe's list does not have by itself.
        assert len(shop.stripe.requests) - before == 3 + 1
        (kept,) = await shop.sql("select * from public.reconciliation_metrics")
        assert kept["drift_detected"] == 8
        assert counts(await run(shop)) == counted(253)

    async def test_what_ended_at_stripe_ends_here(self, shop: Shop):
        (ref,) = await shop.sell(1)
        await shop.client.cancel_subscription_now(ref)
        assert counts(await run(shop)) == counted(1, drift=1)
        assert (await shop.row(ref))["status"] == "cancelled"
        assert [event for _, event, _ in shop.hub.sent] == ["subscription_updated"]
        assert counts(await run(shop)) == counted(0)

    async def test_what_goes_on_at_stripe_goes_on_here(self, shop: Shop):
        (ref,) = await shop.sell(1)
        await shop.change([ref], "status = 'expired'")
        assert counts(await run(shop)) == counted(1, drift=1)
        assert (await shop.row(ref))["status"] == "active"

    async def test_superseded_rows_are_compared_too(self, shop: Shop):
        (ref,) = await shop.sell(1)
        await shop.change([ref], "status = 'cancelled', superseded_status = 'active'")
        await shop.grant("manual", user=shop.users[0], tier_id=3, ends_in=30 * DAY)
        assert counts(await run(shop)) == counted(1)
        await shop.client.cancel_subscription_now(ref)
        assert counts(await run(shop)) == counted(1, drift=1)
        assert (await shop.row(ref))["superseded_status"] is None

    async def test_a_row_that_is_newer_than_the_list_is_asked_for_again(self, shop: Shop):
        """An event came while the page was on its way; or clocks differ."""
        agrees, differs = await shop.sell(2)
        await shop.change([agrees, differs], "as_of = now() + interval '1 hour'")
        await shop.change([differs], "status = 'past_due'")
        assert counts(await run(shop)) == counted(2, drift=1)
        assert (await shop.row(differs))["status"] == "active"
        assert f"GET /v1/subscriptions/{differs}" in shop.stripe.requests

    async def test_a_new_subscription_may_still_be_on_its_way(self, shop: Shop):
        await shop.sell(1, stored=False)
        shop.stripe._api.store.all("subscription")[0].created = shop.stripe.now - 60
        assert counts(await run(shop)) == counted(0)

    async def test_what_is_nobodys_is_drift_and_no_end(self, shop: Shop):
        shop.stripe.stock(1)
        shop.stripe.stock(1, metadata=lambda _: {"user_id": str(uuid4())})
        with structlog.testing.capture_logs() as logs:
            metrics = await run(shop)
        assert counts(metrics) == counted(2, drift=2, updated=0)
        assert {line["why"] for line in logs if "why" in line} == {"User not found", "of nobody"}
        assert await shop.sql("select id from public.user_subscriptions") == []

    async def test_a_profile_follows_what_time_changed(self, shop: Shop):
        """A period of grace ends without an event."""
        user = (await new_users(shop.url, 1))[0]
        grace = {"status": "past_due", "tier_id": 3, "ends_in": -8 * DAY}
        await shop.grant("manual", user=user, **grace)
        await shop.sql("update public.users set is_creator = true where id = %(id)s", id=user)
        await run(shop)
        rows = await shop.sql("select is_creator from public.users where id = %(id)s", id=user)
        assert rows == [{"is_creator": False}]
        ((told_user, _, told),) = shop.hub.sent
        assert (told_user, told.tier, told.status) == (user, "free", "expired")


class TestExpiry:
    async def test_what_ran_out_ends_after_its_provider_was_asked(self, shop: Shop):
        play, shelf = shop.second, Shelf("ios")
        over = await shop.grant("ios", ends_in=-DAY)
        renewed = await shop.grant("ios", ends_in=-DAY)
        by_hand = await shop.grant("manual", ends_in=-DAY)
        superseded = await shop.grant(
            "ios", ends_in=-DAY, status="cancelled", superseded_status="active"
        )
        row = await shop.row(over)
        for ref, ends in ((over, row["current_period_end"]), (superseded, None)):
            end = ends or (await shop.row(ref))["current_period_end"]
            shelf.tell(ref, current_period_end=end, current_period_start=end - 30 * DAY)
        shelf.tell(renewed)
        metrics = await play(shelf).run()
        assert metrics is not None
        # One was renewed; three ran out, of which the one given by hand was not counted before.
        assert counts(metrics) == counted(4, drift=1, expired=3)
        status = {ref: (await shop.row(ref))["status"] for ref in (over, renewed, by_hand)}
        assert status == {over: "expired", renewed: "active", by_hand: "expired"}
        assert (await shop.row(superseded))["superseded_status"] is None
        again = await play(shelf).run()
        assert again is not None
        assert counts(again) == counted(1)

    async def test_an_expiry_is_not_taken_back_while_stripe_tells_no_other_period(self, shop: Shop):
        (ref,) = await shop.sell(1)
        known = shop.stripe._api.store.all("subscription")[0]
        known.period_end = shop.stripe.now - 60
        end = datetime.fromtimestamp(known.period_end, UTC)
        await shop.change([ref], "current_period_end = %(end)s", end=end)
        assert counts(await run(shop)) == counted(1, expired=1)
        assert counts(await run(shop)) == counted(1)
        known.period_end += 86_400
        assert counts(await run(shop)) == counted(1, drift=1)
        assert (await shop.row(ref))["status"] == "active"


class TestOutages:
    @pytest.mark.parametrize("kind", ["status", "garbage", "cut"])
    async def test_a_provider_that_is_away_expires_nobody(self, shop: Shop, kind: Any):
        refs = await shop.sell(3)
        await shop.change(refs, "current_period_end = now() - interval '1 hour'")
        shop.stripe.behaviour.fault = Fault(kind, status=503)
        metrics = await run(shop)
        assert counts(metrics) == counted(3, errors=3)
        assert metrics.alerts == ["HIGH_ERROR_RATE", "RUN_CUT_SHORT"]
        assert (await shop.row(refs[0]))["status"] == "active"
        assert len(shop.stripe.requests) == 3, "one request and its repeats"
        shop.stripe.behaviour.fault = None
        assert counts(await run(shop)) == counted(3, drift=3)

    async def test_an_outage_with_nothing_to_check_is_seen(self, shop: Shop):
        shop.stripe.behaviour.fault = Fault("status", status=500)
        metrics = await run(shop)
        assert counts(metrics) == counted(0, errors=1)
        assert metrics.alerts == ["HIGH_ERROR_RATE", "RUN_CUT_SHORT"]

    async def test_a_request_is_repeated(self, shop: Shop):
        await shop.sell(2)
        shop.stripe.behaviour.fault = Fault("status", times=2, status=500)
        assert counts(await run(shop)) == counted(2)

    async def test_an_outage_in_the_middle_of_the_list_counts_the_rest(self, shop: Shop):
        refs = await shop.sell(250)
        await shop.change([refs[0], refs[249]], "status = 'past_due'")  # the oldest, the newest
        source, (real,) = _Interrupted(after=2), shop.reconciliation.sources
        source.real = real
        metrics = await shop.second(source).run()
        assert metrics is not None
        assert counts(metrics) == counted(250, drift=1, errors=50)
        assert await shop.corrected() == {refs[249]}
        assert counts(await run(shop)) == counted(250, drift=1)

    async def test_a_single_failure_is_one_error(self, shop: Shop):
        shelf = Shelf("android")
        good, bad, gone = [await shop.grant("android") for _ in range(3)]
        shelf.tell(good)
        shelf.responses |= {bad: ServiceError(), gone: Gone()}
        metrics = await shop.second(shelf).run()
        assert metrics is not None
        assert counts(metrics) == counted(3, drift=2, errors=1)
        assert (await shop.row(bad))["status"] == "active"
        assert (await shop.row(gone))["status"] == "cancelled"

    async def test_a_provider_that_stays_away_is_not_asked_about_everyone(self, shop: Shop):
        shelf = Shelf("ios")
        for _ in range(60):
            ref = await shop.grant("ios")
            shelf.responses[ref] = ServiceUnavailable()
        metrics = await shop.second(shelf).run()
        assert metrics is not None
        assert counts(metrics) == counted(60, errors=60)
        assert 24 <= len(shelf.asked) < 40

    async def test_at_most_eight_requests_at_a_time(self, shop: Shop):
        shelf = _Crowded("ios")
        for _ in range(30):
            shelf.tell(await shop.grant("ios"))
        await shop.second(shelf).run()
        assert shelf.most == 8

    async def test_nothing_is_done_for_a_provider_that_is_not_configured(self, shop: Shop):
        ref = await shop.grant("ios", ends_in=-DAY)
        with structlog.testing.capture_logs() as logs:
            assert counts(await run(shop)) == counted(0)
        assert {"provider": "ios", "unchecked": 1}.items() <= next(
            line for line in logs if line["event"] == "no source for a provider"
        ).items()
        assert (await shop.row(ref))["status"] == "active"


class _Interrupted:
    """Stripe, until `after` pages were told."""

    provider, lists = "stripe", True
    real: Any

    def __init__(self, after: int) -> None:
        self.after = after

    async def page(self, after: str | None) -> Any:
        if self.after == 0:
            raise StripeUnavailable
        self.after -= 1
        return await self.real.page(after)

    async def look(self, known: Any) -> Any:
        raise StripeUnavailable


class _Crowded(Shelf):
    """Notes how many ask at a time."""

    here = most = 0

    async def look(self, known: Any) -> Any:
        self.here += 1
        self.most = max(self.most, self.here)
        await trio.sleep(0.01)
        self.here -= 1
        return await super().look(known)


class TestTurns:
    async def test_two_instances_never_run_together(self, shop: Shop):
        shelf = _Stopped("ios")
        shelf.tell(await shop.grant("ios"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shop.second(shelf).run)
            await shelf.reached.wait()
            assert await shop.reconciliation.run() is None
            assert await shop.reconciliation.request() is False
            shelf.go_on.set()
        assert len(await shop.sql("select id from public.reconciliation_metrics")) == 1
        assert await shop.reconciliation.request() is True
        assert await shop.reconciliation.request() is False

    async def test_who_lost_the_turn_writes_nothing_more(self, shop: Shop):
        """Its connection broke, so that another took over before it noticed."""
        shelf = _Stopped("ios")
        ref = await shop.grant("ios")
        shelf.tell(ref)

        async def lose() -> None:
            with pytest.raises(LeaseLost):
                await shop.second(shelf).run()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(lose)
            await shelf.reached.wait()
            await shop.reconciliation.store.take(uuid4())
            shelf.go_on.set()
        assert await shop.corrected() == set()

    async def test_an_interrupted_run_goes_on_after_its_last_page(self, shop: Shop):
        await shop.sell(250)
        await shop.change([shop.refs[i] for i in (1, 120, 240)], "status = 'past_due'")
        source, (real,) = _Breaking(), shop.reconciliation.sources
        source.real = real
        with pytest.raises(ExceptionGroup):
            await shop.second(source).run()
        (left,) = await shop.sql("select * from public.reconciliation_runs")
        assert (left["step"], left["total_checked"]) == ("stripe list", 100)
        before = len(shop.stripe.requests)
        metrics = await run(shop)
        assert counts(metrics) == counted(250, drift=3)
        assert len(shop.stripe.requests) - before == 2, "the first page is not asked for again"

    async def test_a_place_in_the_list_that_is_gone_begins_it_anew(self, shop: Shop):
        await shop.sell(150)
        holder = await shop.reconciliation.store.begin(uuid4())
        await shop.sql(
            "update public.reconciliation_runs set step = 'stripe list', cursor = 'sub_unknown'"
        )
        assert counts(await run(shop)) == counted(150)
        assert await shop.sql("select id from public.reconciliation_runs") == [{"id": holder.id}]

    async def test_a_run_of_long_ago_is_closed_and_another_begins(self, shop: Shop):
        await shop.sell(2)
        await shop.reconciliation.store.begin(uuid4())
        await shop.sql(
            "update public.reconciliation_runs set began_at = now() - interval '13 hours',"
            " total_checked = 7"
        )
        assert counts(await run(shop)) == counted(2)
        rows = await shop.sql(
            "select total_checked from public.reconciliation_metrics order by reconciled_at"
        )
        assert [row["total_checked"] for row in rows] == [7, 2]


class _Stopped(Shelf):
    """Waits in the middle of a run."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.reached, self.go_on = trio.Event(), trio.Event()

    async def look(self, known: Any) -> Any:
        self.reached.set()
        await self.go_on.wait()
        return await super().look(known)


class _Breaking(_Interrupted):
    """Dies on the second page, once the first has been compared."""

    def __init__(self) -> None:
        super().__init__(after=1)

    async def page(self, after: str | None) -> Any:
        if after is not None:
            await trio.sleep(0.5)
            raise OSError("killed")
        return await self.real.page(after)


class _NoRows:
    """A store of nothing."""

    def __getattr__(self, name: str) -> Any:
        async def of_user(user_id: Any) -> list[Any]:
            return []

        return of_user


class TestOneUser:
    async def test_only_the_rows_of_the_user_are_touched(self, shop: Shop):
        refs = await shop.sell(2)
        await shop.change(refs, "status = 'past_due'")
        await shop.of_users.reconcile(shop.users[0])
        assert await shop.corrected() == {refs[0]}
        assert (await shop.row(refs[1]))["status"] == "past_due"
        assert len(shop.stripe.requests) <= 2

    async def test_what_no_event_told_is_found_at_once(self, shop: Shop):
        """Bought once more as the customer that is known."""
        (ref,) = await shop.sell(1)
        customer = shop.stripe.get("subscription", ref)["customer"]
        await shop.change([ref], "provider_customer_id = %(customer)s", customer=customer)
        (lost,) = shop.stripe.stock(1)
        store = shop.stripe._api.store
        store.get("subscription", lost).customer = customer
        store.collection("subscription")._of_customer[customer].append(lost)
        await shop.of_users.reconcile(shop.users[0])
        # Which of two equal ones counts is by their ids; that it is known here is what matters.
        assert lost in await shop.corrected()

    async def test_once_a_minute(self, autojump_clock: Any):
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

    async def test_a_provider_that_is_away_is_told_and_expires_nothing(self, shop: Shop):
        (ref,) = await shop.sell(1)
        await shop.change([ref], "current_period_end = now() - interval '1 hour'")
        shop.stripe.behaviour.fault = Fault("status", status=503)
        with pytest.raises(ServiceUnavailable):
            await shop.of_users.reconcile(shop.users[0])
        assert (await shop.row(ref))["status"] == "active"


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
    async def test_the_thresholds_are_those_of_the_view(
        self, shop: Shop, figures: tuple[int, ...], alerts: list[str]
    ):
        checked, errors, drift, duration = figures
        await shop.sql(
            "insert into public.reconciliation_metrics"
            " (total_checked, errors_count, drift_detected, duration_ms)"
            " values (%(checked)s, %(errors)s, %(drift)s, %(duration)s)",
            checked=checked,
            errors=errors,
            drift=drift,
            duration=duration,
        )
        (row,) = await shop.reconciliation.newest()
        assert row.alerts == alerts
        shown = await shop.reconciliation.alerts()
        assert [alert.alerts for alert in shown] == ([alerts] if alerts else [])

    async def test_thresholds_are_logged_and_the_run_is_in_the_metrics(self, shop: Shop):
        refs = await shop.sell(10)
        await shop.change(refs[:1], "status = 'past_due'")
        with structlog.testing.capture_logs() as logs:
            await run(shop)
        loud = [(line["event"], line["log_level"]) for line in logs if line["log_level"] != "info"]
        assert loud == [("reconciliation: much drift", "warning")]
        shop.stripe.behaviour.fault = Fault("status", status=503)
        with structlog.testing.capture_logs() as logs:
            await run(shop)
        assert ("reconciliation: too many errors", "error") in [
            (line["event"], line["log_level"]) for line in logs
        ]
        text = shop.metrics.render().decode()
        assert "reconciliation_last_run_errors 10.0" in text
        assert "reconciliation_last_run_checked 10.0" in text


class TestDefectsOfTheReference:
    async def test_defect_period_of_the_item_is_read(self, shop: Shop):
        """There the date was invalid, so that every row of Stripe was an error."""
        refs = await shop.sell(5)
        assert "current_period_end" not in shop.stripe.get("subscription", refs[0])
        await shop.change(refs[:1], "current_period_end = current_period_end - interval '1 day'")
        assert counts(await run(shop)) == counted(5, drift=1)

    async def test_defect_a_renewed_subscription_is_not_expired_first(self, shop: Shop):
        (ref,) = await shop.sell(1)
        await shop.change([ref], "current_period_end = now() - interval '1 hour'")
        assert counts(await run(shop)) == counted(1, drift=1)
        history = await shop.sql("select metadata from public.subscription_history")
        assert [line["metadata"]["action"] for line in history] == ["renewed"]

    async def test_defect_stores_are_asked(self, shop: Shop):
        """There their rows were compared with old receipts."""
        apple, play = Shelf("ios"), Shelf("android")
        a, g = await shop.grant("ios"), await shop.grant("android")
        apple.tell(a)
        play.tell(g)
        await shop.second(apple, play).run()
        assert (apple.asked, play.asked) == ([a], [g])

    async def test_defect_tiers_are_lowered_as_well(self, shop: Shop):
        (ref,) = await shop.sell(1)
        await shop.change([ref], "tier_id = 3")
        await shop.sql("update public.users set is_creator = true")
        await run(shop)
        rows = await shop.sql("select user_tier_id(id) as tier, is_creator from public.users")
        assert rows == [{"tier": 2, "is_creator": False}]

    async def test_defect_reads_do_not_stop_at_a_thousand_rows(self, shop: Shop):
        refs = await shop.sell(1_150)
        await shop.change([refs[0], refs[-1]], "status = 'past_due'")
        assert counts(await run(shop)) == counted(1_150, drift=2)

    async def test_defect_errors_with_nothing_checked_have_no_infinite_rate(self, shop: Shop):
        shop.stripe.behaviour.fault = Fault("status", status=503)
        await run(shop)
        (alert,) = await shop.reconciliation.alerts()
        assert (alert.alert_level, alert.error_rate_percentage) == ("HIGH_ERROR_RATE", None)
