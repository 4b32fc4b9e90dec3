"""Observers that report background work and connections to metrics, log and error reports."""

from __future__ import annotations

from typing import Any

import structlog
import trio
from attrs import define, field, frozen

from cookcam.database.pool_stats import DatabaseTimings
from cookcam.lifecycle.groups import only_error
from cookcam.lifecycle.run_record import OUTCOMES, RunRecord
from cookcam.lifecycle.uptime import since_process_start
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.serving.observer import CloseReason

LOG_INTERVAL = 60.0
"""Minimum seconds between two log lines about the same shortage."""


def database_timings(metrics: Metrics) -> DatabaseTimings:
    """Records what the database takes; the labels are looked up once."""
    durations = metrics.db_query_duration_seconds
    return DatabaseTimings(
        wait=metrics.db_wait_seconds.observe,
        read=durations.of("read").observe,
        write=durations.of("write").observe,
        transaction=durations.of("transaction").observe,
    )


def describe_run(metrics: Metrics, record: RunRecord) -> None:
    """Records that the server accepts connections, and how its previous runs ended."""
    metrics.startup_seconds.set(since_process_start() or 0.0)
    if record.path is None:
        return
    for outcome in OUTCOMES:
        metrics.previous_runs_total.of(outcome).inc(record.ended[outcome])
        metrics.previous_run.of(outcome).set(outcome == record.previous)
    if record.report is not None:
        for phase, seconds in record.report["seconds"].items():
            metrics.drain_seconds.of(phase).set(seconds)
        for kind, count in record.report["cut"].items():
            metrics.drain_cut_total.of(kind).inc(count)


@frozen
class TaskReports:
    """Reports background tasks to metrics, and their failures to error reports."""

    metrics: Metrics
    reporter: ErrorReporter

    def task_running(self, name: str, *, running: bool) -> None:
        self.metrics.tasks_running.of(name).set(running)

    def task_failed(self, name: str, error: Exception) -> None:
        self.metrics.task_restarts_total.of(name).inc()
        self.reporter.capture_exception(error)


@frozen
class WebhookReports:
    """Reports Stripe events and charge reversals to metrics and error reports."""

    metrics: Metrics
    reporter: ErrorReporter

    def event_done(self, event_type: str, outcome: str, seconds: float) -> None:
        self.metrics.stripe_webhooks_total.of(event_type, outcome).inc()
        self.metrics.stripe_webhook_duration_seconds.of(event_type).observe(seconds)

    def event_given_up(self, event_type: str, error: Exception) -> None:
        self.metrics.stripe_webhooks_total.of(event_type, "given_up").inc()
        self.reporter.capture_exception(error)

    def charge_reversed(self, provider: str, reason: str, outcome: str) -> None:
        self.metrics.charge_reversals_total.of(provider, reason, outcome).inc()

    def closed_account_charged(self, error: Exception) -> None:
        self.reporter.capture_exception(error)


@define
class ConnectionReports:
    """Reports connections to metrics, log and error reports.

    An error of a peer is one log line, an internal error one line with its stack and one error
    report, a shortage at most one line a minute.
    """

    metrics: Metrics
    reporter: ErrorReporter
    _log: Any = field(factory=lambda: structlog.get_logger("cookcam.serving"), init=False)
    _silent_until: dict[str, float] = field(factory=dict[str, float], init=False)

    def connection_opened(self) -> None:
        self.metrics.connections_open.inc()

    def connection_closed(self) -> None:
        self.metrics.connections_open.dec()

    def peer_failed(self, reason: CloseReason, detail: str) -> None:
        self.metrics.connection_errors_total.of(reason).inc()
        self._log.info("connection rejected", reason=reason, detail=detail)

    def connection_failed(self, error: BaseException) -> None:
        error = only_error(error)
        self.metrics.connection_errors_total.of("internal").inc()
        self._log.error("connection failed", exc_info=error)
        self.reporter.capture_exception(error)

    def application_failed(self, error: BaseException) -> None:
        error = only_error(error)
        self._log.error("application failed to respond", exc_info=error)
        self.reporter.capture_exception(error)

    def address_limited(self, address: str) -> None:
        self.metrics.connections_refused_total.of("address_limit").inc()
        if self._may_log("address_limit"):
            self._log.warning("too many connections of one address", address=address)

    def accept_failed(self, error: OSError) -> None:
        self.metrics.connections_refused_total.of("accept_error").inc()
        if self._may_log("accept_error"):
            self._log.error("cannot accept connections", reason=error.strerror or str(error))

    def _may_log(self, topic: str) -> bool:
        now = trio.current_time()
        if now < self._silent_until.get(topic, 0.0):
            return False
        self._silent_until[topic] = now + LOG_INTERVAL
        return True
