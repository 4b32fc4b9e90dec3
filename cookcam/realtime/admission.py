"""Admission of connections, and the begin and end of each, for both protocols.

    handshake ─▶ check_handshake ─▶ identify ─▶ connected … ─▶ disconnected

Tokens are checked by the same Authenticator as those of HTTP requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import trio
from attrs import define, evolve, field

from cookcam.errors import (
    AccessDenied,
    AppError,
    AuthenticationError,
    InternalError,
    MaintenanceMode,
    RateLimited,
    ServiceUnavailable,
    TokenExpired,
)
from cookcam.http.client_address import UNKNOWN, quota_key
from cookcam.http.errors import error_response
from cookcam.http.request_info import request_info_of
from cookcam.http.responses import now_text
from cookcam.http.routing import canonical
from cookcam.identity import AccountClosed, Authenticator, Identity
from cookcam.identity.console_cookie import CONSOLE_SOCKET
from cookcam.lifecycle.state import Lifecycle
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter
from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.engineio import Scope, Send
from cookcam.realtime.hub import Hub
from cookcam.realtime.router import Router
from cookcam.sliding_windows import Quota, QuotaCounters

MISSING = "Authentication token required"
INVALID = "Invalid or expired token"
UNDECIDED = "Authentication failed"
SHUTTING_DOWN = "Server is shutting down"
WELCOME = "Connected to CookCam real-time service"

NAME_TIMEOUT: Final = 2.0
"""Seconds to wait for the name in the profile; then the name in the token is used."""

NameOf = Callable[[UUID], Awaitable[str | None]]
"""Returns the name in a user's profile, None without a profile."""

GOING_AWAY = "server shutting down"
"""The close reason of a shutdown."""

UNDER_MAINTENANCE = "under maintenance"
"""The close reason in maintenance mode."""

SLOW_CONSUMER = "slow consumer"
"""The close reason of a connection whose outbox is full."""


@define(eq=False, slots=False)
class ConnectionDenied(Exception):
    """The client is not admitted. `message` is sent in `connect_error`, `error` over HTTP."""

    message: str
    error: AppError

    @property
    def code(self) -> CloseCode:
        """The close code after the WebSocket was accepted. A server error must not be reported as
        an invalid token, because the client would discard its token."""
        if isinstance(self.error, AccountClosed | AccessDenied):
            return CloseCode.FORBIDDEN
        if self.error.status < 500:
            return CloseCode.TOKEN
        if self.message == SHUTTING_DOWN or isinstance(self.error, MaintenanceMode):
            return CloseCode.GOING_AWAY
        return CloseCode.SERVER_FAULT


