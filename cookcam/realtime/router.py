"""From an event of a client to its handler, and from what comes of it to an answer.

The same for both protocols; how an answer travels is theirs. In order: rate limits, schema,
handler. Nothing a client sends and nothing a handler raises ends the connection, save for a
client that does not heed its limits. Source: `spec/realtime.md` §3.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

import trio
from attrs import define, field, frozen

from cookcam.errors import AppError, InternalError, NotFound, RateLimited, ValidationError
from cookcam.http.bodies import has_nul
from cookcam.http.errors import Failures, as_app_error, socket_error
from cookcam.http.request_info import RequestInfo
from cookcam.http.validation import invalid_fields, to_model
from cookcam.observability.context import log_context
from cookcam.observability.metrics import OTHER, Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import Answer, Event, Events, Parting, Returning
from cookcam.realtime.frames import MAX_EVENT
from cookcam.realtime.limits import MAX_EXCESSES, Limits, Quota

PAYLOAD = "data"
"""The `field` of an error about the payload as a whole."""


@frozen
class Outcome:
    """What the caller is told: an answer, an error, or neither where all went well silently."""

    answer: Answer | None = None
    error: dict[str, Any] | None = None
    """The payload of an `error` event: `message`, `code`, `event`, and more."""
    unsolicited: bool = True
    """False for an error that is told only to callers who asked for an answer."""
    final: bool = False
    """Whether the connection has to end after this."""


@define(eq=False)
class Router:
    """`every_event` is the quota of all events, `bound` the seconds a handler may take."""

    every_event: Quota
    bound: float
    metrics: Metrics
    limits: Limits
    _failures: Failures
    events: dict[str, Event] = field(factory=dict[str, Event], init=False)
    _partings: list[Parting] = field(factory=list[Parting], init=False)
    _returnings: list[Returning] = field(factory=list[Returning], init=False)

    @classmethod
    def of(
        cls,
        every_event: Quota,
        *,
        bound: float,
        metrics: Metrics,
        limits: Limits,
        reporter: ErrorReporter,
    ) -> Router:
        return cls(every_event, bound, metrics, limits, Failures(reporter))

    def include(self, events: Events) -> None:
        """Adds the events of a feature. Raises ValueError for a name that another one has."""
        if taken := self.events.keys() & events.events.keys():
            raise ValueError(f"{events.name}: the events {sorted(taken)} are taken")
        self.events |= events.events
        self._partings += events.partings
        self._returnings += events.returnings

    async def handle(self, caller: Connection, name: str, data: object) -> Outcome:
        """Handles one event; never raises but when cancelled. `data` is parsed JSON, None when
        there was none."""
        event = self.events.get(name)
        self.metrics.ws_messages_total.of(caller.protocol, name if event else OTHER).inc()
        excesses = caller.excesses
        refusal = self.refusal(caller, name, event and event.quota)
        if refusal is not None:
            return refusal
        if event is None:
            return Outcome(error=_error(NotFound("Unknown event"), name), unsolicited=False)
        with log_context(userId=str(caller.user_id), socketId=caller.id, socketEvent=name):
            try:
                with trio.fail_after(self.bound):
                    answer = await _answer(event, caller, data)
            except RateLimited as error:
                # A limit that only the feature can tell, and no less of one.
                return _excess(error, caller, name, excesses)
            except Exception as error:
                self._note(error, caller, name)
                return Outcome(error=_error(error, name))
            return Outcome(answer)

    def refusal(self, caller: Connection, name: str, quota: Quota | None = None) -> Outcome | None:
        """Counts one event against the limits; None when it is within them."""
        wait = self.limits.spend(self.every_event, caller.user_id)
        if not wait and quota is not None:
            wait = self.limits.spend(quota, caller.user_id)
        if wait:
            return _excess(RateLimited(retry_after=wait), caller, name, caller.excesses)
        caller.excesses = 0
        return None

    def reject(self, caller: Connection, error: AppError, name: str = "") -> Outcome:
        """What became of a message that was dropped before it was an event."""
        return self.refusal(caller, name) or Outcome(error=_error(error, name))

    async def returned(self, connection: Connection, rooms: Collection[str]) -> bool:
        """Tells the features that a connection is back; False when one of them failed. Never
        raises but when cancelled."""
        with log_context(userId=str(connection.user_id), socketId=connection.id):
            for returning in self._returnings:
                try:
                    with trio.fail_after(self.bound):
                        await returning(connection, rooms)
                except Exception as error:
                    self._note(error, connection, "connect")
                    return False
        return True

    async def parted(self, connection: Connection, reason: str) -> None:
        """Tells the features that a connection has ended. Never raises but when cancelled."""
        with log_context(userId=str(connection.user_id), socketId=connection.id):
            for parting in self._partings:
                try:
                    with trio.fail_after(self.bound):
                        await parting(connection, reason)
                except Exception as error:
                    self._note(error, connection, "disconnect")

    def _note(self, error: Exception, caller: Connection, name: str) -> None:
        facts = RequestInfo(
            caller.id, caller.address, caller.protocol, name, 0.0, name, str(caller.user_id)
        )
        self._failures.note(error, facts, {})


def _excess(error: RateLimited, caller: Connection, name: str, before: int) -> Outcome:
    """One refusal by a limit, after so many in a row."""
    caller.excesses = before + 1
    return Outcome(error=_error(error, name), final=caller.excesses >= MAX_EXCESSES)


async def _answer(event: Event, caller: Connection, data: object) -> Answer | None:
    answer = await event.handler(caller, _payload(event, data))
    if answer is not None:
        _ = answer.body  # what cannot be encoded is the handler's failure
    return answer


def _payload(event: Event, data: object) -> Any:
    """The payload as the event's schema. Raises ValidationError."""
    if data is None:
        data = {}  # JavaScript sends null for a payload that is undefined
    if not isinstance(data, dict):
        raise ValidationError.of(PAYLOAD, "must be an object")
    payload = cast("dict[str, Any]", data)
    if has_nul(payload):
        # PostgreSQL has no NUL in text. Nothing is cut out of what a client sends.
        raise ValidationError.of(PAYLOAD, "must not contain NUL characters")
    try:
        return to_model(payload, event.schema, strict=True)
    except ValidationError:
        fields = invalid_fields(payload, event.schema)
        raise ValidationError("Invalid payload", details={"fields": fields}) from None


def _error(error: Exception, name: str) -> dict[str, Any]:
    """The payload of the `error` event for a failure, whoever raised it."""
    known = as_app_error(error)
    body: dict[str, Any] = {**socket_error(known), **known.extra}
    if name:
        body["event"] = name[:MAX_EVENT]
    if type(known) is InternalError:
        body["message"] = "Internal error"
    elif isinstance(known, RateLimited):
        body["message"] = "Rate limit exceeded"
    elif isinstance(known, ValidationError) and (fields := _fields_of(known)):
        del body["details"]
        body["message"], body["field"] = "Invalid payload", _first_name(fields[0]["field"])
        body["fields"] = fields
    return body


def _fields_of(error: ValidationError) -> list[dict[str, str]]:
    """Which fields break which rule; none for an error that names no field."""
    details = error.details or {}
    if "field" in details:
        return [{key: details[key] for key in ("field", "rule") if key in details}]
    return details.get("fields", [])


def _first_name(place: str) -> str:
    """The field of the payload, of a place within it: `ingredients` of `ingredients[...].name`."""
    return place.partition(".")[0].partition("[")[0] or PAYLOAD
