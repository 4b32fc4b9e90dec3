"""Who may come in, and what happens to everybody who comes and goes, over either protocol.

    handshake ─▶ let_in ─▶ identify ─▶ welcome … ─▶ part

Tokens are checked by the same Authenticator as those of HTTP requests.
Source: `spec/realtime.md` §2 and §10.1.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final
from uuid import UUID

import trio
from attrs import define, evolve, field

from cookcam.errors import (
    AppError,
    AuthenticationError,
    InternalError,
    RateLimited,
    ServiceUnavailable,
    TokenExpired,
)
from cookcam.http.client_address import UNKNOWN, quota_key
from cookcam.http.request_info import request_info_of
from cookcam.http.responses import now_text
from cookcam.identity import AccountClosed, Authenticator, Identity
from cookcam.lifecycle.state import Lifecycle
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection
from cookcam.realtime.hub import Hub
from cookcam.realtime.limits import Limits, Quota
from cookcam.realtime.router import Router

MISSING = "Authentication token required"
INVALID = "Invalid or expired token"
UNDECIDED = "Authentication failed"
SHUTTING_DOWN = "Server is shutting down"
WELCOME = "Connected to CookCam real-time service"

NAME_TIMEOUT: Final = 2.0
"""Seconds after which somebody comes in by the name in the token."""

NameOf = Callable[[UUID], Awaitable[str | None]]
"""The name in the profile of a user; None where there is none."""

GOING_AWAY = "server shutting down"
"""The reason with which a connection ends because this process does."""

SLOW_CONSUMER = "slow consumer"
"""The reason with which a connection ends whose outbox is full."""


@define(eq=False, slots=False)
class Rejected(Exception):
    """No connection. `message` is the one of `connect_error`; `error` is the same for HTTP."""

    message: str
    error: AppError

    @property
    def code(self) -> CloseCode:
        """What closes a WebSocket that was accepted already: a client that did nothing wrong
        must not throw its token away."""
        if isinstance(self.error, AccountClosed):
            return CloseCode.FORBIDDEN
        if self.error.status < 500:
            return CloseCode.TOKEN
        return CloseCode.GOING_AWAY if self.message == SHUTTING_DOWN else CloseCode.SERVER_FAULT


@define(eq=False)
class Reception:
    """`handshakes` is the quota of handshakes per client address, None for no limit. Others see
    the name that `name_of` finds; without it, the one in the token."""

    hub: Hub
    router: Router
    authenticator: Authenticator
    lifecycle: Lifecycle
    limits: Limits
    handshakes: Quota | None
    metrics: Metrics
    reporter: ErrorReporter
    name_of: NameOf | None = None
    _log: Any = field(factory=lambda: get_logger("cookcam.realtime"), init=False)

    def let_in(self, scope: Any) -> None:
        """Before anything else of a handshake: raises ServiceUnavailable while the server shuts
        down, RateLimited for an address that comes too often."""
        if self.lifecycle.draining:
            raise ServiceUnavailable(SHUTTING_DOWN)
        if self.handshakes is None:
            return
        wait = self.limits.spend(self.handshakes, quota_key(address_of(scope)))
        if wait:
            self.metrics.rate_limited_total.of(self.handshakes.name).inc()
            raise RateLimited(retry_after=wait)

    async def identify(self, token: object, protocol: str) -> Identity:
        """The owner of a token, None standing for no token. Raises Rejected.

        A shutdown that began meanwhile rejects, too: whoever is welcomed gets its notice.
        """
        try:
            identity = await self.named(await self._identify(token))
            if self.lifecycle.draining:
                raise Rejected(SHUTTING_DOWN, ServiceUnavailable(SHUTTING_DOWN))
        except Rejected as rejected:
            if rejected.error.status < 500:
                self.metrics.ws_auth_failures_total.of(protocol).inc()
            self._log.info("socket refused", protocol=protocol, reason=rejected.message)
            raise
        return identity

    async def named(self, identity: Identity) -> Identity:
        """The identity with the name of the profile, which is asked for once for a connection.

        A profile without a chosen name begins with the local part of the email address; that is
        not shown. While profiles cannot be read, the name is that of the token.
        """
        if self.name_of is None:
            return identity
        name: str | None = None
        with trio.move_on_after(NAME_TIMEOUT):
            try:
                name = await self.name_of(identity.user_id)
            except AppError as error:
                self._log.warning("a name could not be read", code=error.code)
        address = (identity.email or "").partition("@")[0]
        if name is None or (name == address and name != identity.name):
            return identity
        return evolve(identity, name=name)

    def welcome(self, connection: Connection) -> None:
        """The connection begins: it is somebody's presence, and is told so. Never waits, so that
        it is in the hub the moment it may receive events."""
        self.hub.add(connection)
        self.metrics.ws_connects_total.of(connection.protocol).inc()
        self.metrics.ws_connections.of(connection.protocol).inc()
        said = {"message": WELCOME, "userId": connection.user_id, "timestamp": now_text()}
        connection.send("connected", said)
        self._say("socket connected", connection)

    async def take_back(self, connection: Connection, rooms: Collection[str]) -> bool:
        """The connection is one that was gone for a moment, and was in these rooms. False when it
        could not be found out where it still belongs."""
        return await self.router.returned(connection, rooms)

    async def part(self, connection: Connection, reason: str) -> None:
        """The connection has ended. To be called once for each that was welcomed."""
        self.hub.remove(connection)
        self.metrics.ws_connections.of(connection.protocol).dec()
        if reason == SLOW_CONSUMER:
            self.metrics.ws_outbox_overflow_total.of(connection.protocol).inc()
        if reason != GOING_AWAY:  # those are counted in one line
            self._say("socket disconnected", connection, reason=reason)
        await self.router.parted(connection, reason)

    def _say(self, what: str, connection: Connection, **more: object) -> None:
        ids = {"userId": str(connection.user_id), "socketId": connection.id}
        self._log.info(what, protocol=connection.protocol, **ids, **more)

    async def _identify(self, token: object) -> Identity:
        if token is None or token == "":
            raise Rejected(MISSING, AuthenticationError(error="Authentication required"))
        if not isinstance(token, str):
            raise Rejected(INVALID, TokenExpired(error="Token expired or invalid"))
        try:
            return await self.authenticator.identify(token)
        except TokenExpired as error:
            raise Rejected(INVALID, error) from None
        except AppError as error:
            raise Rejected(UNDECIDED, error) from None
        except Exception as error:
            self._log.error("a token could not be checked", exc_info=error)
            self.reporter.capture_exception(error)
            raise Rejected(UNDECIDED, InternalError()) from None


def address_of(scope: Any) -> str:
    """The client's address as the edge found it, else that of the peer."""
    known = request_info_of(scope).client_address
    client = scope.get("client")
    return known or (client[0] if client else UNKNOWN)


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization` header. The scheme must be Bearer."""
    scheme, _, token = (header or "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None
