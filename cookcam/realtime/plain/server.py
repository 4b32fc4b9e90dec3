"""The plain WebSocket gateway: JSON frames for clients without a Socket.IO library.

The same events, rules and rooms as over Socket.IO. The ASGI task of a connection is its reader;
the writer and the event handlers are its children.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio
from attrs import define, field

from cookcam.errors import AppError, InvalidJson, ValidationError
from cookcam.http.responses import now_text
from cookcam.json_parsing import JsonTooDeep
from cookcam.realtime.admission import GOING_AWAY, Admission, address_of, send_rejection
from cookcam.realtime.connection import CloseCode
from cookcam.realtime.engineio import CloseCounts, DirectExtension, Receive, Scope, Send
from cookcam.realtime.engineio.heartbeats import Heartbeats
from cookcam.realtime.engineio.writer import WriteScheduler
from cookcam.realtime.frames import (
    Frame,
    InvalidFrame,
    MalformedFrame,
    RequestId,
    decode_frame,
    is_too_large,
)
from cookcam.realtime.plain.connection import PlainConnection, State
from cookcam.realtime.plain.handshake import (
    Authenticated,
    PeerDisconnected,
    RejectedAfterUpgrade,
    authenticate_by_first_frame,
    authenticate_by_header,
    close_rejected,
)
from cookcam.realtime.router import EventResult
from cookcam.realtime.server_events import ServerEvent
from cookcam.realtime.socketio.socket import new_id
from cookcam.realtime.tokens import authenticated_response
from cookcam.serving.extensions import WEBSOCKET_PING, WEBSOCKET_PONG

SUBPROTOCOL: Final = "cookcam.v1"
MAX_MALFORMED: Final = 3
MAX_BACKLOG: Final = 8
"""Events of one connection that may wait for their handlers before reading pauses. Few enough to be
handled before a pong behind them is overdue."""
LINGER: Final = 5.0
"""Seconds that handlers may continue after their client has disconnected."""
BATCH_SIZE: Final = 500
BATCH_DELAY: Final = 0.05


@define(eq=False)
class PlainGateway:
    """An ASGI app for WebSocket scopes. The owner runs `heartbeats` and `scheduler`."""

    _admission: Admission
    heartbeats: Heartbeats
    scheduler: WriteScheduler
    _direct: DirectExtension = field(alias="direct")
    _connections: set[PlainConnection] = field(factory=set[PlainConnection], init=False)
    _waiting: set[trio.CancelScope] = field(factory=set[trio.CancelScope], init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            authenticated = await authenticate_by_header(self._admission, scope)
        except AppError as error:
            await send_rejection(scope, send, error)
            return
        scope["headers"] = ()  # not needed any more, and the scope lives as long as the connection
        offered = SUBPROTOCOL in scope.get("subprotocols", ())
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
        try:
            authenticated = authenticated or await self._first_frame(receive)
        except RejectedAfterUpgrade as rejected:
            await close_rejected(rejected, receive, send)
        except PeerDisconnected:
            pass
        else:
            await self._serve(authenticated, scope, receive, send)

    @property
    def open_count(self) -> int:
        """The connections that a drain closes, including those not authenticated yet."""
        return len(self._waiting) + sum(not one.watches_drain for one in self._connections)

    async def drain(self, timeout: float) -> CloseCounts:
        """Closes all connections: events are handled, outboxes are flushed, then the close is sent.
        Connections that have not ended after `timeout` seconds are cut. Those that watch the drain
        stay open."""
        unauthenticated = list(self._waiting)
        for waiting in unauthenticated:
            waiting.cancel()
        connections = [one for one in self._connections if not one.watches_drain]
        code, reason = CloseCode.GOING_AWAY, GOING_AWAY
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                for index, connection in enumerate(connections):
                    if index and index % BATCH_SIZE == 0:
                        await trio.sleep(BATCH_DELAY)
                    if connection.work.working:
                        nursery.start_soon(connection.drain, code, reason)
                    else:
                        connection.close(code, reason)
            for connection in connections:
                await connection.ended.wait()
        for connection in connections:
            connection.scope.cancel()
        clean = sum(connection.clean for connection in connections)
        return CloseCounts(clean + len(unauthenticated), len(connections) - clean)

    async def _first_frame(self, receive: Receive) -> Authenticated:
        waiting = trio.CancelScope()
        self._waiting.add(waiting)
        try:
            return await authenticate_by_first_frame(self._admission, receive, waiting)
        finally:
            self._waiting.discard(waiting)

    async def _serve(
        self, authenticated: Authenticated, scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = PlainConnection(
            new_id(),
            authenticated.identity,
            self._admission.hub,
            address=address_of(scope),
        )
        self._connections.add(connection)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    connection.start(
                        nursery, send, self._direct, self._direct.write_for(scope), self.scheduler
                    )
                    self._admission.connected(connection)
                    if authenticated.request_id is not None:
                        response = authenticated_response(connection)
                        connection.respond(response, authenticated.request_id)
                    if WEBSOCKET_PING in scope.get("extensions", {}):
                        self.heartbeats.start(connection)
                    try:
                        await self._read(connection, receive)
                    finally:
                        connection.stop()
                    connection.peer_disconnected()
                    with trio.move_on_after(LINGER):
                        await connection.work.wait_idle()
                    nursery.cancel_scope.cancel()
        finally:
            self.heartbeats.stop(connection)
            self._connections.discard(connection)
            connection.ended.set()
            await self._admission.disconnected(connection, connection.reason)

    async def _read(self, connection: PlainConnection, receive: Receive) -> None:
        """Reads until the peer disconnects."""
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heartbeats.pong(connection)
            if connection.state is not State.OPEN or connection.draining:
                continue  # only the close matters now
            if message["type"] == WEBSOCKET_PONG:
                continue
            text: str | None = message.get("text")
            if text is None:
                connection.close(CloseCode.BINARY, "binary frame")
            elif is_too_large(text):
                connection.close(CloseCode.TOO_LARGE, "frame is too large")
            else:
                await self._receive(connection, text)

    async def _receive(self, connection: PlainConnection, text: str) -> None:
        try:
            frame = decode_frame(text)
        except MalformedFrame:
            _malformed(connection)
            return
        except JsonTooDeep as error:
            connection.malformed = 0
            too_deep = InvalidJson(str(error))
            result = await self._admission.router.reject(connection, too_deep)
            _send_result(connection, result, None)
            return
        except InvalidFrame as error:
            connection.malformed = 0
            invalid = ValidationError.of(error.field, error.rule)
            result = await self._admission.router.reject(connection, invalid)
            _send_result(connection, result, error.id)
            return
        connection.malformed = 0
        if frame.event == "ping":
            await self._pong(connection, frame)
            return
        connection.work.add(partial(self._handle, connection, frame))
        if len(connection.work) >= MAX_BACKLOG:
            await connection.work.wait_idle()

    async def _handle(self, connection: PlainConnection, frame: Frame) -> None:
        result = await self._admission.router.handle(connection, frame.event, frame.data)
        _send_result(connection, result, frame.id)

    async def _pong(self, connection: PlainConnection, frame: Frame) -> None:
        rejection = await self._admission.router.check_limits(connection, frame.event)
        if rejection is not None:
            _send_result(connection, rejection, frame.id)
        else:
            connection.respond(ServerEvent("pong", {"timestamp": now_text()}), frame.id)


def _send_result(
    connection: PlainConnection, result: EventResult, request_id: RequestId | None
) -> None:
    """Sends exactly one response to a frame with an id."""
    if result.error is not None:
        if request_id is not None or not result.only_if_requested:
            connection.respond(ServerEvent("error", result.error), request_id)
        if result.closes_connection:
            connection.close(CloseCode.RATE_LIMITED, "rate limit exceeded")
    elif result.response is not None:
        connection.respond(result.response, request_id)
    elif request_id is not None:
        connection.respond(ServerEvent("ack", {"ok": True}), request_id)


def _malformed(connection: PlainConnection) -> None:
    connection.malformed += 1
    if connection.malformed >= MAX_MALFORMED:
        connection.close(CloseCode.INVALID, "malformed frames")
    else:
        error = {"message": "A frame must be a JSON object", "code": "INVALID_JSON"}
        connection.respond(ServerEvent("error", error), None)
