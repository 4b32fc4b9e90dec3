"""Reconciliation: runs over all subscriptions, checks of one user, and the results of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog
import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, RateLimited, ServiceError
from cookcam.features.billing.reconciliation import rules
from cookcam.features.billing.reconciliation.corrections import Corrections, is_outage
from cookcam.features.billing.reconciliation.job import PAGE_SIZE, Job
from cookcam.features.billing.reconciliation.models import AlertRow, HealthRow, Run, RunMetrics
from cookcam.features.billing.reconciliation.sources.models import (
    ProviderSubscription,
    SubscriptionSource,
    UnknownSubscription,
)
from cookcam.features.billing.reconciliation.store import ReconciliationStore, RunProgress
from cookcam.features.billing.tiers.models import Subscription
from cookcam.observability.metrics import Metrics
from cookcam.sliding_windows import Bucket

MAX_RUN_AGE: Final = timedelta(hours=12)
"""An older interrupted run is closed instead of resumed: its first pages are outdated."""

MAX_NEWEST_RUNS: Final = 10


def log() -> structlog.typing.FilteringBoundLogger:
    return structlog.get_logger("cookcam.reconciliation")


@define(eq=False)
class Reconciliation:
    """Runs over all subscriptions. `request_run` starts one in the background task (`Schedule`)."""

    store: ReconciliationStore
    sources: Sequence[SubscriptionSource]
    corrections: Corrections
    now: Callable[[], datetime]
    metrics: Metrics
    page_size: int = field(default=PAGE_SIZE, kw_only=True)
    _requested: trio.Event = field(factory=trio.Event, init=False)

    async def run(self, *, unless_since: datetime | None = None) -> RunMetrics | None:
        """Runs reconciliation, or the rest of an interrupted run; returns its metrics.

        None while another process or task is running, or when a run began at or after
        `unless_since`. Raises an AppError when the database fails: the run can be resumed.
        """
        async with self.store.lock() as lock:
            if lock is None:
                log().info("reconciliation is running elsewhere")
                return None
            run = await self._resume() or await self._start(unless_since)
            if run is None:
                return None
            progress = RunProgress(run, self.store, lock)
            job = Job(progress, self.sources, self.store, self.corrections, self.page_size)
            metrics = await job.run()
        self._report(metrics)
        return metrics

    async def _resume(self) -> Run | None:
        run = await self.store.resume(uuid4())
        if run is None:
            return None
        if run.began_at < self.now() - MAX_RUN_AGE:
            self._report(await self.store.finish(run, worked_ms=0, cut_short=True))
            return None
        log().info("reconciliation resumed", run=str(run.id), step=run.step)
        return run

    async def _start(self, unless_since: datetime | None) -> Run | None:
        if unless_since is not None:
            last = await self.store.last_run()
            if last is not None and last.began_at >= unless_since:
                return None
        run = await self.store.start(uuid4())
        log().info("reconciliation started", run=str(run.id))
        return run

    async def request_run(self) -> bool:
        """Requests a run from the background task. False when one is running or requested."""
        running = await self.store.is_running()
        if running or self._requested.is_set():
            return False
        self._requested.set()
        return True

    async def wait_for_request(self) -> None:
        await self._requested.wait()

    @property
    def is_requested(self) -> bool:
        return self._requested.is_set()

    def clear_request(self) -> None:
        self._requested = trio.Event()

    async def newest_runs(self) -> list[RunMetrics]:
        return await self.store.metrics(MAX_NEWEST_RUNS)

    async def health(self) -> list[HealthRow]:
        return await self.store.health()

    async def alerts(self) -> list[AlertRow]:
        return await self.store.alerts()

    async def export_newest(self) -> RunMetrics | None:
        """Exports the newest run of any process to the metrics; returns it."""
        newest = await self.store.metrics(1)
        if not newest:
            return None
        self._export(newest[0])
        return newest[0]

    def _report(self, metrics: RunMetrics) -> None:
        counts = {
            "checked": metrics.total_checked,
            "expired": metrics.expired_count,
            "updated": metrics.updated_count,
            "errors": metrics.errors_count,
            "drift": metrics.drift_detected,
            "durationMs": metrics.duration_ms,
        }
        log().info("reconciliation done", **counts)
        alerts = metrics.alerts
        if "HIGH_ERROR_RATE" in alerts:
            log().error("reconciliation: too many errors", **counts)
        if "RUN_CUT_SHORT" in alerts:
            log().error("reconciliation was cut short", **counts)
        if "HIGH_DRIFT_RATE" in alerts:
            log().warning("reconciliation: much drift", **counts)
        if "SLOW_EXECUTION" in alerts:
            log().warning("reconciliation: slow", **counts)
        self._export(metrics)

    def _export(self, run: RunMetrics) -> None:
        metrics = self.metrics
        metrics.reconciliation_last_run_timestamp.set(run.reconciled_at.timestamp())
        metrics.reconciliation_last_run_checked.set(run.total_checked)
        metrics.reconciliation_last_run_drift.set(run.drift_detected)
        metrics.reconciliation_last_run_errors.set(run.errors_count)
        metrics.reconciliation_last_run_cut_short.set(run.cut_short)
        metrics.reconciliation_last_run_duration_seconds.set(run.duration_ms / 1000)


@frozen
class UserReconciliation:
    """Compares and corrects the subscriptions of one user, while the user waits."""

    store: ReconciliationStore
    sources: Sequence[SubscriptionSource]
    corrections: Corrections
    now: Callable[[], datetime]
    _limit: Bucket = field(factory=lambda: Bucket(limit=1, seconds=60))

    async def reconcile(self, user_id: UUID) -> None:
        """Reconciles the user's rows and no others; at most once a minute.

        Raises RateLimited; ServiceUnavailable or another AppError when a provider fails, after all
        other providers were read.
        """
        verdict = self._limit.hit(str(user_id), trio.current_time())
        if not verdict.allowed:
            raise RateLimited(retry_after=verdict.retry_after)
        began_at, failure = self.now(), None
        rows = await self.store.of_user(user_id)
        for source in self.sources:
            provider_rows = [row for row in rows if row.provider == source.provider]
            try:
                await self._reconcile_provider(source, user_id, provider_rows)
            except AppError as error:
                failure = error
        if failure is not None:
            raise failure
        await self._expire(user_id, began_at)

    async def _reconcile_provider(
        self, source: SubscriptionSource, user_id: UUID, rows: Sequence[Subscription]
    ) -> None:
        listed = {
            reported.provider_subscription_id: reported
            for reported in await source.list_of_user(user_id)
        }
        stored = await self.store.find_by_provider_id(source.provider, list(listed))
        stored |= {row.provider_subscription_id or "": row for row in rows}
        failure: AppError | None = None
        for subscription_id in {**listed, **stored}:
            row, reported = stored.get(subscription_id), listed.get(subscription_id)
            if not (_belongs_to(user_id, reported, row) and _needs_check(reported, row)):
                continue
            try:
                await self._check(source, reported, row)
            except AppError as error:
                if is_outage(error):
                    raise
                failure = error  # of this subscription; the others are checked all the same
        if failure is not None:
            raise failure

    async def _check(
        self,
        source: SubscriptionSource,
        listed: ProviderSubscription | None,
        row: Subscription | None,
    ) -> None:
        reported: ProviderSubscription | UnknownSubscription | None = listed
        if row is not None and (listed is None or rules.may_be_outdated(listed, row)):
            reported = await source.fetch(row)
        if reported is None:
            return
        is_live = isinstance(reported, ProviderSubscription) and reported.is_live
        if row is not None and row.provider_status not in rules.LIVE and not is_live:
            return  # ended on both sides
        if (
            row is None
            or isinstance(reported, UnknownSubscription)
            or not rules.agree(reported, row)
        ):
            await self.corrections.correct(reported, row)

    async def _expire(self, user_id: UUID, began_at: datetime) -> None:
        providers = {source.provider for source in self.sources} | {"manual"}
        for row in await self.store.of_user(user_id):
            renews = row.provider_status in rules.LIVE and row.provider_status != "past_due"
            has_ended = renews and row.current_period_end <= began_at
            if has_ended and row.provider in providers:
                await self.corrections.apply(rules.expire(row, began_at))


@frozen
class StoreRefresh:
    """Reconciles a user's app-store subscriptions before the user's status is returned.

    A repetition within a minute does nothing: changes arrive by the stores' notifications, so that
    a client that polls causes no requests to them.
    """

    of_stores: UserReconciliation

    async def __call__(self, user_id: UUID) -> None:
        """Raises ServiceUnavailable or another AppError when a store is unavailable.

        A malformed response of a store is logged; the stored status is returned then.
        """
        try:
            await self.of_stores.reconcile(user_id)
        except RateLimited:
            pass
        except ServiceError as error:
            log().warning("malformed response of a store", code=error.code)


def _belongs_to(
    user_id: UUID, reported: ProviderSubscription | None, row: Subscription | None
) -> bool:
    if row is not None:
        return row.user_id == user_id
    return reported is not None and reported.user_id == user_id


def _needs_check(reported: ProviderSubscription | None, row: Subscription | None) -> bool:
    """Like `rules.needs_check`, without its grace period for events: the user is waiting."""
    return (
        reported is None
        or reported.is_live
        or (row is not None and row.provider_status in rules.LIVE)
    )
