"""Reconciliation as others use it: a run of everything, one user at once, and what runs told."""

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
from cookcam.features.billing.reconciliation.job import PAGE, Job
from cookcam.features.billing.reconciliation.models import AlertRow, HealthRow, Run, RunMetrics
from cookcam.features.billing.reconciliation.progress import Progress
from cookcam.features.billing.reconciliation.sources import Gone, Source, Told
from cookcam.features.billing.reconciliation.store import ReconciliationStore
from cookcam.features.billing.tiers.models import Subscription
from cookcam.http.rate_limit import Bucket
from cookcam.observability.metrics import Metrics

TOO_OLD: Final = timedelta(hours=12)
"""What a run saw that was interrupted longer ago says little about now: another begins."""

NEWEST: Final = 10


def log() -> structlog.typing.FilteringBoundLogger:
    return structlog.get_logger("cookcam.reconciliation")


@define(eq=False)
class Reconciliation:
    """Runs. `request` asks the background task (`schedule.Daily`) for one."""

    store: ReconciliationStore
    sources: Sequence[Source]
    corrections: Corrections
    now: Callable[[], datetime]
    metrics: Metrics
    page: int = field(default=PAGE, kw_only=True)
    _wanted: trio.Event = field(factory=trio.Event, init=False)

    async def run(self, *, unless_since: datetime | None = None) -> RunMetrics | None:
        """A whole run, or the rest of an interrupted one; its counts.

        None while another process or task is at it, or when a run has begun at or after
        `unless_since`. Raises an AppError when the database fails: the run can be taken up.
        """
        async with self.store.turn() as turn:
            if turn is None:
                log().info("reconciliation is running elsewhere")
                return None
            run = await self._taken_up() or await self._begun(unless_since)
            if run is None:
                return None
            progress = Progress(run, self.store, turn)
            job = Job(progress, self.sources, self.store, self.corrections, self.page)
            metrics = await job.work()
        self._tell(metrics)
        return metrics

    async def _taken_up(self) -> Run | None:
        run = await self.store.take(uuid4())
        if run is None:
            return None
        if run.began_at < self.now() - TOO_OLD:
            self._tell(await self.store.finish(run, worked_ms=0, cut_short=True))
            return None
        log().info("reconciliation goes on", run=str(run.id), step=run.step)
        return run

    async def _begun(self, unless_since: datetime | None) -> Run | None:
        if unless_since is not None:
            last = await self.store.last_run()
            if last is not None and last.began_at >= unless_since:
                return None
        run = await self.store.begin(uuid4())
        log().info("reconciliation begins", run=str(run.id))
        return run

    async def request(self) -> bool:
        """Asks for a run soon. False when one is going on or asked for already."""
        running = await self.store.is_running()
        if running or self._wanted.is_set():
            return False
        self._wanted.set()
        return True

    async def requested(self) -> None:
        """Returns when somebody has asked for a run."""
        await self._wanted.wait()

    @property
    def is_requested(self) -> bool:
        return self._wanted.is_set()

    def answered(self) -> None:
        """The run that was asked for is over."""
        self._wanted = trio.Event()

    async def newest(self) -> list[RunMetrics]:
        return await self.store.metrics(NEWEST)

    async def health(self) -> list[HealthRow]:
        return await self.store.health()

    async def alerts(self) -> list[AlertRow]:
        return await self.store.alerts()

    async def show_newest(self) -> RunMetrics | None:
        """Puts the newest run into the metrics, whichever process ran it."""
        newest = await self.store.metrics(1)
        if not newest:
            return None
        self._show(newest[0])
        return newest[0]

    def _tell(self, metrics: RunMetrics) -> None:
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
        self._show(metrics)

    def _show(self, metrics: RunMetrics) -> None:
        shown = self.metrics
        shown.reconciliation_last_run_timestamp.set(metrics.reconciled_at.timestamp())
        shown.reconciliation_last_run_checked.set(metrics.total_checked)
        shown.reconciliation_last_run_drift.set(metrics.drift_detected)
        shown.reconciliation_last_run_errors.set(metrics.errors_count)
        shown.reconciliation_last_run_cut_short.set(metrics.cut_short)
        shown.reconciliation_last_run_duration_seconds.set(metrics.duration_ms / 1000)


