"""Sentry as an error reporter: opened with the services, flushed when they close.

Only what is asked for is collected: no integration patches a library, no request, header or
local variable is gathered beyond what `capture_exception` is given and what a traceback holds,
and everything passes `sentry_events.scrubbed`. The SDK is imported when there is an address to
report to, since that takes longer than the rest of the start. `spec/operations.md` §4.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from types import ModuleType
from typing import Any

import trio
from attrs import frozen

from cookcam.observability.logging import get_logger
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
    fingerprint,
    is_probe,
    kept_breadcrumb,
    request_section,
    scrubbed,
)
from cookcam.settings.readers import Secret

FLUSH_SECONDS = 2.0
_TRACES = {"production": 0.1, "staging": 0.5}

log = get_logger(__name__)


def traces_sample_rate(environment: str) -> float:
    """The share of requests that are traced; errors are all reported."""
    return _TRACES.get(environment, 1.0)


@asynccontextmanager
async def open_sentry(
    *, dsn: Secret | None, environment: str, release: str
) -> AsyncGenerator[ErrorReporter, None]:
    """An error reporter, open until the block ends.

    Without a DSN the reporter does nothing and a log line says so. On the way out events on their
    way are given `FLUSH_SECONDS`, cancelled or not. Raises `sentry_sdk.utils.BadDsn`.
    """
    if dsn is None:
        log.warning("Sentry not configured - error tracking disabled")
        yield NoReports()
        return
    sdk = await trio.to_thread.run_sync(_import_sdk)
    rate = traces_sample_rate(environment)
    sdk.init(dsn=dsn.reveal(), **_options(environment, release, rate))
    log.info("Sentry initialized", environment=environment, sampleRate=rate, release=release)
    client = sdk.get_client()
    try:
        yield SentryReporter(sdk, client, rate)
    finally:
        sdk.get_global_scope().set_client(None)
        with trio.move_on_after(FLUSH_SECONDS + 0.5, shield=True):
            await trio.to_thread.run_sync(client.close, FLUSH_SECONDS, abandon_on_cancel=True)


def _import_sdk() -> ModuleType:
    import sentry_sdk

    return sentry_sdk


def _options(environment: str, release: str, rate: float) -> dict[str, Any]:
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.scrubber import EventScrubber

    def before_send(event: Event, hint: Mapping[str, Any]) -> Event | None:
        error = (hint.get("exc_info") or (None, None))[1]
        if error is not None and reportable(error) is None:
            return None
        event = scrubbed(event, environment)
        group = fingerprint(error) if error is not None else None
        return {**event, "fingerprint": group} if group is not None else event

    def before_send_transaction(event: Event, hint: Mapping[str, Any]) -> Event | None:
        name = event.get("transaction") or ""
        return None if is_probe(name) else scrubbed(event, environment)

    def before_breadcrumb(crumb: Event, hint: Mapping[str, Any]) -> Event | None:
        return kept_breadcrumb(crumb)

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
        "integrations": [DedupeIntegration()],
        "event_scrubber": EventScrubber(denylist=[], pii_denylist=[]),  # ours knows more names
        "in_app_include": ["cookcam"],
        "auto_session_tracking": False,
        "enable_backpressure_handling": False,  # a thread that watches what `is_healthy` tells
        "trace_propagation_targets": [],
        "server_name": "",  # by default the name of the machine
        "shutdown_timeout": FLUSH_SECONDS,
        # By default these come from environment variables.
        "debug": False,
        "spotlight": False,
    }


@frozen
class SentryReporter:
    """Reports to the client that `open_sentry` made."""

    sdk: Any
    client: Any
    sample_rate: float

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        fault = reportable(error)
        # An outage makes one error per request: while the queue is full, do not prepare more.
        transport = self.client.transport  # None once the client is closed
        if fault is None or transport is None or not transport.is_healthy():
            return None
        with self.sdk.new_scope() as scope:
            if request is not None:
                _describe(scope, request)
            return scope.capture_exception(fault)

    def add_breadcrumb(
        self, category: str, message: str, data: Mapping[str, object] | None = None
    ) -> None:
        self.sdk.add_breadcrumb(category=category, message=message, data=dict(data or {}))

    def request(self, method: str, path: str) -> AbstractContextManager[RequestTrace]:
        return self._request(method, path)

    @contextmanager
    def _request(self, method: str, path: str) -> Generator[RequestTrace, None, None]:
        with self.sdk.isolation_scope():
            # The dice are rolled here because an unsampled trace costs the SDK as much as serving
            # a short request.
            if is_probe(path) or random.random() >= self.sample_rate:  # noqa: S311
                yield UNTRACED
                return
            with self.sdk.start_transaction(
                op="http.server", name=method, source="route", sampled=True
            ) as transaction:
                transaction.sample_rate = self.sample_rate
                yield SentryTrace(transaction, method)


@frozen
class SentryTrace:
    transaction: Any
    method: str

    def finish(self, route: str | None, status: int) -> None:
        self.transaction.name = f"{self.method} {route or '<no route>'}"
        self.transaction.set_http_status(status)


def _describe(scope: Any, request: ReportedRequest) -> None:
    def add_section(event: Event, hint: Mapping[str, Any]) -> Event:
        return {**event, "request": request_section(request)}

    scope.add_event_processor(add_section)
    scope.set_transaction_name(f"{request.method} {request.path}", source="route")
    if request.request_id is not None:
        scope.set_tag("request_id", request.request_id)
    if request.user_id is not None:
        scope.set_user({"id": str(request.user_id)})
