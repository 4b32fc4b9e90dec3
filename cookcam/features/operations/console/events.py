"""The event with which a console subscribes to its view; for administrators."""

from __future__ import annotations

from cookcam.errors import InsufficientPermissions
from cookcam.features.operations.console.feed import ConsoleFeed
from cookcam.features.operations.console.models import WatchConsole
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import EventResponse, Events


def events(feed: ConsoleFeed) -> Events:
    events = Events("console")

    @events.on("watch_console", WatchConsole)
    async def watch(caller: Connection, data: WatchConsole) -> EventResponse:
        if not caller.identity.is_admin:
            raise InsufficientPermissions("Administrators only")
        return EventResponse("console_updated", await feed.start(caller, data.view))

    return events