@frozen
class UserReconciliation:
    """One user's subscriptions, as their providers have them now."""

    store: ReconciliationStore
    sources: Sequence[Source]
    corrections: Corrections
    now: Callable[[], datetime]
    _turns: Bucket = field(factory=lambda: Bucket(limit=1, seconds=60))

    async def reconcile(self, user_id: UUID) -> None:
        """Touches the rows of this user and no others; at most once a minute.

        Raises RateLimited; ServiceUnavailable or another AppError when a provider does not answer,
        after all others were asked.
        """
        turn = self._turns.hit(str(user_id), trio.current_time())
        if not turn.allowed:
            raise RateLimited(retry_after=turn.retry_after)
        began_at, failure = self.now(), None
        rows = await self.store.of_user(user_id)
        for source in self.sources:
            own = [row for row in rows if row.provider == source.provider]
            try:
                await self._compare(source, user_id, own)
            except AppError as error:
                failure = error
        if failure is not None:
            raise failure
        await self._expire(user_id, began_at)

    async def _compare(self, source: Source, user_id: UUID, rows: Sequence[Subscription]) -> None:
        told = {one.provider_subscription_id: one for one in await source.of_user(user_id)}
        known = await self.store.known(source.provider, list(told))
        known |= {row.provider_subscription_id or "": row for row in rows}
        failure: AppError | None = None
        for subscription_id in {**told, **known}:
            row, one = known.get(subscription_id), told.get(subscription_id)
            if _is_of(user_id, one, row) and _matters(one, row):
                try:
                    await self._check(source, one, row)
                except AppError as error:
                    if is_outage(error):
                        raise
                    failure = error  # of this one; the others are looked at all the same
        if failure is not None:
            raise failure

    async def _check(self, source: Source, told: Told | None, row: Subscription | None) -> None:
        answer: Told | Gone | None = told
        if row is not None and (told is None or rules.is_outdated(told, row)):
            answer = await source.look(row)
        if answer is None:
            return
        if row is not None and row.provider_status not in rules.LIVE and not _goes_on(answer):
            return  # over on both sides
        if row is None or isinstance(answer, Gone) or not rules.agree(answer, row):
            await self.corrections.settle(answer, row)

    async def _expire(self, user_id: UUID, began_at: datetime) -> None:
        asked = {source.provider for source in self.sources} | {"manual"}
        for row in await self.store.of_user(user_id):
            goes_on = row.provider_status in rules.LIVE and row.provider_status != "past_due"
            over = goes_on and row.current_period_end <= began_at
            if over and row.provider in asked:
                await self.corrections.apply(rules.expired(row, began_at))


@frozen
class StoreRefresh:
    """A user's subscriptions in the app stores, for somebody who waits for the answer.

    Who asks again within a minute is told what is known: the stores' notifications come by
    themselves, and no store has to bear a client that polls.
    """

    of_stores: UserReconciliation

    async def __call__(self, user_id: UUID) -> None:
        """Raises ServiceUnavailable or another AppError when a store does not answer.

        An answer that is of no use changes nothing, and is no reason to tell nothing.
        """
        try:
            await self.of_stores.reconcile(user_id)
        except RateLimited:
            pass
        except ServiceError as error:
            log().warning("a store's answer is of no use", code=error.code)


def _goes_on(answer: Told | Gone) -> bool:
    return isinstance(answer, Told) and answer.goes_on


def _is_of(user_id: UUID, told: Told | None, row: Subscription | None) -> bool:
    return (row.user_id if row is not None else told.user_id if told else None) == user_id


def _matters(told: Told | None, row: Subscription | None) -> bool:
    """As `rules.is_of_interest`; a user who asks does not have to wait for an event."""
    return told is None or told.goes_on or (row is not None and row.provider_status in rules.LIVE)
