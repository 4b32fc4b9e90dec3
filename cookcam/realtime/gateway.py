"""The Socket.IO gateway: CookCam's connections over the Socket.IO server.

Source: `spec/realtime.md` §1 to §3 and §8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import trio
from attrs import define, field

from cookcam.config.sections import RealtimeConfig
from cookcam.errors import (
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
    SHUTTING_DOWN,
    UNDECIDED,
    Reception,
    Rejected,
    address_of,
    bearer_token,
)
from cookcam.realtime.announcement import Announcement
from cookcam.realtime.closing import STAY_AWAY, CloseCode
from cookcam.realtime.connection import Connection
from cookcam.realtime.engineio import Goodbyes, Request, State
from cookcam.realtime.engineio import Rejected as RejectedHandshake
from cookcam.realtime.hub import user_name
from cookcam.realtime.notice import give_notice
from cookcam.realtime.recovery import Recall
from cookcam.realtime.router import Outcome
from cookcam.realtime.socketio import (
    NO_ACK,
    ConnectionRejected,
    PacketOverLimit,
    PacketTooDeep,
    RecoveryOptions,
    Socket,
    SocketServer,
)

PROTOCOL = "socket.io"
HANDLERS_TIMEOUT = 0.5
POLL_TIMEOUT = 0.5
"""Seconds that a client which polls may take to come for its goodbye, or to answer it."""
_ERRORS: Mapping[int, type[AppError]] = {
    400: BadRequest,
    403: AuthorizationError,
    429: RateLimited,
    503: ServiceUnavailable,
}
"""The error of the HTTP API for each status of a refused handshake."""
READ_LIMIT = 1024 * 1024
"""Bytes of a message that are read, and answered if they are over the limit of a packet. The server
closes a WebSocket whose message is larger than this."""
FORBIDDEN = 4
"""Engine.IO's error code of a handshake that is refused by the application."""


