"""The Socket.IO gateway: admits clients, routes their events, and closes them at shutdown."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any, ClassVar

import trio
from attrs import define, field

from cookcam.config.sections import RealtimeConfig
from cookcam.errors import (
    AccessDenied,
    AppError,
    AuthorizationError,
    BadRequest,
    InvalidJson,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
)
from cookcam.http.errors import error_body
from cookcam.http.request_info import request_info_of
from cookcam.observability.logging import get_logger
from cookcam.realtime.admission import (
    GOING_AWAY,
    UNDECIDED,
    Admission,
    ConnectionDenied,
    address_of,
    bearer_token,
)
from cookcam.realtime.connection import NO_AUTO_RECONNECT, CloseCode, Connection
from cookcam.realtime.engineio import (
    CloseCounts,
    DirectExtension,
    Rejected,
    Request,
    Session,
    State,
)
from cookcam.realtime.hub import user_room
from cookcam.realtime.router import EventResult
from cookcam.realtime.server_events import ServerEvent
from cookcam.realtime.socketio import (
    NO_ACK,
    ConnectionRejected,
    PacketOverLimit,
    RecoveryOptions,
    RejectedJson,
    Socket,
    SocketServer,
)

PROTOCOL = "socket.io"
HANDLERS_TIMEOUT = 0.5
"""Seconds to wait at shutdown for the handlers of polling clients."""
GOODBYE_TIMEOUT = 0.5
"""Seconds that a polling client has to respond to the goodbye, and that a session without a
connected socket has to end: such a client was rejected, or has only opened a session."""
_ERRORS: Mapping[int, type[AppError]] = {
    400: BadRequest,
    403: AuthorizationError,
    429: RateLimited,
    503: ServiceUnavailable,
}
"""The HTTP API's error for each status with which the protocol layer rejects a handshake."""
READ_LIMIT = 1024 * 1024
"""Bytes of a message that are read. A message over the limit of a packet but within this one gets
an error event; a larger one closes the WebSocket."""
FORBIDDEN = 4
"""Engine.IO's error code for a handshake that the application rejects."""


@define(eq=False, slots=False, kw_only=True)
class HandshakeDenied(Rejected):
    """A handshake that `Admission` rejects, with the error of the HTTP API."""

    error: AppError


