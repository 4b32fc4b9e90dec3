"""The events of a feature: `features/<feature>/events.py` declares them as a Blueprint does routes.

    def events(timers: Timers) -> Events:
        events = Events("timers")

        @events.on("start_timer", StartTimer)
        async def start(caller: Connection, data: StartTimer) -> EventResponse:
            timer = await timers.start(caller.identity, data.label, data.seconds)
            return EventResponse("timer_started", {"timer": timer})

        return events

A handler neither parses nor catches: `data` is valid, and an AppError becomes the error response.
It has the timeout of a request. Its return value is sent to the caller only: the response event, or
None if the acknowledgement is enough. Events for other users are sent through the hub.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from attrs import define, field, frozen
from msgspec import Struct

from cookcam.realtime.connection import Connection
from cookcam.realtime.server_events import ServerEvent
from cookcam.sliding_windows import Quota

D = TypeVar("D", bound=Struct)
Handler = Callable[[Connection, D], Awaitable["EventResponse | None"]]
ClosedHandler = Callable[[Connection, str], Awaitable[None]]
RecoveredHandler = Callable[[Connection, Collection[str]], Awaitable[None]]

RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "ping", "pong"})
"""Event names of the protocols."""


@frozen(eq=False)
class EventResponse(ServerEvent):
    """The event that a handler sends to its caller."""


@frozen
class Event:
    """An event that clients may send."""

    name: str
    schema: type[Struct]
    handler: Handler[Any]
    quota: Quota | None


@define
class Events:
    """The events of the feature `name`."""

    name: str
    events: dict[str, Event] = field(factory=dict[str, Event], init=False)
    closed_handlers: list[ClosedHandler] = field(factory=list[ClosedHandler], init=False)
    recovered_handlers: list[RecoveredHandler] = field(factory=list[RecoveredHandler], init=False)

    def on(
        self, event: str, schema: type[D], *, quota: Quota | None = None
    ) -> Callable[[Handler[D]], Handler[D]]:
        """Registers `async def handler(caller, data)` for an event.

        The payload is validated and converted to `schema`, a msgspec Struct: unknown keys are
        ignored; null for an optional field counts as absent. `quota` applies in addition to the
        quota of all events. Raises ValueError for a name that is taken or reserved.
        """

        def register(handler: Handler[D]) -> Handler[D]:
            if event in RESERVED or event in self.events:
                raise ValueError(f"{self.name}: the event {event} is taken")
            self.events[event] = Event(event, schema, handler, quota)
            return handler

        return register

    def on_disconnect(self, handler: ClosedHandler) -> ClosedHandler:
        """Registers `async def handler(connection, reason)`: after the last event of a connection.

        The connection has left the hub and receives no events; `connection.rooms` still names its
        rooms. Not called for connections that a shutdown cuts.
        """
        self.closed_handlers.append(handler)
        return handler

    def on_recovered(self, handler: RecoveredHandler) -> RecoveredHandler:
        """Registers `async def handler(connection, rooms)`: a client has recovered its connection
        after a drop, before which it was in these rooms.

        The handler joins the rooms of the feature to which the user still belongs. It is called
        before the first event of the connection; an exception rejects the connection.
        """
        self.recovered_handlers.append(handler)
        return handler
