"""Hypercorn's WebSocket stream, with five changes.

- An application may ping its peer and receives the pongs (`cookcam.serving.extensions`), for
  which ASGI has no messages.
- It may write a frame that is encoded already past ASGI and wsproto, straight to the socket. As
  wsproto compresses nothing there and every message is one frame, it has no state of what was sent
  but whether the close frame was, which this class reports to it.
- Whatever breaks the protocol (text that is no UTF-8, a message that is too large) is answered
  with a close frame that has the reason, and the connection ends; Hypercorn closes it without a
  frame in the first case and leaves it open in the second.
- Messages are compressed (RFC 7692) only where `ProtocolConfig` says so: for short JSON that costs
  more time and memory (a window per connection) than it saves. The same frame cannot be sent to
  many then, so a WebSocket that compresses cannot be written past ASGI.
- Frames that come together with the handshake wait for the application's decision; a client should
  not send them yet (RFC 6455 §4.1), and some do.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.protocol.events import Body, Data, EndBody, Event, Response, StreamClosed
from hypercorn.protocol.ws_stream import (
    ASGIWebsocketState,
    FrameTooLargeError,
    Handshake,
    WSStream,
)
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, Scope, WebsocketAcceptEvent
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.events import Event as WSProtoEvent
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
"""Gives bytes to the kernel without waiting; see WEBSOCKET_DIRECT for what it returns."""

ErrorBody = Callable[[int], tuple[list[tuple[bytes, bytes]], bytes]]
"""Status → (headers, body) for a request that no application sees."""

PING_FRAME = 0x89
"""The first byte of a ping."""

Put = Callable[[ASGIReceiveEvent], Awaitable[None]]

_ACCEPTED = Handshake([], "1.1")
_ACCEPTED.accepted = True
_NO_EVENTS = deque[WSProtoEvent](maxlen=0)


class ProtocolConfig(Config):
    """Hypercorn's settings, and two of our own."""

    compress_websockets: bool = False
    websocket_timeout: float = 300.0
    """Seconds without a byte from the peer after which a WebSocket is closed. Longer than what an
    application needs to notice missing pongs."""

    _date: tuple[int, list[tuple[bytes, bytes]]] = (0, [])

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The same list for a whole second, as its `date` is."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, super().response_headers(protocol))
        return self._date[1]


class WebSocketStream(WSStream):
    """One WebSocket with a valid handshake; arguments are Hypercorn's, and `write` that of its
    connection, None where bytes cannot be given to the kernel as they are.

    With `one_at_a_time`, messages behind the first are parsed by `parse_more`: a peer that sends
    many small ones at once cannot make the server hold all of them as objects.
    """

    _pings = False
    """Whether the application pings, and so understands a pong."""

    def __init__(
        self,
        *args: Any,
        error_body: ErrorBody,
        observer: ConnectionObserver,
        write: Write | None,
        one_at_a_time: bool = False,
    ) -> None:
        super().__init__(*args)
        self._error_body = error_body
        self._observer = observer
        self._write = write
        self._one_at_a_time = one_at_a_time
        self._has_unparsed = False
        self._is_writable = False
        """The WebSocket is open: neither side has begun to close it."""
        self._decided: trio.Event | None = None
        self._application, self.app = self.app, self._with_extensions

    def _with_extensions(self, scope: Scope, *more: Any) -> Awaitable[None]:
        """Calls the application with the extensions of this stream in its scope."""
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
    def is_close_acknowledged(self) -> bool:
        """Whether the peer has answered our close frame: it has read everything and sends nothing
        more."""
        return (
            self.state is ASGIWebsocketState.CLOSED
            and self.connection.state is ConnectionState.CLOSED
        )

    def write(self, frames: bytes, *, closing: bool = False) -> int:
        """The extension WEBSOCKET_DIRECT."""
        if not self._is_writable or self._write is None:
            return 0
        if frames[0] == PING_FRAME:
            self._pings = True
        taken = self._write(frames)
        if closing and taken:
            self.state = ASGIWebsocketState.CLOSED
            self._is_writable = False
            # What it encodes is on its way already.
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
            self._is_writable = False
            self._decide()
        await super().handle(event)

    def _decide(self) -> None:
        if self._decided is not None:
            self._decided.set()
            self._decided = None

    async def fail(self) -> None:
        """Closes with 1011 because of an error of ours, if the WebSocket is open."""
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

    async def _accept(self, message: WebsocketAcceptEvent) -> None:
        await super()._accept(message)
        self._is_writable = not self.closed
        # Held as long as the WebSocket is open: what is only needed for the handshake, and a queue
        # that wsproto fills only with the end of the stream, which it does not receive.
        self.handshake = _ACCEPTED
        self.connection._events = _NO_EVENTS  # pyright: ignore[reportPrivateUsage]

    async def _send_wsproto_event(self, event: WSProtoEvent) -> None:
        if isinstance(event, CloseConnection):
            self._is_writable = False
        await super()._send_wsproto_event(event)

    async def parse_more(self) -> bool:
        """Handles the next message of what was received; False where there is none."""
        if not self._has_unparsed or self.closed:
            return False
        await self._handle_events()
        return True

    async def _handle_events(self) -> None:
        put = cast("Put", self.app_put)  # pyright: ignore[reportUnknownMemberType] - a bare Callable
        buffer: Any = self.buffer
        self._has_unparsed = False
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
                    if self._one_at_a_time:
                        self._has_unparsed = True
                        return
            elif isinstance(event, Ping):
                await self._send_wsproto_event(event.response())
            elif isinstance(event, Pong):
                if self._pings:
                    await put(cast("ASGIReceiveEvent", {"type": WEBSOCKET_PONG}))
            elif isinstance(event, CloseConnection):
                is_by_peer = self.connection.state is ConnectionState.REMOTE_CLOSING
                if not is_by_peer and self.connection.state is not ConnectionState.CLOSED:
                    self._observer.peer_failed("websocket", str(event.reason))
                await self._end(event.response() if is_by_peer else event)
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
