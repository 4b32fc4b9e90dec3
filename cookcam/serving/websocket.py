"""Hypercorn's WebSocket stream, with four changes.

- An application may ping its peer and hears of the pongs (`cookcam.serving.extensions`), for
  which ASGI has no messages.
- It may write a frame that is encoded already past ASGI and wsproto, straight to the socket. As
  wsproto compresses nothing there and every message is one frame, it has no state of what was sent
  but whether the close frame was, and that it is told.
- Whatever breaks the protocol (text that is no UTF-8, a message that is too large) is answered
  with a close frame that says so, and the connection ends; Hypercorn drops it without a word in
  the first case and leaves it open in the second.
- Messages are compressed (RFC 7692) only where `ProtocolConfig` says so: for short JSON that costs
  more time and memory (a window per connection) than it saves. The same frame cannot be sent to
  many then, so a WebSocket that compresses cannot be written past ASGI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

from hypercorn.config import Config
from hypercorn.protocol.events import Data, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from hypercorn.typing import ASGIReceiveEvent, ASGISendEvent, Scope
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping, Pong
from wsproto.frame_protocol import CloseReason

from cookcam.serving.extensions import (
    WEBSOCKET_DIRECT,
    WEBSOCKET_FLUSH,
    WEBSOCKET_PING,
    WEBSOCKET_PONG,
)

Write = Callable[[bytes], int]
"""Gives bytes to the kernel without waiting; see WEBSOCKET_DIRECT for what it returns."""

PING_FRAME = 0x89
"""The first byte of a ping."""

Put = Callable[[ASGIReceiveEvent], Awaitable[None]]


def is_upgrade(method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request asks for a WebSocket, by Hypercorn's own rule."""
    upgrade, connection = b"", b""
    for name, value in headers:
        if name.strip().lower() == b"upgrade":
            upgrade = value
        elif name.strip().lower() == b"connection":
            connection = value
    tokens = [token.strip() for token in connection.lower().split(b",")]
    return method == b"GET" and upgrade.strip().lower() == b"websocket" and b"upgrade" in tokens


class ProtocolConfig(Config):
    """Hypercorn's, and what it leaves no choice in."""

    compress_websockets: bool = False


class WebSocketStream(WSStream):
    """One WebSocket over HTTP/1.1; arguments are Hypercorn's, and `write` that of its connection,
    None where bytes cannot be given to the kernel as they are."""

    _pings = False
    """Whether the application pings, and so understands a pong."""

    def __init__(self, *args: Any, write: Write | None) -> None:
        super().__init__(*args)
        self._write = write
        self._application, self.app = self.app, self._with_extensions

    def _with_extensions(self, scope: Scope, *more: Any) -> Awaitable[None]:
        """The application, which is told what this stream can do."""
        extensions: dict[str, Any] = cast("Any", scope)["extensions"]
        if not cast("ProtocolConfig", self.config).compress_websockets:
            self.handshake.extensions = None
        if self.handshake.extensions:
            self._write = None
        extensions[WEBSOCKET_PING] = {}
        if self._write is not None:
            extensions[WEBSOCKET_DIRECT] = {"write": self.write}
        return self._application(scope, *more)

    @property
    def answered(self) -> bool:
        """Whether the peer has answered our close: it has read all we said, and is silent."""
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
            # What it encodes is on its way already.
            self.connection.send(CloseConnection(CloseReason.NORMAL_CLOSURE))
        return taken

    async def app_send(self, message: ASGISendEvent | None) -> None:
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
                await self._end(event.response() if asked else event)
                return

    async def _end(self, close: CloseConnection) -> None:
        if self.connection.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
            await self._send_wsproto_event(close)
        await self.send(StreamClosed(stream_id=self.stream_id))
