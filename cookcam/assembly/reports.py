"""Who tells metrics and error reports of work that nobody waits for."""

from __future__ import annotations

from attrs import frozen

from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter


@frozen
class TaskReports:
    """Tells metrics and error reports of background tasks that failed."""

    metrics: Metrics
    reporter: ErrorReporter

    def task_failed(self, name: str, error: Exception) -> None:
        self.metrics.task_restarts_total.of(name).inc()
        self.reporter.capture_exception(error)


@frozen
class WebhookReports:
    """Tells metrics and error reports of Stripe's events."""

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