@define(eq=False)
class SocketIOConnection(Connection):
    protocol: ClassVar[str] = PROTOCOL
    socket: Socket = field(kw_only=True, repr=False)
    recall: Recall | None = field(kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.socket.recoverable:
            # By these the history knows what was for it.
            self.socket.aliases = self.rooms
            self.socket.join(user_name(self.user_id))

    @property
    def polling(self) -> bool:
        return self.socket.session.transport == "polling"

    @property
    def recoverable(self) -> bool:
        return self.socket.recoverable

    def deliver(self, announcement: Announcement) -> bool:
        if self.recall is not None and self.recoverable:
            # What the hub sends to many is kept by now; this keeps what is for this one alone.
            announcement = self.recall.keep(announcement, self.id) or announcement
        return self.socket.send(announcement.socketio)

    async def leave_with_notice(self) -> None:
        """Notice and goodbye in one, once its events are handled."""
        await self.socket.session.heard()
        await self.socket.settled()
        give_notice(self)
        self.socket.disconnect()
        self.socket.session.close(GOING_AWAY, CloseCode.GOING_AWAY)

    def _close(self, code: CloseCode, reason: str) -> None:
        if code in STAY_AWAY:
            self.socket.disconnect()
        self.socket.session.close(reason, code)


@define(eq=False)
class Gateway:
    """Owns the Socket.IO server; open `server` to open it."""

    server: SocketServer
    _reception: Reception
    _recall: Recall | None = None
    _connections: dict[Socket, SocketIOConnection] = field(
        factory=dict[Socket, SocketIOConnection], init=False, repr=False
    )
    _log: Any = field(factory=lambda: get_logger("cookcam.realtime"), init=False)

    @classmethod
    def of(cls, config: RealtimeConfig, reception: Reception) -> Gateway:
        async def admit(request: Request) -> None:
            _let_in(reception, request)

        # CORS and the check of origins are done before anything comes here.
        server = SocketServer(
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            read_limit=READ_LIMIT,
            admit=admit,
            rejection_fields=_error_envelope,
            recovery=RecoveryOptions(config.recovery, on_request=True) if config.recovery else None,
        )
        history = server.main.history
        recall = None if history is None else Recall(server.main, history)
        reception.hub.memory = recall
        gateway = cls(server, reception, recall)
        server.main.on_connect(gateway._connect)
        server.main.on_any(gateway._handle)
        server.main.on_over_limit(gateway._reject)
        server.main.on_disconnect(gateway._part)
        return gateway

    async def drain(self, timeout: float) -> Goodbyes:
        """Says goodbye to everybody within `timeout` seconds: handlers end, outboxes are flushed,
        then come `41`, the close of the transport and the peer's."""
        started = trio.current_time()
        await self._leave_with_notice()
        left = max(0.0, started + timeout - trio.current_time())
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._release_polls)
            code = CloseCode.GOING_AWAY
            goodbyes = await self.server.close_all(code, GOING_AWAY, timeout=left)
            nursery.cancel_scope.cancel()
        return goodbyes

    async def _leave_with_notice(self) -> None:
        """Clients that poll and have not been told: notice and `41` go into one answer, since the
        next request may find no server. Who has handlers running is not waited for longer than
        the others can wait."""
        untold = [peer for peer in self._connections.values() if not peer.noticed]
        with trio.move_on_after(HANDLERS_TIMEOUT):
            async with trio.open_nursery() as nursery:
                for connection in untold:
                    nursery.start_soon(connection.leave_with_notice)
        for connection in untold:
            give_notice(connection)

    async def _release_polls(self) -> None:
        """A client that polls answers the goodbye with one more request, if it finds a way to
        us. It need not: who was given everything is gone as far as we are concerned."""
        while True:
            await trio.sleep(POLL_TIMEOUT)
            for session in tuple(self.server.engine.sessions):
                if (
                    session.transport == "polling"
                    and session.state is State.CLOSING
                    and not len(session.outbox)
                ):
                    session.finish(clean=True)

    async def _connect(self, socket: Socket, auth: dict[str, Any]) -> None:
        token = auth.get("token") or bearer_token(socket.request.header("authorization"))
        try:
            identity = await self._reception.identify(token, PROTOCOL)
            if socket.recovered and user_name(identity.user_id) not in socket.rooms:
                raise ConnectionRejected(UNDECIDED)  # what somebody else missed
            connection = SocketIOConnection(
                socket.id,
                identity,
                self._reception.hub,
                address=address_of(socket.request.scope),
                socket=socket,
                recall=self._recall,
            )
        except Rejected as rejected:
            raise ConnectionRejected(rejected.message) from None
        self._connections[socket] = connection
        self._reception.welcome(connection)
        if socket.recovered and not await self._reception.take_back(
            connection, socket.former_aliases
        ):
            await self._part(socket, "refused")
            raise ConnectionRejected(UNDECIDED)

    async def _handle(self, socket: Socket, event: str, args: list[Any]) -> object:
        caller = self._connections[socket]
        outcome = await self._reception.router.handle(caller, event, args[0] if args else None)
        return _acknowledgement(caller, outcome)

    async def _reject(self, socket: Socket, error: PacketOverLimit) -> object:
        """Answers a packet that was dropped for its size."""
        caller = self._connections[socket]
        kind = InvalidJson if isinstance(error, PacketTooDeep) else PayloadTooLarge
        data = error.packet.data
        name = str(data[0]) if data else ""
        return _acknowledgement(
            caller, self._reception.router.reject(caller, kind(error.reason), name)
        )

    async def _part(self, socket: Socket, reason: str) -> None:
        await self._reception.part(self._connections.pop(socket), reason)


def _acknowledgement(caller: SocketIOConnection, outcome: Outcome) -> object:
    """Sends the outcome of an event; returns what a client that asked for it gets besides."""
    if outcome.error is None:
        if outcome.answer is not None:
            caller.deliver(outcome.answer)
        return {"ok": True}
    if not outcome.unsolicited:
        return NO_ACK
    caller.send("error", outcome.error)
    if outcome.final:
        caller.close(CloseCode.RATE_LIMITED, "rate limit exceeded")
    return {"ok": False, "error": outcome.error["message"]}


def _error_envelope(request: Request, rejected: RejectedHandshake) -> dict[str, Any]:
    """The keys of HTTP's error body; `code` stays the number that Engine.IO's clients read."""
    return error_body(_ERRORS[rejected.status](rejected.message), request_info_of(request.scope))


def _let_in(reception: Reception, request: Request) -> None:
    try:
        reception.let_in(request.scope)
    except RateLimited as error:
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers]
        raise RejectedHandshake(error.message, FORBIDDEN, error.status, headers) from None
    except ServiceUnavailable as error:
        raise RejectedHandshake(SHUTTING_DOWN, FORBIDDEN, error.status) from None
