"""The plain WebSocket gateway: JSON frames for clients without a Socket.IO library.

The same events, rules and rooms as over Socket.IO. The reader of a connection is the ASGI task
itself; its writer and the handling of its events are children of it.
Source: `spec/realtime.md` §10.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import trio
from attrs import define, field

from cookcam.errors import AppError, InvalidJson, ValidationError
from cookcam.http.responses import now_text
from cookcam.json_parsing import JsonTooDeep
from cookcam.realtime.admission import GOING_AWAY, Reception, address_of
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.engineio import Goodbyes, Receive, Scope, Send
from cookcam.realtime.engineio.direct import direct_write
from cookcam.realtime.engineio.heartbeats import Heartbeats
from cookcam.realtime.engineio.pace import Pace
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
    Dismissed,
    Introduction,
    PeerLeft,
    by_first_frame,
    by_header,
    dismiss,
)
from cookcam.realtime.refusals import refuse
from cookcam.realtime.router import Outcome
from cookcam.realtime.socketio.socket import new_id
from cookcam.realtime.tokens import authenticated
from cookcam.serving.extensions import WEBSOCKET_PING, WEBSOCKET_PONG

SUBPROTOCOL: Final = "cookcam.v1"
MAX_MALFORMED: Final = 3
MAX_BACKLOG: Final = 8
"""Events of one connection that may wait for their handlers before reading stops: few enough to
be handled before a pong that waits behind them is missed."""
LINGER: Final = 5.0
"""Seconds that handlers may still take once their client has left."""
BATCH: Final = 500
BETWEEN_BATCHES: Final = 0.05


@define(eq=False)
class PlainGateway:
    """An ASGI app for WebSocket scopes; `heartbeats` and `pace` are run by whoever owns this."""

    _reception: Reception
    heartbeats: Heartbeats
    pace: Pace = field(factory=Pace, init=False)
    _connections: set[PlainConnection] = field(factory=set[PlainConnection], init=False)
    _waiting: set[trio.CancelScope] = field(factory=set[trio.CancelScope], init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # websocket.connect
        try:
            introduction = await by_header(self._reception, scope)
        except AppError as error:
            await refuse(scope, send, error)
            return
        offered = SUBPROTOCOL in scope.get("subprotocols", ())
        await send({"type": "websocket.accept", "subprotocol": SUBPROTOCOL if offered else None})
        try:
            introduction = introduction or await self._introduction(receive)
        except Dismissed as dismissed:
            await dismiss(dismissed, receive, send)
        except PeerLeft:
            pass
        else:
            await self._serve(introduction, scope, receive, send)

    async def drain(self, timeout: float) -> Goodbyes:
        """Closes every connection in order: its events are handled, its outbox is flushed, then
        come our close and the peer's. What is not over after `timeout` seconds is cut."""
        for waiting in self._waiting:
            waiting.cancel()
        connections = list(self._connections)
        code, reason = CloseCode.GOING_AWAY, GOING_AWAY
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                for index, connection in enumerate(connections):
                    if index and index % BATCH == 0:
                        await trio.sleep(BETWEEN_BATCHES)
                    if connection.jobs.working:
                        nursery.start_soon(connection.retire, code, reason)
                    else:
                        connection.close(code, reason)
            for connection in connections:
                await connection.over.wait()
        for connection in connections:
            connection.scope.cancel()
        clean = sum(connection.clean for connection in connections)
        return Goodbyes(clean, len(connections) - clean)

    async def _introduction(self, receive: Receive) -> Introduction:
        waiting = trio.CancelScope()
        self._waiting.add(waiting)
        try:
            return await by_first_frame(self._reception, receive, waiting)
        finally:
            self._waiting.discard(waiting)

    async def _serve(
        self, introduction: Introduction, scope: Scope, receive: Receive, send: Send
    ) -> None:
        connection = PlainConnection(
            new_id(),
            introduction.identity,
            self._reception.hub,
            address=address_of(scope),
        )
        self._connections.add(connection)
        try:
            with connection.scope:
                async with trio.open_nursery() as nursery:
                    connection.start(nursery, send, direct_write(scope), self.pace)
                    self._reception.welcome(connection)
                    if introduction.request_id is not None:
                        connection.answer(authenticated(connection), introduction.request_id)
                    if WEBSOCKET_PING in scope.get("extensions", {}):
                        self.heartbeats.start(connection)
                    try:
                        await self._read(connection, receive)
                    finally:
                        connection.stop()
                    connection.peer_left()
                    with trio.move_on_after(LINGER):
                        await connection.jobs.settled()
                    nursery.cancel_scope.cancel()
        finally:
            self.heartbeats.stop(connection)
            self._connections.discard(connection)
            connection.over.set()
            await self._reception.part(connection, connection.reason)

    async def _read(self, connection: PlainConnection, receive: Receive) -> None:
        """Until the peer has left."""
        while (message := await receive())["type"] != "websocket.disconnect":
            self.heartbeats.pong(connection)
            if connection.state is not State.OPEN or connection.retiring:
                continue  # only its close is of interest now
            if message["type"] == WEBSOCKET_PONG:
                continue
            text: str | None = message.get("text")
            if text is None:
                connection.close(CloseCode.BINARY, "binary frame")
            elif is_too_large(text):
                connection.close(CloseCode.TOO_LARGE, "frame is too large")
            else:
                await self._take(connection, text)

    async def _take(self, connection: PlainConnection, text: str) -> None:
        try:
            frame = decode_frame(text)
        except MalformedFrame:
            _malformed(connection)
            return
        except JsonTooDeep as error:
            connection.malformed = 0
            _tell(
                connection, self._reception.router.reject(connection, InvalidJson(str(error))), None
            )
            return
        except InvalidFrame as error:
            connection.malformed = 0
            invalid = ValidationError.of(error.field, error.rule)
            _tell(connection, self._reception.router.reject(connection, invalid), error.id)
            return
        connection.malformed = 0
        if frame.event == "ping":
            self._pong(connection, frame)
            return
        connection.jobs.add(partial(self._handle, connection, frame))
        if len(connection.jobs) >= MAX_BACKLOG:
            await connection.jobs.settled()

    async def _handle(self, connection: PlainConnection, frame: Frame) -> None:
        router = self._reception.router
        _tell(connection, await router.handle(connection, frame.event, frame.data), frame.id)

    def _pong(self, connection: PlainConnection, frame: Frame) -> None:
        refusal = self._reception.router.refusal(connection, frame.event)
        if refusal is not None:
            _tell(connection, refusal, frame.id)
        else:
            connection.reply("pong", {"timestamp": now_text()}, frame.id)


def _tell(connection: PlainConnection, outcome: Outcome, request_id: RequestId | None) -> None:
    """A frame with an id gets exactly one answer with it."""
    if outcome.error is not None:
        if outcome.unsolicited or request_id is not None:
            connection.reply("error", outcome.error, request_id)
        if outcome.final:
            connection.close(CloseCode.RATE_LIMITED, "rate limit exceeded")
    elif outcome.answer is not None:
        connection.answer(outcome.answer, request_id)
    elif request_id is not None:
        connection.reply("ack", {"ok": True}, request_id)


def _malformed(connection: PlainConnection) -> None:
    connection.malformed += 1
    if connection.malformed >= MAX_MALFORMED:
        connection.close(CloseCode.INVALID, "malformed frames")
    else:
        error = {"message": "A frame must be a JSON object", "code": "INVALID_JSON"}
        connection.reply("error", error, None)
