"""The metrics of the server, in Prometheus' text format (docs/observability.md).

A `Metrics` belongs to one server: it has its own registry, so two servers in one process count
apart. The number of label values from outside is limited: further ones count as `other`.
"""

from __future__ import annotations

import platform
import time
from bisect import bisect_left
from collections import Counter as Counter_
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from attrs import define, field, frozen
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics import MetricWrapperBase

M = TypeVar("M", bound=MetricWrapperBase)

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
OTHER = "other"
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

# 401, 403 and 429 are the signals of guessing and scraping; other statuses are everyday errors.
SECURITY_EVENTS = {401: "auth_failure", 403: "unauthorized_access", 429: "rate_limit"}

DATABASE_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
LOOP_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)

# The bounds of the service levels (0.2, 0.5, 1 s), and enough around them for a percentile;
# generation may take minutes.
DURATION_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)


@define(eq=False)
class Family(Generic[M]):
    """A metric with labels. `of("a", "b")` is its child, found again without the library's lock.

    After `bound` children every new combination is counted under `other`.
    """

    metric: M
    bound: int = 1000
    _children: dict[tuple[str, ...], M] = field(init=False, factory=dict[tuple[str, ...], M])

    def of(self, *labels: str) -> M:
        child = self._children.get(labels)
        return child if child is not None else self._adopt(labels)

    def _adopt(self, labels: tuple[str, ...]) -> M:
        if len(self._children) >= self.bound:
            labels = (OTHER,) * len(labels)
        child = self._children[labels] = self.metric.labels(*labels)
        return child


@define(eq=False)
class RequestTotals:
    """All requests since the start. `failed` are the 5xx responses; `seconds` is the sum of all
    durations; `durations` counts them by the bounds of DURATION_BUCKETS, the last those above."""

    requests: int = 0
    failed: int = 0
    seconds: float = 0.0
    durations: list[int] = field(factory=lambda: [0] * (len(DURATION_BUCKETS) + 1))

    def add(self, status: int, seconds: float) -> None:
        self.requests += 1
        self.failed += status >= 500
        self.seconds += seconds
        self.durations[bisect_left(DURATION_BUCKETS, seconds)] += 1


