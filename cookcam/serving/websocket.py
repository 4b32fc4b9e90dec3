"""Hypercorn's WebSocket stream, with five changes.

- An application may ping its peer and receives the pongs (`cookcam.serving.extensions`); ASGI has
  no messages for them.
- It may write encoded frames directly to the socket, without ASGI and wsproto. Without compression,
  and with one frame for each message, the only state of sent frames in wsproto is whether the close
  frame was sent, and it is notified of that.
- A protocol violation (text that is not UTF-8, a message that is too large) is answered with a
  close frame that has the reason, and the connection ends; Hypercorn drops it without a close frame
  in the first case and leaves it open in the second.
- Messages are compressed (RFC 7692) only if `ProtocolConfig` enables it: for short JSON this costs
  more time and memory (a window per connection) than it saves. A compressed frame cannot be sent to
  several peers, so a WebSocket with compression has no direct writes.
- Frames sent together with the handshake are buffered until the application decides; clients should
  not send them yet (RFC 6455 §4.1), and some do.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Body, Data, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, Scope
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.extensions import PerMessageDeflate
from wsproto.frame_protocol import CloseReason
from wsproto.handshake import server_extensions_handshake

from cookcam.serving.extensions import (
    WEBSOCKET_DIRECT,
    WEBSOCKET_FLUSH,
    WEBSOCKET_PING,
    WEBSOCKET_PONG,
)
from cookcam.serving.observer import ConnectionObserver

Write = Callable[[bytes], int]
"""Passes bytes to the kernel without waiting; WEBSOCKET_DIRECT describes the result."""

ErrorBody = Callable[[int], tuple[list[tuple[bytes, bytes]], bytes]]
"""Status → (headers, body) of an error response without the application."""

PING_FRAME = 0x89
"""The first byte of a ping."""

Put = Callable[[ASGIReceiveEvent], Awaitable[None]]


class ProtocolConfig(Config):
    """Hypercorn's settings, and two more."""

    compress_websockets: bool = False
    websocket_timeout: float = 300.0
    """Seconds without a byte from the peer after which a WebSocket is closed. Longer than the time
    in which an application notices that its pings are not answered."""

    _date: tuple[int, list[tuple[bytes, bytes]]] = (0, [])

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The default response headers, cached for each second, because they contain the date."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, super().response_headers(protocol))
        return self._date[1]


class WebSocketStream(WSStream):
    """One WebSocket with a valid handshake; arguments are Hypercorn's, and `write` that of its
    connection, None if bytes cannot be passed to the kernel directly."""

    _pings = False
    """Whether the application has sent a ping, and so expects pongs."""

    def __init__(
        self,
        *args: Any,
        error_body: ErrorBody,
        observer: ConnectionObserver,
        write: Write | None,
    ) -> None:
        super().__init__(*args)
        self._error_body = error_body
        self._observer = observer
        self._write = write
        self._decided: trio.Event | None = None
        self._application, self.app = self.app, self._with_extensions

    def _with_extensions(self, scope: Scope, *more: Any) -> Awaitable[None]:
        """The application, called with the extensions of this stream in its scope."""
        extensions: dict[str, Any] = cast("Any", scope)["extensions"]
        if not self._may_compress():
            self.handshake.extensions = None
        if self.handshake.extensions:
            self._write = None
        extensions[WEBSOCKET_PING] = {}
        if self._write is not None:
            extensions[WEBSOCKET_DIRECT] = {"write": self.write}
        return self._application(scope, *more)

    @property
    def answered(self) -> bool:
        """Whether the peer has answered the close frame: it has read all frames and sends no
        more."""
        return (
            self.state is ASGIWebsocketState.CLOSED
            and self.connection.state is ConnectionState.CLOSED
        )

    def write(self, frames: bytes, *, closing: bool = False) -> int:
        """The extension WEBSOCKET_DIRECT."""
        if (
            self._write is None
            or self.closed
            or self.state is not ASGIWebsocketState.CONNECTED
            or self.connection.state is not ConnectionState.OPEN
        ):
            return 0
        if frames[0] == PING_FRAME:
            self._pings = True
        taken = self._write(frames)
        if closing and taken:
            self.state = ASGIWebsocketState.CLOSED
            # wsproto's own encoding of the close frame is discarded: the frame has been sent.
            self.connection.send(CloseConnection(CloseReason.NORMAL_CLOSURE))
        return taken

    def _may_compress(self) -> bool:
        if not cast("ProtocolConfig", self.config).compress_websockets:
            return False
        try:
            server_extensions_handshake(self.handshake.extensions or [], [PerMessageDeflate()])
        except Exception:
            return False  # RFC 7692 §5: declined
        return True

    async def handle(self, event: Event) -> None:
        is_early = isinstance(event, Body | Data) and self.state is ASGIWebsocketState.HANDSHAKE
        if is_early and not self.closed:
            self._decided = trio.Event()
            await self._decided.wait()
            if self.state is not ASGIWebsocketState.CONNECTED:
                return
        if isinstance(event, StreamClosed):
            self._decide()
        await super().handle(event)

    def _decide(self) -> None:
        if self._decided is not None:
            self._decided.set()
            self._decided = None

    async def fail(self) -> None:
        """Closes with 1011 because of an internal error, if the WebSocket is open."""
        if self.state is ASGIWebsocketState.CONNECTED and not self.closed:
            await self._send_wsproto_event(CloseConnection(CloseReason.INTERNAL_ERROR))

    async def app_send(self, message: ASGISendEvent | None) -> None:
        try:
            await self._app_send(message)
        finally:
            if self.state is not ASGIWebsocketState.HANDSHAKE or message is None:
                self._decide()

    async def _app_send(self, message: ASGISendEvent | None) -> None:
        kind = None if message is None else cast("Any", message)["type"]
        if kind == WEBSOCKET_FLUSH:
            await self.send(Data(stream_id=self.stream_id, data=b""))
        elif kind != WEBSOCKET_PING:
            await super().app_send(message)
        elif self.state is ASGIWebsocketState.CONNECTED and not self.closed:
            self._pings = True
            await self._send_wsproto_event(Ping())

    async def _handle_events(self) -> None:
        put = cast("Put", self.app_put)  # pyright: ignore[reportUnknownMemberType] - a bare Callable
        buffer: Any = self.buffer
        for event in self.connection.events():
            if isinstance(event, Message):
                try:
                    buffer.extend(event)
                except FrameTooLargeError:
                    self._observer.peer_failed("websocket", "message too big")
                    await self._end(CloseConnection(CloseReason.MESSAGE_TOO_BIG))
                    return
                if event.message_finished:
                    await put(buffer.to_message())
                    buffer.clear()
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, Pong):
                if self._pings:
                    await put(cast("ASGIReceiveEvent", {"type": WEBSOCKET_PONG}))
            elif isinstance(event, CloseConnection):
                asked = self.connection.state is ConnectionState.REMOTE_CLOSING
                if not asked and self.connection.state is not ConnectionState.CLOSED:
                    self._observer.peer_failed("websocket", str(event.reason))
                await self._end(event.response() if asked else event)
                return

    async def _send_error_response(self, status_code: int) -> None:
        headers, body = self._error_body(status_code)
        await self.send(Response(self.stream_id, headers, status_code))
        await self.send(Body(self.stream_id, body))
        await self.send(EndBody(self.stream_id))
        await self.send(StreamClosed(self.stream_id))

    async def _end(self, close: CloseConnection) -> None:
        if self.connection.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            await self._send_wsproto_event(close)
        await self.send(StreamClosed(stream_id=self.stream_id))
