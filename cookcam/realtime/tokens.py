"""Tokens that end: a connection does not outlive its token by more than a grace period.

A minute before its token expires a client is told (`token_expiring`); it may hand in a fresh one
with `authenticate`; a minute after the expiry it is closed with 4401.
Source: `spec/realtime.md` §2.

One task looks at all connections once a second. That costs a millisecond for ten thousand, keeps
no timer for each, and goes by the wall clock, as tokens do, even when that is set or the machine
was asleep.
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
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import Answer, Events
from cookcam.realtime.hub import Hub

WARNING = 60.0
"""Seconds before the expiry."""
GRACE = 60.0
"""Seconds after it."""
INTERVAL = 1.0


@frozen
class TokenWatch:
    """`clock` gives seconds since the epoch."""

    hub: Hub
    clock: Callable[[], float]

    async def run(self) -> None:
        """Looks after all connections until cancelled."""
        await run_periodically(self._look, INTERVAL, spread=(1.0, 1.0))

    async def _look(self) -> None:
        now = self.clock()
        for connection in self.hub.connections:
            ends = connection.token_ends
            if now < ends - WARNING:
                continue
            if now >= ends + GRACE:
                connection.close(CloseCode.TOKEN, "token expired")
            elif not connection.warned:
                connection.warned = True
                connection.send(
                    "token_expiring",
                    {"expiresAt": _moment(ends), "closesAt": _moment(ends + GRACE)},
                )


class Authenticate(msgspec.Struct):
    token: Annotated[str, msgspec.Meta(min_length=1)]


def token_events(
    authenticator: Authenticator, named: Callable[[Identity], Awaitable[Identity]]
) -> Events:
    """`authenticate {token}`, answered `authenticated {expiresAt}`. `named` gives an identity the
    name that others see."""
    events = Events("tokens")

    @events.on("authenticate", Authenticate)
    async def authenticate(caller: Connection, data: Authenticate) -> Answer:  # pyright: ignore[reportUnusedFunction] - registered
        try:
            identity = await authenticator.identify(data.token)
        except TokenExpired:
            raise TokenExpired(INVALID) from None
        if identity.user_id != caller.user_id:
            raise AuthorizationError("The token belongs to another user")
        caller.identity = await named(identity)
        caller.warned = False
        return authenticated(caller)

    return events


def authenticated(caller: Connection) -> Answer:
    """What a client is told whose token was accepted."""
    return Answer("authenticated", {"expiresAt": caller.identity.expires_at})


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
