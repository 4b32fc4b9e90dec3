"""Routes an event of a client to its handler: rate limits, schema, handler, result.

Used by both protocols, which send the result in their own way. Neither invalid input nor an
exception of a handler ends a connection; repeated rejections by the rate limits do.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, InternalError, NotFound, RateLimited, ValidationError
from cookcam.http.bodies import has_nul
from cookcam.http.errors import Failures, RecordRejection, as_app_error, socket_error
from cookcam.http.request_info import RequestInfo
from cookcam.http.validation import invalid_fields, to_model
from cookcam.observability.context import log_context
from cookcam.observability.metrics import OTHER, Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.observability.tracing import Kind, span
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import ClosedHandler, Event, EventResponse, Events, RecoveredHandler
from cookcam.realtime.frames import MAX_EVENT
from cookcam.realtime.limits import MAX_CONSECUTIVE_REJECTIONS
from cookcam.sliding_windows import Quota, QuotaCounters

PAYLOAD = "data"
"""The `field` of an error about the payload as a whole."""


@frozen
class EventResult:
    """The result of an event: a response, an error, or neither for success without a response."""

    response: EventResponse | None = None
    error: dict[str, Any] | None = None
    """The payload of an `error` event: `message`, `code`, `event`, and more."""
    only_if_requested: bool = False
    """Whether the error is sent only to callers who requested an acknowledgement."""
    closes_connection: bool = False


@define(eq=False)
class Router:
    """`event_quota` applies to every event. `handler_timeout` is in seconds."""

    event_quota: Quota
    handler_timeout: float
    metrics: Metrics
    counters: QuotaCounters
    _failures: Failures
    events: dict[str, Event] = field(factory=dict[str, Event], init=False)
    _closed_handlers: list[ClosedHandler] = field(factory=list[ClosedHandler], init=False)
    _recovered_handlers: list[RecoveredHandler] = field(factory=list[RecoveredHandler], init=False)

    @classmethod
    def of(
        cls,
        event_quota: Quota,
        *,
        handler_timeout: float,
        metrics: Metrics,
        counters: QuotaCounters,
        reporter: ErrorReporter,
        record_rejection: RecordRejection,
    ) -> Router:
        failures = Failures(reporter, metrics.count_error, record_rejection)
        return cls(event_quota, handler_timeout, metrics, counters, failures)

    def include(self, events: Events) -> None:
        """Adds the events of a feature. Raises ValueError for a name that is taken."""
        if taken := self.events.keys() & events.events.keys():
            raise ValueError(f"{events.name}: the events {sorted(taken)} are taken")
        self.events |= events.events
        self._closed_handlers += events.closed_handlers
        self._recovered_handlers += events.recovered_handlers

    async def handle(self, caller: Connection, name: str, data: object) -> EventResult:
        """Handles one event. Raises only Cancelled. `data` is parsed JSON, None if absent."""
        event = self.events.get(name)
        self.metrics.ws_messages_total.of(caller.protocol, name if event else OTHER).inc()
        rejections_before = caller.consecutive_rejections
        rejection = await self.check_limits(caller, name, event and event.quota)
        if rejection is not None:
            return rejection
        if event is None:
            error = _error_payload(NotFound("Unknown event"), name)
            return EventResult(error=error, only_if_requested=True)
        with log_context(userId=str(caller.user_id), socketId=caller.id, socketEvent=name):
            try:
                with span(f"event {name}", Kind.SERVER), trio.fail_after(self.handler_timeout):
                    response = await _call_handler(event, caller, data)
            except RateLimited as error:
                # A limit of the feature counts like the limits of the router.
                return _rate_limited(error, caller, name, rejections_before)
            except Exception as error:
                self._report(error, caller, name)
                return EventResult(error=_error_payload(error, name))
            return EventResult(response)

    async def check_limits(
        self, caller: Connection, name: str, quota: Quota | None = None
    ) -> EventResult | None:
        """Counts one event. None within the limits, else the error."""
        quotas = (self.event_quota,) if quota is None else (self.event_quota, quota)
        state = await self.counters.spend(str(caller.user_id), *quotas)
        if not state.allowed:
            error = RateLimited(retry_after=state.retry_after)
            self._report(error, caller, name if name in self.events else OTHER)
            return _rate_limited(error, caller, name, caller.consecutive_rejections)
        caller.consecutive_rejections = 0
        return None

    async def reject(self, caller: Connection, error: AppError, name: str = "") -> EventResult:
        """Counts a message that is not a valid event, and returns its error."""
        return await self.check_limits(caller, name) or EventResult(
            error=_error_payload(error, name)
        )

    async def recovered(self, connection: Connection, rooms: Collection[str]) -> bool:
        """Calls the features' handlers of a recovered connection, which was in these rooms. False
        when one of them failed. Raises only Cancelled."""
        with log_context(userId=str(connection.user_id), socketId=connection.id):
            for handler in self._recovered_handlers:
                try:
                    with trio.fail_after(self.handler_timeout):
                        await handler(connection, rooms)
                except Exception as error:
                    self._report(error, connection, "connect")
                    return False
        return True

    async def closed(self, connection: Connection, reason: str) -> None:
        """Calls the features' handlers of a connection that has ended. Raises only Cancelled."""
        with log_context(userId=str(connection.user_id), socketId=connection.id):
            for handler in self._closed_handlers:
                try:
                    with trio.fail_after(self.handler_timeout):
                        await handler(connection, reason)
                except Exception as error:
                    self._report(error, connection, "disconnect")

    def _report(self, error: Exception, caller: Connection, name: str) -> None:
        request_info = RequestInfo(
            caller.id, caller.address, caller.protocol, name, 0.0, name, str(caller.user_id)
        )
        self._failures.note(error, request_info, {})


