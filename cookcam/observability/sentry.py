"""Sentry as an error reporter: opened with the services, flushed when they close.

No integration patches a library, and every report is built by `sentry_events`. The task of an error
only queues it: a separate thread reads its frames and builds the report, so that an error with a
thousand frames does not block the event loop. The SDK is imported only with a DSN, since that takes
longer than the rest of the start.
"""

from __future__ import annotations

import queue
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from contextvars import ContextVar, Token, copy_context
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import Any
from uuid import uuid4

import trio
from attrs import define, field, frozen

from cookcam.config.secret import Secret
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.redaction import REDACTED
from cookcam.observability.reports import (
    UNTRACED,
    ErrorReporter,
    NoReports,
    ReportedRequest,
    RequestTrace,
    reportable,
)
from cookcam.observability.sentry_events import (
    Event,
    exception_section,
    fingerprint,
    limit_size,
    request_section,
    scrub_breadcrumb,
    scrubbed,
)

FLUSH_SECONDS = 2.0
MAX_WAITING_REPORTS = 32
"""Maximum queued errors; more are dropped and counted, because each holds its frames."""
_TRACES = {"production": 0.1, "staging": 0.5}

log = get_logger(__name__)


def traces_sample_rate(environment: str) -> float:
    """The share of requests that are traced; errors are all reported."""
    return _TRACES.get(environment, 1.0)


@asynccontextmanager
async def open_sentry(
    *, dsn: Secret | None, environment: str, release: str, metrics: Metrics | None = None
) -> AsyncGenerator[ErrorReporter, None]:
    """An error reporter, open until the block ends.

    Without a DSN the reporter does nothing, which is logged. At the end of the block, queued
    reports have `FLUSH_SECONDS` to be sent, even if it is cancelled. `metrics` counts reports
    that were made, dropped or failed. Raises `sentry_sdk.utils.BadDsn`.
    """
    if dsn is None:
        log.warning("Sentry not configured - error tracking disabled")
        yield NoReports()
        return
    sdk = await trio.to_thread.run_sync(_import_sdk)
    rate = traces_sample_rate(environment)
    metrics = metrics or Metrics()
    sdk.init(dsn=dsn.reveal(), **_options(environment, release, rate, metrics))
    log.info("Sentry initialized", environment=environment, sampleRate=rate, release=release)
    client = sdk.get_client()
    thread = ReportThread(metrics)
    thread.start()
    try:
        yield SentryReporter(sdk, client, rate, thread)
    finally:

        def close() -> None:
            deadline = time.monotonic() + FLUSH_SECONDS
            thread.close(FLUSH_SECONDS)
            sdk.get_global_scope().set_client(None)
            client.close(max(0.0, deadline - time.monotonic()))

        with trio.move_on_after(FLUSH_SECONDS + 0.5, shield=True):
            await trio.to_thread.run_sync(close, abandon_on_cancel=True)