@define(eq=False)
class SocketIOConnection(Connection):
    protocol: ClassVar[str] = PROTOCOL
    socket: Socket = field(kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.socket.recoverable:
            # The hub records events with its own rooms and with the room of the user.
            self.socket.replay_rooms = lambda: self.rooms
            self.socket.join(user_room(self.user_id))

    @property
    def polling(self) -> bool:
        return self.socket.session.transport == "polling"

    @property
    def queued(self) -> int:
        return len(self.socket.session.outbox)

    @property
    def recoverable(self) -> bool:
        return self.socket.recoverable

    def deliver(self, event: ServerEvent) -> bool:
        return self.socket.send(event.socketio)

    async def announce_and_close(self) -> None:
        """Sends the shutdown announcement and the goodbye in one response, after its events are
        handled."""
        await self.socket.session.received_all()
        await self.socket.wait_idle()
        self.announce_shutdown()
        self.socket.disconnect()
        self.socket.session.close(GOING_AWAY, CloseCode.GOING_AWAY)

    def _close(self, code: CloseCode, reason: str) -> None:
        if code in NO_AUTO_RECONNECT:
            self.socket.disconnect()
        self.socket.session.close(reason, code)


@define(eq=False)
class Gateway:
    """The owner enters `server`, which runs the gateway."""

    server: SocketServer
    _admission: Admission
    _connections: dict[Socket, SocketIOConnection] = field(
        factory=dict[Socket, SocketIOConnection], init=False, repr=False
    )
    _log: Any = field(factory=lambda: get_logger("cookcam.realtime"), init=False)

    @classmethod
    def of(cls, config: RealtimeConfig, admission: Admission, direct: DirectExtension) -> Gateway:
        async def admit(request: Request) -> None:
            await _check_handshake(admission, request)
            _drop_headers(request)

        # CORS and origins are checked before requests reach the gateway.
        server = SocketServer(
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            read_limit=READ_LIMIT,
            admit=admit,
            rejection_fields=_error_envelope,
            recovery=RecoveryOptions(config.recovery, on_request=True) if config.recovery else None,
            direct=direct,
            on_failure=admission.hub.on_failure,
        )
        admission.hub.replay = server.main.replay
        gateway = cls(server, admission)
        server.main.on_connect(gateway._connect)
        server.main.on_any(gateway._handle)
        server.main.on_over_limit(gateway._reject)
        server.main.on_disconnect(gateway._disconnected)
        return gateway

    def open_sessions(self) -> list[Session]:
        """The sessions of all clients, including those without a connected socket."""
        return list(self.server.engine.sessions)

    async def drain(self, timeout: float) -> CloseCounts:
        """Closes all clients within `timeout` seconds: handlers finish, outboxes are flushed, then
        the disconnect packet (`41`) and the close are sent."""
        started = trio.current_time()
        sessions = self.open_sessions()
        connected = {connection.socket.session for connection in self._connections.values()}
        unconnected = {session for session in sessions if session not in connected}
        await self._close_polling_clients()
        remaining = set(self.open_sessions())
        ended = [session for session in sessions if session not in remaining]
        left = max(0.0, started + timeout - trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._release, unconnected)
            code = CloseCode.GOING_AWAY
            counts = await self.server.close_all(code, GOING_AWAY, timeout=left)
            nursery.cancel_scope.cancel()
        return counts + CloseCounts.of(ended, GOING_AWAY)

    async def _close_polling_clients(self) -> None:
        """Closes the clients without an announcement, which poll: announcement and `41` go into one
        response, because no server may be left for the next request."""
        remaining = [peer for peer in self._connections.values() if not peer.shutdown_announced]
        with trio.move_on_after(HANDLERS_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for connection in remaining:
                    nursery.start_soon(connection.announce_and_close)
        for connection in remaining:
            connection.announce_shutdown()

    async def _release(self, unconnected: Set[Session]) -> None:
        """Ends closing sessions after GOODBYE_TIMEOUT: `unconnected` ones, and those whose client
        polls and has fetched everything. Its response to the goodbye may not reach this server."""
        while True:
            await trio.sleep(GOODBYE_TIMEOUT)
            for session in self.open_sessions():
                if session.state is State.CLOSING and (
                    session in unconnected
                    or (session.transport == "polling" and not len(session.outbox))
                ):
                    session.finish(clean=True)
                    session.cut(GOING_AWAY, CloseCode.GOING_AWAY)

    async def _connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        token = auth.get("token") or bearer_token(socket.request.header("authorization"))
        try:
            identity = await self._admission.identify(token, PROTOCOL)
            if socket.recovered and user_room(identity.user_id) not in socket.rooms:
                raise ConnectionRejected(UNDECIDED)  # the socket of another user
            connection = SocketIOConnection(
                socket.id,
                identity,
                self._admission.hub,
                address=address_of(socket.request.scope),
                socket=socket,
            )
        except ConnectionDenied as denied:
            raise ConnectionRejected(denied.message) from None
        self._connections[socket] = connection
        self._admission.connected(connection)
        if not socket.recovered:
            return
        if not await self._admission.router.recovered(connection, socket.former_replay_rooms):
            await self._disconnected(socket, "refused")
            raise ConnectionRejected(UNDECIDED)

    async def _handle(self, socket: Socket, event: str, args: list[Any]) -> object:
        caller = self._connections[socket]
        result = await self._admission.router.handle(caller, event, args[0] if args else None)
        return _acknowledgement(caller, result)

    async def _reject(self, socket: Socket, error: PacketOverLimit) -> object:
        """Handles a packet over a limit."""
        caller = self._connections[socket]
        error_type = InvalidJson if isinstance(error, RejectedJson) else PayloadTooLarge
        data = error.packet.data
        name = str(data[0]) if data else ""
        result = await self._admission.router.reject(caller, error_type(error.reason), name)
        return _acknowledgement(caller, result)

    async def _disconnected(self, socket: Socket, reason: str) -> None:
        await self._admission.disconnected(self._connections.pop(socket), reason)


def _acknowledgement(caller: SocketIOConnection, result: EventResult) -> object:
    """Sends the result of an event; returns the acknowledgement."""
    if result.error is None:
        if result.response is not None:
            caller.send_event(result.response)
        return {"ok": True}
    if result.only_if_requested:
        return NO_ACK
    caller.send("error", result.error)
    if result.closes_connection:
        caller.close(CloseCode.RATE_LIMITED, "rate limit exceeded")
    return {"ok": False, "error": result.error["message"]}


def _error_envelope(request: Request, rejected: Rejected) -> dict[str, Any]:
    """The keys of HTTP's error body; `code` remains the number that Engine.IO clients read."""
    if isinstance(rejected, HandshakeDenied):
        error = rejected.error
    else:
        error = _ERRORS[rejected.status](rejected.message)
    return error_body(error, request_info_of(request.scope))


def _drop_headers(request: Request) -> None:
    """Drops what is not read any more from a request, which lives as long as its session."""
    headers = request.scope["headers"]
    request.scope["headers"] = [header for header in headers if header[0] == b"authorization"]


async def _check_handshake(admission: Admission, request: Request) -> None:
    try:
        await admission.check_handshake(request.scope)
    except (AccessDenied, RateLimited, ServiceUnavailable) as error:
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers]
        raise HandshakeDenied(
            error.message, FORBIDDEN, error.status, headers, error=error
        ) from None