@define(eq=False)
class Admission:
    """`handshakes` is the quota of handshakes per client address, None for no limit. Other users
    see the name that `name_of` returns; without it, the name in the token."""

    hub: Hub
    router: Router
    authenticator: Authenticator
    lifecycle: Lifecycle
    counters: QuotaCounters
    handshakes: Quota | None
    metrics: Metrics
    reporter: ErrorReporter
    name_of: NameOf | None = None
    denies_address: Callable[[str], bool] = lambda _: False
    _log: Any = field(factory=lambda: get_logger("cookcam.realtime"), init=False)

    async def check_handshake(self, scope: Any) -> None:
        """The first step of a handshake. Raises ServiceUnavailable during a shutdown, AccessDenied
        for an address on the blocklist, MaintenanceMode, and RateLimited for too many handshakes of
        one address."""
        if self.lifecycle.draining:
            raise ServiceUnavailable(SHUTTING_DOWN)
        if self.denies_address(address_of(scope)):
            raise AccessDenied
        if not is_of_console(scope):
            self.lifecycle.mode.require_service()
        if self.handshakes is None:
            return
        state = await self.counters.spend(quota_key(address_of(scope)), self.handshakes)
        if not state.allowed:
            self.metrics.rate_limited_total.of(self.handshakes.name).inc()
            raise RateLimited(retry_after=state.retry_after)

    async def identify(
        self, token: object, protocol: str, *, in_maintenance: bool = False
    ) -> Identity:
        """The owner of a token; None or "" is a missing token. Raises ConnectionDenied, also when a
        shutdown, or maintenance unless `in_maintenance`, has begun meanwhile: a connection admitted
        now would miss its announcement."""
        try:
            identity = await self.with_profile_name(await self._identify(token))
            if self.lifecycle.draining:
                raise ConnectionDenied(SHUTTING_DOWN, ServiceUnavailable(SHUTTING_DOWN))
            try:
                if not in_maintenance:
                    self.lifecycle.mode.require_service()
            except MaintenanceMode as error:
                raise ConnectionDenied(error.message, error) from None
        except ConnectionDenied as denied:
            if denied.error.status < 500:
                self.metrics.ws_auth_failures_total.of(protocol).inc()
            error = denied.error
            self.metrics.count_error(error.code, error.status, f"{protocol} handshake")
            self._log.info("socket refused", protocol=protocol, reason=denied.message)
            raise
        return identity

    async def with_profile_name(self, identity: Identity) -> Identity:
        """The identity with the name in the user's profile, read once for each token.

        The default name of a profile, the local part of the email address, is not used. While
        profiles cannot be read, the identity keeps the name in the token.
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

    def connected(self, connection: Connection) -> None:
        """Adds the connection to the hub and sends `connected`. Never blocks, so that no event can
        arrive in between."""
        self.hub.add(connection)
        self.metrics.ws_connects_total.of(connection.protocol).inc()
        self.metrics.ws_connections.of(connection.protocol).inc()
        connection.send(
            "connected",
            {"message": WELCOME, "userId": connection.user_id, "timestamp": now_text()},
        )
        self._log_event("socket connected", connection)

    async def disconnected(self, connection: Connection, reason: str) -> None:
        """Removes an ended connection. Must be called once for each `connected`."""
        self.hub.remove(connection)
        self.metrics.ws_connections.of(connection.protocol).dec()
        if reason == SLOW_CONSUMER:
            self.metrics.ws_outbox_overflow_total.of(connection.protocol).inc()
        if reason not in (GOING_AWAY, UNDER_MAINTENANCE):  # these log one line for all
            self._log_event("socket disconnected", connection, reason=reason)
        await self.router.closed(connection, reason)

    def _log_event(self, message: str, connection: Connection, **fields: object) -> None:
        ids = {"userId": str(connection.user_id), "socketId": connection.id}
        self._log.info(message, protocol=connection.protocol, **ids, **fields)

    async def _identify(self, token: object) -> Identity:
        if token is None or token == "":
            raise ConnectionDenied(MISSING, AuthenticationError(error="Authentication required"))
        if not isinstance(token, str):
            raise ConnectionDenied(INVALID, TokenExpired(error="Token expired or invalid"))
        try:
            return await self.authenticator.identify(token)
        except TokenExpired as error:
            raise ConnectionDenied(INVALID, error) from None
        except AppError as error:
            raise ConnectionDenied(UNDECIDED, error) from None
        except Exception as error:
            self._log.error("a token could not be checked", exc_info=error)
            self.reporter.capture_exception(error)
            raise ConnectionDenied(UNDECIDED, InternalError()) from None


def is_of_console(scope: Any) -> bool:
    """Whether the operations console opens the socket; it is served in maintenance mode too."""
    return canonical(scope["path"]) == CONSOLE_SOCKET


def address_of(scope: Any) -> str:
    """The client's address from the proxy headers, else the address of the peer."""
    forwarded = request_info_of(scope).client_address
    client = scope.get("client")
    return forwarded or (client[0] if client else UNKNOWN)


async def send_rejection(scope: Scope, send: Send, error: AppError) -> None:
    """Sends HTTP's error response to a request, or to a WebSocket handshake before the upgrade."""
    response = error_response(error, request_info_of(scope))
    kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
    await send({"type": f"{kind}.start", "status": response.status, "headers": response.headers})
    await send({"type": f"{kind}.body", "body": response.body, "more_body": False})


def bearer_token(header: str | None) -> str | None:
    """The token of an `Authorization` header. The scheme must be Bearer."""
    scheme, _, token = (header or "").partition(" ")
    return (token.strip() or None) if scheme.lower() == "bearer" else None
