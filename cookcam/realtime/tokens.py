"""Token expiry: a connection is closed one minute after its token has expired.

A minute before the expiry the client gets `token_expiring`, and can send a fresh token with
`authenticate`. Without one it is closed with 4401.

One task checks all connections once a second. That takes a millisecond for ten thousand, needs no
timer for each, and uses the wall clock, as tokens do, so it is right after a clock change or a
suspend.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from attrs import frozen

from cookcam.errors import AuthorizationError, TokenExpired
from cookcam.identity import Authenticator, Identity
from cookcam.lifecycle.background import run_periodically
from cookcam.realtime.admission import INVALID
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.events import EventResponse, Events
from cookcam.realtime.hub import Hub

WARNING = 60.0
"""Seconds between the warning and the expiry."""
GRACE = 60.0
"""Seconds between the expiry and the close."""
INTERVAL = 1.0


@frozen
class TokenWatch:
    """`clock` returns seconds since the epoch."""

    hub: Hub
    clock: Callable[[], float]

    async def run(self) -> None:
        """Checks all connections every INTERVAL seconds until cancelled. A connection whose check
        fails is closed."""
        await run_periodically(self._check_all, INTERVAL, spread=(1.0, 1.0))

    async def _check_all(self) -> None:
        now = self.clock()
        for connection in self.hub.connections:
            try:
                _check(connection, now)
            except Exception as error:
                self.hub.connection_failed(connection, "token_watch", error)


class Authenticate(msgspec.Struct):
    token: Annotated[str, msgspec.Meta(min_length=1)]


def token_events(
    authenticator: Authenticator, with_profile_name: Callable[[Identity], Awaitable[Identity]]
) -> Events:
    """The event `authenticate {token}`; its response is `authenticated {expiresAt}`."""
    events = Events("tokens")

    @events.on("authenticate", Authenticate)
    async def authenticate(caller: Connection, data: Authenticate) -> EventResponse:  # pyright: ignore[reportUnusedFunction] - registered
        try:
            identity = await authenticator.identify(data.token)
        except TokenExpired:
            raise TokenExpired(INVALID) from None
        if identity.user_id != caller.user_id:
            raise AuthorizationError("The token belongs to another user")
        caller.identity = await with_profile_name(identity)
        caller.expiry_announced = False
        return authenticated_response(caller)

    return events


def authenticated_response(caller: Connection) -> EventResponse:
    """The response to an accepted token."""
    return EventResponse("authenticated", {"expiresAt": caller.identity.expires_at})


def _check(connection: Connection, now: float) -> None:
    expires = connection.token_expires_at
    if now < expires - WARNING:
        return
    if now >= expires + GRACE:
        connection.close(CloseCode.TOKEN, "token expired")
    elif not connection.expiry_announced:
        connection.expiry_announced = True
        times = {"expiresAt": _as_time(expires), "closesAt": _as_time(expires + GRACE)}
        connection.send("token_expiring", times)


def _as_time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
