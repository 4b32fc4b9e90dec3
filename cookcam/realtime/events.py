"""Events of a feature: what `features/<feature>/events.py` is made with, as a Blueprint for routes.

    def events(timers: Timers) -> Events:
        events = Events("timers")

        @events.on("start_timer", StartTimer)
        async def start(caller: Connection, data: StartTimer) -> Answer:
            timer = await timers.start(caller.identity, data.label, data.seconds)
            return Answer("timer_started", {"timer": timer})

        return events

A handler parses nothing and catches nothing: `data` is valid, and an AppError it raises is the
answer. It has the bound of a request. What it returns goes to the caller only: its natural answer,
or None where the acknowledgement says it all. What others are to hear it sends through the hub.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, TypeVar

from attrs import define, field, frozen
from msgspec import Struct

from cookcam.realtime.announcement import Announcement
from cookcam.realtime.connection import Connection
from cookcam.realtime.limits import Quota

D = TypeVar("D", bound=Struct)
Handler = Callable[[Connection, D], Awaitable["Answer | None"]]
Parting = Callable[[Connection, str], Awaitable[None]]
Returning = Callable[[Connection, Collection[str]], Awaitable[None]]

RESERVED = frozenset({"connect", "connect_error", "disconnect", "disconnecting", "ping", "pong"})
"""Names that belong to the protocols."""


@frozen(eq=False)
class Answer(Announcement):
    """The event that answers a caller. `data` as in `Connection.send`."""


@frozen
class Event:
    """An event that clients may send."""

    name: str
    schema: type[Struct]
    handler: Handler[Any]
    quota: Quota | None


@define
class Events:
    """The events of one feature. `name` is the feature's."""

    name: str
    events: dict[str, Event] = field(factory=dict[str, Event], init=False)
    partings: list[Parting] = field(factory=list[Parting], init=False)
    returnings: list[Returning] = field(factory=list[Returning], init=False)

    def on(
        self, event: str, schema: type[D], *, quota: Quota | None = None
    ) -> Callable[[Handler[D]], Handler[D]]:
        """Registers `async def handler(caller, data)` for an event.

        `schema`, a msgspec Struct, is what the payload becomes before the handler
        sees it: `Annotated[str, msgspec.Meta(max_length=128)]` for bounds; unknown keys are
        ignored; null for an optional field is absent. `quota` is counted beside the one of all
        events. Raises ValueError for a name that is taken or reserved.
        """

        def register(handler: Handler[D]) -> Handler[D]:
            if event in RESERVED or event in self.events:
                raise ValueError(f"{self.name}: the event {event} is taken")
            self.events[event] = Event(event, schema, handler, quota)
            return handler

        return register

    def on_disconnect(self, handler: Parting) -> Parting:
        """Registers `async def handler(connection, reason)`: after the last event of a connection.

        It has left the hub by then and takes no events; `connection.rooms` names the rooms it was
        in, and the hub says whether its user is still there with another one. Not called for what
        a shutdown had to cut.
        """
        self.partings.append(handler)
        return handler

    def on_return(self, handler: Returning) -> Returning:
        """Registers `async def handler(connection, rooms)`: a client is back that was gone for a
        moment, as recovery allows, and that was in these rooms.

        The handler has it join those of the feature in which it still belongs. It comes before
        the first event of the connection; what it raises refuses the connection.
        """
        self.returnings.append(handler)
        return handler