@define(eq=False)
class RecentCounts:
    """Counts of the last `steps` times `step` seconds."""

    step: int
    steps: int
    clock: Callable[[], float] = time.time
    _counts: dict[int, Counter_[str]] = field(factory=dict[int, Counter_[str]], init=False)

    def add(self, name: str) -> None:
        step = int(self.clock() // self.step)
        if step not in self._counts:
            self._forget(step)
            self._counts[step] = Counter_()
        self._counts[step][name] += 1

    def total(self) -> Mapping[str, int]:
        """The counts by name."""
        self._forget(int(self.clock() // self.step))
        return sum(self._counts.values(), Counter_[str]())

    def _forget(self, now: int) -> None:
        for step in [step for step in self._counts if step <= now - self.steps]:
            del self._counts[step]


@frozen
class ErrorOccurrence:
    """An error that a client got. `where` is method and route, or the event; `at` is Unix time."""

    code: str
    status: int
    where: str
    request_id: str
    at: float


def value_of(gauge: Gauge) -> float:
    """The current value of a gauge without labels."""
    [family] = gauge.collect()
    return family.samples[0].value


class Metrics:
    """Every metric of a server, as attributes; `render` gives them all."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        # Of the operating system, on Linux: memory, processor time, open files and their limit.
        ProcessCollector(registry=registry)

        def counter(name: str, about: str, *labels: str) -> Family[Counter]:
            return Family(Counter(name, about, labels, registry=registry))

        def gauge(name: str, about: str, *labels: str) -> Family[Gauge]:
            return Family(Gauge(name, about, labels, registry=registry))

        self._build = gauge("build_info", "Always 1", "release", "version", "python")
        request = ("route", "method", "status")
        self.http_requests_total = counter("http_requests_total", "Answered requests", *request)
        self.http_request_duration_seconds = Family(
            Histogram(
                "http_request_duration_seconds",
                "Seconds from the head of a request to the end of its answer",
                request,
                buckets=DURATION_BUCKETS,
                registry=registry,
            )
        )
        self.requests = RequestTotals()
        self._responses: dict[tuple[str | None, str, int], tuple[Counter, Histogram]] = {}
        """The children of the two above, found with one lookup for each response."""
        self.http_requests_in_flight = Gauge(
            "http_requests_in_flight", "Requests being served", registry=registry
        )
        self.connections_open = Gauge(
            "connections_open", "Open connections of any protocol", registry=registry
        )
        self.connection_errors_total = counter(
            "connection_errors_total", "Connections or requests ended by an error", "reason"
        )
        self.connections_refused_total = counter(
            "connections_refused_total", "Connections not taken", "reason"
        )
        self.http_requests_queued = Gauge(
            "http_requests_queued", "Requests that wait for admission", registry=registry
        )
        self.http_requests_refused_total = counter(
            "http_requests_refused_total", "Requests refused under overload", "queue"
        )
        self.ws_connections = gauge("ws_connections", "Open sockets", "protocol")
        self.ws_connects_total = counter("ws_connects_total", "Accepted sockets", "protocol")
        self.ws_auth_failures_total = counter(
            "ws_auth_failures_total", "Sockets refused for their token", "protocol"
        )
        self.ws_messages_total = counter(
            "ws_messages_total", "Messages received", "protocol", "event"
        )
        self.ws_outbox_overflow_total = counter(
            "ws_outbox_overflow_total", "Sockets closed because they did not read", "protocol"
        )
        self.db_pool_in_use = Gauge(
            "db_pool_in_use", "Database connections in use", registry=registry
        )
        self.db_pool_size = Gauge("db_pool_size", "Open database connections", registry=registry)
        self.db_pool_max = Gauge("db_pool_max", "Allowed database connections", registry=registry)
        self.db_wait_seconds = Histogram(
            "db_wait_seconds",
            "Seconds that a borrower queued for a connection; one that is idle is not queued for",
            buckets=DATABASE_BUCKETS,
            registry=registry,
        )
        self.db_query_duration_seconds = Family(
            Histogram(
                "db_query_duration_seconds",
                "Seconds of a read, of a write of one statement, of a whole transaction",
                ("operation",),
                buckets=DATABASE_BUCKETS,
                registry=registry,
            )
        )
        self.queue_entries = gauge(
            "queue_entries", "Stored work: waiting, overdue, or given up", "queue", "state"
        )
        self.bus_connected = Gauge(
            "bus_connected", "1 while events of other instances arrive", registry=registry
        )
        self.bus_messages_total = counter(
            "bus_messages_total", "Events from and to other instances", "direction"
        )
        self.ws_outbox_messages = Gauge(
            "ws_outbox_messages", "Events queued for sockets", registry=registry
        )
        self.errors_total = counter("errors_total", "Errors sent to clients", "code")
        self.last_hour = RecentCounts(60, 60)
        """Errors by code."""
        self.latest_errors: dict[str, ErrorOccurrence] = {}
        """The latest error of each code."""
        self.security_events_total = counter(
            "security_events_total", "Refused callers: 401, 403 and 429", "type"
        )
        self.security_event_rows_total = counter(
            "security_event_rows_total", "Security events: stored, lost or dropped", "outcome"
        )
        self.failed_sign_in_accounts = Gauge(
            "failed_sign_in_accounts",
            "Accounts with a failed sign-in at this instance in the last 15 minutes",
            registry=registry,
        )
        self.failed_sign_in_accounts_of_an_address = Gauge(
            "failed_sign_in_accounts_of_an_address",
            "The most such accounts that were tried from one address",
            registry=registry,
        )
        self.redacted_values_total = counter(
            "redacted_values_total", "Values taken out of logs and error reports", "where"
        )
        self.loop_lag_seconds = Histogram(
            "loop_lag_seconds",
            "Seconds by which the event loop ran a timer late",
            buckets=LOOP_LAG_BUCKETS,
            registry=registry,
        )
        self.startup_seconds = Gauge(
            "startup_seconds",
            "From the start of the process until it accepted connections; 0 until then",
            registry=registry,
        )
        self.previous_runs_total = counter(
            "previous_runs_total", "Ended runs of this instance by outcome", "outcome"
        )
        self.previous_run = gauge(
            "previous_run", "1 for the outcome of the run before this one", "outcome"
        )
        provider = ("provider", "outcome")
        self.provider_requests_total = counter(
            "provider_requests_total", "Calls of outside services, each attempt", *provider
        )
        self.provider_duration_seconds = Family(
            Histogram(
                "provider_duration_seconds",
                "Seconds of one attempt to call an outside service",
                ("provider",),
                buckets=DURATION_BUCKETS,
                registry=registry,
            )
        )
        self.provider_circuit_open = gauge(
            "provider_circuit_open", "1 while calls are rejected without an attempt", "provider"
        )
        self.cache_requests_total = counter(
            "cache_requests_total", "Values asked of the cache", "namespace", "result"
        )
        self.error_reports_total = counter(
            "error_reports_total", "Error reports that were made, dropped or failed", "outcome"
        )
        self.trace_spans_total = counter(
            "trace_spans_total", "Spans: stored by the collector, lost or dropped", "outcome"
        )
        self.rate_limits_shared = Gauge(
            "rate_limits_shared",
            "1 while rate limits are counted in Redis, for all instances together",
            registry=registry,
        )
        self.rate_limit_fallbacks_total = Counter(
            "rate_limit_fallbacks_total",
            "Uses of a rate limit that this instance counted for itself, without Redis",
            registry=registry,
        )
        self.rate_limited_total = counter("rate_limited_total", "Refused requests", "bucket")
        self.analytics_events_total = counter(
            "analytics_events_total", "Accepted analytics events, stored or lost", "outcome"
        )
        self.tasks_running = gauge("tasks_running", "Running background tasks", "task")
        self.task_restarts_total = counter("task_restarts_total", "Restarts after a crash", "task")
        self.drain_seconds = gauge("drain_seconds", "Seconds a phase of the drain took", "phase")
        self.drain_cut_total = counter("drain_cut_total", "Cut by the drain", "kind")
        self.stripe_webhooks_total = counter(
            "stripe_webhooks_total", "Events of Stripe", "type", "outcome"
        )
        self.stripe_webhook_duration_seconds = Family(
            Histogram(
                "stripe_webhook_duration_seconds",
                "Seconds from a verified event of Stripe to the end of the work on it",
                ("type",),
                buckets=DURATION_BUCKETS,
                registry=registry,
            )
        )
        contract = ("model", "contract")
        self.model_requests_total = counter(
            "model_requests_total", "Requests to the language model", *contract, "outcome"
        )
        self.model_request_seconds = Family(
            Histogram(
                "model_request_seconds",
                "Seconds from the question to the end of the model's answer",
                contract,
                buckets=DURATION_BUCKETS,
                registry=registry,
            )
        )
        self.model_tokens_total = counter(
            "model_tokens_total", "Tokens paid for", *contract, "kind"
        )
        self.iap_validations_total = counter(
            "iap_validations_total", "Purchases shown by clients", "platform", "outcome"
        )
        self.push_notifications_total = counter(
            "push_notifications_total", "Notifications by what became of them", "type", "status"
        )
        self.push_receipts_total = counter(
            "push_receipts_total", "Receipts of Expo by what became of the push", "verdict"
        )
        self.notification_repeats_total = counter(
            "notification_repeats_total",
            "Further attempts to deliver a notification, which may repeat an earlier one",
            "channel",
        )
        self.model_cost_microdollars_total = counter(
            "model_cost_microdollars_total", "Estimated cost of the model", *contract
        )
        self.generations_total = counter(
            "generations_total", "Requests for recipes of the model", "operation", "mode", "outcome"
        )
        self.charge_reversals_total = counter(
            "charge_reversals_total",
            "Charges of closed accounts and second purchases that were taken back",
            "provider",
            "reason",
            "outcome",
        )
        self.backup_last_completed_timestamp = Gauge(
            "backup_last_completed_timestamp",
            "When the newest complete backup began, Unix time; 0 without one",
            registry=registry,
        )
        self.backup_period_seconds = Gauge(
            "backup_period_seconds",
            "How often backups are made; 0 while disabled",
            registry=registry,
        )
        self.reconciliation_last_run_timestamp = Gauge(
            "reconciliation_last_run_timestamp", "When it ended, Unix time", registry=registry
        )
        self.reconciliation_last_run_checked = Gauge(
            "reconciliation_last_run_checked", "Subscriptions compared", registry=registry
        )
        self.reconciliation_last_run_drift = Gauge(
            "reconciliation_last_run_drift", "Subscriptions that differed", registry=registry
        )
        self.reconciliation_last_run_errors = Gauge(
            "reconciliation_last_run_errors", "Subscriptions not compared", registry=registry
        )
        self.reconciliation_last_run_cut_short = Gauge(
            "reconciliation_last_run_cut_short",
            "1 when it compared less than there is",
            registry=registry,
        )
        self.reconciliation_last_run_duration_seconds = Gauge(
            "reconciliation_last_run_duration_seconds", "Seconds of work", registry=registry
        )

    def describe_build(self, release: str, version: str) -> None:
        """Says what runs: the release, the version of the program and that of Python."""
        self._build.of(release, version, platform.python_version()).set(1)

    def record_response(self, route: str | None, method: str, status: int, seconds: float) -> None:
        """Count one response. `route` is the template, None where no route matched."""
        if method not in METHODS:
            method = OTHER
        counted = self._responses.get((route, method, status))
        if counted is None:
            labels = (route or "unmatched", method, str(status))
            counted = self._responses[route, method, status] = (
                self.http_requests_total.of(*labels),
                self.http_request_duration_seconds.of(*labels),
            )
        self.requests.add(status, seconds)
        total, duration = counted
        total.inc()
        duration.observe(seconds)

    def count_error(self, code: str, status: int, where: str = "", request_id: str = "") -> None:
        """Count an error of a request or of a socket event; see `ErrorOccurrence`."""
        self.errors_total.of(code).inc()
        self.last_hour.add(code)
        self.latest_errors[code] = ErrorOccurrence(code, status, where, request_id, time.time())
        if status in SECURITY_EVENTS:
            self.security_events_total.of(SECURITY_EVENTS[status]).inc()

    def watch_pool(self, in_use: Callable[[], float], size: Callable[[], float]) -> None:
        """Reads the pool's figures when the metrics are rendered, instead of on every query."""
        self.db_pool_in_use.set_function(in_use)
        self.db_pool_size.set_function(size)

    def render(self) -> bytes:
        """All metrics as text of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)