@define(eq=False)
class ReportThread:
    """Builds reports sequentially in a thread."""

    metrics: Metrics
    _jobs: queue.SimpleQueue[Callable[[], None] | None] = field(
        factory=queue.SimpleQueue[Callable[[], None] | None], init=False
    )
    _closed: bool = field(default=False, init=False)
    _dropped: int = field(default=0, init=False)
    _thread: threading.Thread = field(init=False)

    def start(self) -> None:
        # A daemon thread, so that a hanging report does not block the exit of the process.
        self._thread = threading.Thread(target=self._run, name="error reports", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        return not self._closed and self._jobs.qsize() < MAX_WAITING_REPORTS

    def submit(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)

    def drop(self) -> None:
        """Counts a report that is not built."""
        self._dropped += 1
        self.metrics.error_reports_total.of("dropped").inc()

    def close(self, seconds: float) -> None:
        """Builds queued reports, for at most so many seconds; drops the rest. Blocks."""
        self._jobs.put(None)
        self._thread.join(seconds)
        self._closed = True
        if self._thread.is_alive():
            for _ in range(self._jobs.qsize() - 1):  # the sentinel ends the thread
                self.drop()
        if self._dropped:
            log.warning("error reports dropped", count=self._dropped)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            if self._closed:
                return
            try:
                job()
                self.metrics.error_reports_total.of("made").inc()
            except Exception as error:
                self.metrics.error_reports_total.of("failed").inc()
                log.error("an error report could not be made", error=error)
            del job  # the exception holds the frames of the error


def _import_sdk() -> ModuleType:
    import sentry_sdk

    return sentry_sdk


def _options(environment: str, release: str, rate: float, metrics: Metrics) -> dict[str, Any]:
    from sentry_sdk.scrubber import EventScrubber

    count_redacted = metrics.redacted_values_total.of("report").inc

    def before_send(event: Event, hint: Mapping[str, Any]) -> Event | None:
        error = (hint.get("exc_info") or (None, None))[1]
        if error is not None and reportable(error) is None:
            return None
        event = limit_size(scrubbed(event, environment))
        count_redacted(repr(event).count(REDACTED))
        group = fingerprint(error) if error is not None else None
        return {**event, "fingerprint": group} if group is not None else event

    def before_send_transaction(event: Event, hint: Mapping[str, Any]) -> Event | None:
        return scrubbed(event, environment)

    def before_breadcrumb(crumb: Event, hint: Mapping[str, Any]) -> Event | None:
        return scrub_breadcrumb(crumb)

    return {
        "environment": environment,
        "release": release,
        "traces_sample_rate": rate,
        "before_send": before_send,
        "before_send_transaction": before_send_transaction,
        "before_breadcrumb": before_breadcrumb,
        # Integrations hook into libraries, the logging one would report each log line twice, and
        # the one for exit waits in an interpreter that is shutting down.
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "integrations": [],
        "event_scrubber": EventScrubber(denylist=[], pii_denylist=[]),  # `redaction` has more names
        "in_app_include": ["cookcam"],
        "auto_session_tracking": False,
        "enable_backpressure_handling": False,  # a thread that watches `is_healthy`
        "trace_propagation_targets": [],
        "server_name": "",  # by default the name of the machine
        "shutdown_timeout": FLUSH_SECONDS,
        # By default these come from environment variables.
        "debug": False,
        "spotlight": False,
    }


_isolation: ContextVar[_Isolation | None] = ContextVar("cookcam_report_isolation", default=None)


@define(eq=False)
class _Isolation:
    """The breadcrumbs of one request that is not traced.

    The scope is made with the first breadcrumb or error: to make one costs the SDK as much as
    serving a short request, and most requests have neither.
    """

    scope: Any = None
    _token: Token[_Isolation | None] | None = None

    def __enter__(self) -> RequestTrace:
        self._token = _isolation.set(self)
        return UNTRACED

    def __exit__(self, *_: object) -> None:
        assert self._token is not None  # noqa: S101
        _isolation.reset(self._token)


@frozen
class SentryReporter:
    """Reports through the client that `open_sentry` created."""

    sdk: Any
    client: Any
    sample_rate: float
    thread: ReportThread

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        fault = reportable(error)
        transport = self.client.transport  # None once the client is closed
        scope = self._scope()
        if fault is None or transport is None or _is_repeated(error, scope):
            return None
        # An outage causes an error for each request: while a queue is full, do not prepare more.
        if not self.thread.has_room or not transport.is_healthy():
            self.thread.drop()
            return None
        event_id = uuid4().hex
        event: Event = {"event_id": event_id, "timestamp": datetime.now(UTC), "level": "error"}
        # Copied, because later breadcrumbs of the scope do not belong to this error.
        make = partial(self._make, event, fault, request, scope.fork())
        self.thread.submit(partial(copy_context().run, make))
        return event_id

    def _make(
        self, event: Event, error: BaseException, request: ReportedRequest | None, isolation: Any
    ) -> None:
        """Builds the report and passes it to the transport. Runs in the thread of reports."""
        from sentry_sdk.scope import use_isolation_scope
        from sentry_sdk.utils import serialize_frame

        event["exception"] = exception_section(error, serialize_frame)
        with use_isolation_scope(isolation), self.sdk.new_scope() as scope:
            if request is not None:
                _describe(scope, request)
            scope.capture_event(event, {"exc_info": (type(error), error, error.__traceback__)})

    def add_breadcrumb(
        self, category: str, message: str, data: Mapping[str, object] | None = None
    ) -> None:
        self._scope().add_breadcrumb(category=category, message=message, data=dict(data or {}))

    def request(self, method: str, path: str) -> AbstractContextManager[RequestTrace]:
        # Sampled here because an unsampled trace costs the SDK as much as serving a short request.
        if random.random() >= self.sample_rate:  # noqa: S311
            return _Isolation()
        return self._traced(method)

    @contextmanager
    def _traced(self, method: str) -> Generator[RequestTrace, None, None]:
        with (
            self.sdk.isolation_scope(),
            self.sdk.start_transaction(
                op="http.server", name=method, source="route", sampled=True
            ) as transaction,
        ):
            transaction.sample_rate = self.sample_rate
            yield SentryTrace(transaction, method)

    def _scope(self) -> Any:
        """The scope that isolates the running request; the SDK's own outside of one."""
        current = self.sdk.get_isolation_scope()
        isolation = _isolation.get()
        if isolation is None:
            return current
        if isolation.scope is None:
            isolation.scope = current.fork()
        return isolation.scope


@frozen
class SentryTrace:
    transaction: Any
    method: str

    def finish(self, route: str | None, status: int) -> None:
        self.transaction.name = f"{self.method} {route or '<no route>'}"
        self.transaction.set_http_status(status)


def _is_repeated(error: BaseException, scope: object) -> bool:
    """Whether the error was reported in this scope before, since several layers may report it."""
    marks = vars(error)
    if marks.get("_reported_in") == id(scope):
        return True
    marks["_reported_in"] = id(scope)
    return False


def _describe(scope: Any, request: ReportedRequest) -> None:
    def add_section(event: Event, hint: Mapping[str, Any]) -> Event:
        return {**event, "request": request_section(request)}

    scope.add_event_processor(add_section)
    scope.set_transaction_name(f"{request.method} {request.path}", source="route")
    if request.request_id is not None:
        scope.set_tag("request_id", request.request_id)
    if request.user_id is not None:
        scope.set_user({"id": str(request.user_id)})