def _rate_limited(error: RateLimited, caller: Connection, name: str, before: int) -> EventResult:
    """A rejection by a rate limit; `before` is the number of consecutive ones until now."""
    caller.consecutive_rejections = before + 1
    return EventResult(
        error=_error_payload(error, name),
        closes_connection=caller.consecutive_rejections >= MAX_CONSECUTIVE_REJECTIONS,
    )


async def _call_handler(event: Event, caller: Connection, data: object) -> EventResponse | None:
    response = await event.handler(caller, _payload(event, data))
    if response is not None:
        _ = response.body  # a response that cannot be encoded is an error of the handler
    return response


def _payload(event: Event, data: object) -> Any:
    """The payload converted to the event's schema. Raises ValidationError."""
    if data is None:
        data = {}  # JavaScript clients send null for undefined
    if not isinstance(data, dict):
        raise ValidationError.of(PAYLOAD, "must be an object")
    payload = cast("dict[str, Any]", data)
    if has_nul(payload):
        # PostgreSQL cannot store NUL in text. Input is rejected, never altered.
        raise ValidationError.of(PAYLOAD, "must not contain NUL characters")
    try:
        return to_model(payload, event.schema, strict=True)
    except ValidationError:
        fields = invalid_fields(payload, event.schema)
        raise ValidationError("Invalid payload", details={"fields": fields}) from None


def _error_payload(error: Exception, name: str) -> dict[str, Any]:
    """The payload of the `error` event."""
    app_error = as_app_error(error)
    body: dict[str, Any] = {**socket_error(app_error), **app_error.extra}
    if name:
        body["event"] = name[:MAX_EVENT]
    if type(app_error) is InternalError:
        body["message"] = "Internal error"
    elif isinstance(app_error, RateLimited):
        body["message"] = "Rate limit exceeded"
    elif isinstance(app_error, ValidationError) and (fields := _fields_of(app_error)):
        del body["details"]
        body["message"], body["field"] = "Invalid payload", _first_name(fields[0]["field"])
        body["fields"] = fields
    return body


def _fields_of(error: ValidationError) -> list[dict[str, str]]:
    """The invalid fields and the rules they break; empty if the error names no field."""
    details = error.details or {}
    if "field" in details:
        return [{key: details[key] for key in ("field", "rule") if key in details}]
    return details.get("fields", [])


def _first_name(path: str) -> str:
    """The payload's field in a path: `ingredients` of `ingredients[...].name`."""
    return path.partition(".")[0].partition("[")[0] or PAYLOAD
