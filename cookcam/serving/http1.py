"""HTTP/1.1: llhttp for requests, `RequestStream` for ASGI; Hypercorn's stream for WebSockets.

- A response of known length leaves in one write, has a reason phrase, and says
  `Connection: close` while the server drains.
- What is rejected before an application sees it has a JSON body: malformed requests, requests whose
  framing is ambiguous (RFC 9112 §6.1), versions that are not HTTP/1 (RFC 9110 §15.6.6), and
  invalid WebSocket handshakes (RFC 6455 §4.2.2).
- No upgrade but to a WebSocket: neither `Upgrade: h2c` nor HTTP/2 with prior knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from enum import Enum, auto
from functools import lru_cache
from http import HTTPStatus
from typing import Final

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.ws_stream import ASGIWebsocketState
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from cookcam.serving import handshake
from cookcam.serving.observer import ConnectionObserver
from cookcam.serving.request_parser import (
    ChunkedBody,
    MalformedRequest,
    RequestHead,
    parse_head,
)
from cookcam.serving.request_stream import RequestStream
from cookcam.serving.states import BODY_GRACE, BodyDeadline, State
from cookcam.serving.tasks import RequestTasks, WebSocketTask
from cookcam.serving.websocket import ErrorBody, ProtocolConfig, WebSocketStream, Write

STREAM_ID: Final = 1
MAX_JOINED_BODY: Final = 2**18
"""Bytes of a body that are copied behind their head; a larger one is a write of its own."""

_CLOSE = b"connection: close\r\n"
_UPGRADE_REQUIRED = [
    (b"sec-websocket-version", handshake.VERSION),
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
]
_STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode())
    for status in HTTPStatus
}
_FRAMING_FIELDS = frozenset({b"content-length", b"transfer-encoding", b"connection"})
_HEADER_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+")


class _Response(Enum):
    """How far the response to the current request is."""

    NOT_BEGUN = auto()
    BODY = auto()
    COMPLETE = auto()
    BROKEN = auto()
    """The application has sent too much or too little: the peer cannot find its end."""


class _Framing(Enum):
    LENGTH = auto()
    CHUNKED = auto()
    UNTIL_CLOSE = auto()


class HTTP1:
    """The protocol of one connection. `is_draining` is called for every response; `error_body`
    makes the body of protocol errors; `write` is for WebSockets.

    With `read`, the caller runs the application of a WebSocket and of a request without a body, see
    `websocket` and `inline`.
    """

    __slots__ = (
        "_app",
        "_body",
        "_buffer",
        "_chunks",
        "_client",
        "_closes",
        "_config",
        "_connection_state",
        "_context",
        "_error_body",
        "_framing",
        "_grace",
        "_has_skipped_line",
        "_held",
        "_is_draining",
        "_is_eof",
        "_is_tls",
        "_is_websocket",
        "_left",
        "_observer",
        "_read",
        "_request",
        "_requests",
        "_response",
        "_resumed",
        "_send",
        "_server",
        "_stream",
        "_tasks",
        "_unsent_length",
        "_write",
        "inline",
        "is_forwarded",
        "is_over",
        "websocket",
    )

    def __init__(
        self,
        app: ASGIFramework,
        config: ProtocolConfig,
        context: WorkerContext,
        tasks: RequestTasks,
        connection_state: ConnectionState,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        *,
        is_tls: bool,
        is_draining: Callable[[], bool],
        error_body: ErrorBody,
        observer: ConnectionObserver,
        write: Write | None,
        read: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._tasks = tasks
        self._is_tls = is_tls
        self._client = client
        self._server = server
        self._connection_state = connection_state
        self._send = send
        self._write = write
        self._read = read
        self.inline: RequestStream | None = None
        """Set by the head of a request without a body, whose application the caller has to run. It
        sets None after that. Later requests stay in the buffer meanwhile."""
        self.websocket: WebSocketTask | None = None
        """Set by the handshake of a WebSocket, whose application the caller has to run then."""
        self._is_draining = is_draining
        self._error_body = error_body
        self._observer = observer
        self._stream: RequestStream | WebSocketStream | None = None
        self._requests = 0
        self.is_forwarded: bool | None = None
        """Whether the last request came through a proxy; None before the first."""
        self._grace = BODY_GRACE
        # What the peer sends.
        self._buffer = b""
        self._is_eof = False
        self._has_skipped_line = False
        """One empty line before the next request was ignored."""
        self._request: RequestHead | None = None
        self._left = 0
        self._chunks: ChunkedBody | None = None
        self._body: BodyDeadline | None = None
        self._is_websocket = False
        self._resumed: trio.Event | None = None
        # What we send.
        self._response = _Response.NOT_BEGUN
        self._framing = _Framing.LENGTH
        self._unsent_length = 0
        self._closes = False
        self._held = b""
        self.is_over = False
        """The peer has read everything and sends nothing more: closing loses nothing."""

    @property
    def state(self) -> State:
        if self._is_websocket:
            undecided = (
                isinstance(self._stream, WebSocketStream)
                and self._stream.state is ASGIWebsocketState.HANDSHAKE
            )
            return State.RESPONSE if undecided else State.WEBSOCKET
        if self._body is not None:
            return State.BODY
        if self._stream is not None:
            return State.RESPONSE
        return State.HEAD if self._buffer else State.IDLE

    @property
    def body_deadline(self) -> float:
        assert self._body is not None  # noqa: S101 - the state is BODY
        return self._body.when

    def shorten_grace(self, grace: float) -> None:
        """From now on a body may stall for `grace` seconds only."""
        self._grace = grace
        if self._body is not None:
            self._body.shorten(grace, trio.current_time())

    async def initiate(self) -> None:
        """The server of HTTP/1.1 waits for the first request."""

    async def reject(self, status: int) -> None:
        """Responds to the current request with an error, if no response has begun, and closes."""
        if self._is_websocket:
            if isinstance(self._stream, WebSocketStream):
                await self._stream.fail()
        elif self._response is _Response.NOT_BEGUN:
            await self._close_stream()
            await self._send_error(status)
        await self._send(Closed())

    async def handle(self, event: Event) -> None:
        if isinstance(event, Closed):
            await self._close_stream()
        elif isinstance(event, RawData):
            if self._is_websocket:
                await self._pass_on(event.data)
                return
            self._buffer = self._buffer + event.data if self._buffer else event.data
            self._is_eof = not event.data
            try:
                await self._receive()
            except MalformedRequest as error:
                kind = "websocket" if self._is_handshake() else "http1"
                self._observer.peer_failed(kind, str(error))
                await self.reject(error.status)

    # -- what the peer sends

    async def _receive(self) -> None:
        """Takes requests from the buffer, one at a time, until more has to arrive."""
        while not self._is_websocket:
            if self._request is None:
                head = self._take_head()
                if head is None:
                    return
                await self._begin(head)
            elif self._stream is None:
                return  # the response came before the end of the body: the connection closes
            elif self._has_body():
                if not self._buffer:
                    if self._is_eof:
                        raise MalformedRequest(400, "connection closed in the body")
                    return
                if not await self._take_body():
                    if self._is_eof:
                        raise MalformedRequest(400, "connection closed in the body")
                    return
            elif self._buffer and not self._request.keep_alive:
                # RFC 9112 §9.6: the connection ends with the response to this request, which may
                # have taken effect already. What follows it is not processed.
                self._buffer = b""
            elif self._buffer:
                if self.inline is not None:
                    return
                # The next request waits for this response, and its sender with it.
                self._resumed = trio.Event()
                await self._resumed.wait()
            else:
                return

    def _take_head(self) -> RequestHead | None:
        """The next request's head, None while it is not all there."""
        if not self._has_skipped_line and self._buffer.startswith(b"\r\n"):
            # RFC 9112 §2.2: some clients end a body with a line break that is not part of it.
            self._buffer = self._buffer[2:]
            self._has_skipped_line = True
        buffer, limit = self._buffer, self._config.h11_max_incomplete_size
        end = buffer.find(b"\r\n\r\n") + 4
        if (end if end >= 4 else len(buffer)) > limit:
            raise MalformedRequest(431, "head too large")
        if end >= 4:
            self._buffer = buffer[end:]
            return parse_head(buffer if end == len(buffer) else buffer[:end])
        is_half_a_line = buffer == b"\r" and not self._has_skipped_line
        # A head of lines that end in LF alone would have to wait for its deadline.
        if (buffer and buffer[0] < 0x21 and not is_half_a_line) or buffer.find(b"\n\n") >= 0:
            raise MalformedRequest(400, "illegal request line")
        if buffer and self._is_eof:
            raise MalformedRequest(400, "connection closed in the head")
        return None

    @property
    def has_unread(self) -> bool:
        """Whether there is a part of a later request in the buffer."""
        return bool(self._buffer)

    def take_unread(self) -> bytes:
        """The part of a later request, to be handled again."""
        unread, self._buffer = self._buffer, b""
        return unread

    def _has_body(self) -> bool:
        return self._left > 0 or self._chunks is not None

    async def _take_body(self) -> bool:
        """Hands over what has arrived of the body; False where more is needed to go on."""
        stream, deadline = self._stream, self._body
        assert isinstance(stream, RequestStream)  # noqa: S101
        assert deadline is not None  # noqa: S101
        buffer = self._buffer
        if self._chunks is not None:
            data, self._buffer, is_complete = self._chunks.decode(buffer)
            if is_complete:
                self._chunks = None
        else:
            data = buffer if len(buffer) <= self._left else buffer[: self._left]
            self._buffer = buffer[len(data) :]
            self._left -= len(data)
            is_complete = not self._left
        if data:
            before = trio.current_time()
            await stream.body(data)
            now = trio.current_time()
            deadline.received(len(data), now, now - before)
        if is_complete:
            self._body = None
            stream.end_body()
        return is_complete

    async def _begin(self, head: RequestHead) -> None:
        self._request = head
        self._has_skipped_line = False
        self._requests += 1
        self.is_forwarded = head.is_forwarded
        if self._is_handshake():
            status = (
                400
                if head.version == b"1.0"
                else handshake.rejection_status(head.headers, http2=False)
            )
            if head.version == b"1.0":
                status = 400
            if status is not None:
                raise MalformedRequest(status, f"status {status}")
            await self._send(Updated(idle=False))
            await self._open_websocket(head)
            return
        await self._send(Updated(idle=False))
        self._left = head.length
        self._chunks = (
            ChunkedBody(self._config.h11_max_incomplete_size) if head.is_chunked else None
        )
        if self._has_body():
            self._body = BodyDeadline(trio.current_time(), self._grace)
        stream = self._stream = RequestStream(
            self,
            head,
            head.target,
            "https" if self._is_tls else "http",
            self._client,
            self._server,
            self._config.max_app_queue_size,
        )
        if self._read is not None and self._body is None:
            stream.end_body()
            self.inline = stream
            return
        if head.expects_continue:
            stream.queue.on_wait = self._send_continue
        self._tasks.start(self._app, stream.scope, stream.queue, stream.send, stream.task)
        if self._body is None:
            stream.end_body()

    async def _send_continue(self) -> None:
        """Called when the application waits for the body, so not before a rejection
        (RFC 9110 §10.1.1)."""
        if self._body is not None and self._response is _Response.NOT_BEGUN:
            await self._send_informational(100, [])

    def _is_handshake(self) -> bool:
        head = self._request
        return (
            head is not None and head.upgrades and handshake.is_upgrade(head.method, head.headers)
        )

    async def _open_websocket(self, head: RequestHead) -> None:
        self._is_websocket = True
        if self._read is not None:
            self.websocket = WebSocketTask(self._resume_websocket, self._read)
        stream = self._stream = WebSocketStream(
            self._app,
            self._config,
            self._context,
            self.websocket or self._tasks,
            self._is_tls,
            self._client,
            self._server,
            self.stream_send,
            STREAM_ID,
            error_body=self._error_body,
            observer=self._observer,
            write=self._write,
            one_at_a_time=self.websocket is not None,
        )
        await stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=head.headers,
                http_version=head.version.decode(),
                method=head.method.decode(),
                raw_path=head.target,
                state=self._connection_state,
            )
        )
        if self.websocket is None:
            await self._resume_websocket()

    async def _resume_websocket(self) -> bool:
        """Passes on what was received and not handled yet; False where there is nothing."""
        if self._buffer:
            early, self._buffer = self._buffer, b""
            await self._pass_on(early)
            return True
        return isinstance(self._stream, WebSocketStream) and await self._stream.parse_more()

    async def _pass_on(self, data: bytes) -> None:
        """Bytes of a WebSocket."""
        if data and isinstance(self._stream, WebSocketStream):
            await self._stream.handle(Data(STREAM_ID, data))

    # -- what the application sends

    async def stream_send(self, event: StreamEvent) -> None:
        """What Hypercorn's stream of a WebSocket sends."""
        stream = self._stream
        if not isinstance(stream, WebSocketStream):
            # The request is over, which its application, cancelled, learns here at the latest.
            await trio.lowlevel.checkpoint()
        elif isinstance(event, Response):
            await self.send_head(event.status_code, event.headers)
        elif isinstance(event, Body):
            await self.send_body(event.data)
        elif isinstance(event, EndBody):
            await self._write_out(self._encode_end())
        elif isinstance(event, Data):
            await self._send(RawData(event.data))
        elif isinstance(event, StreamClosed):
            self.is_over = stream.is_close_acknowledged
            await self.abandon_response()

    async def send_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Raises ValueError for fields that are not valid."""
        if status >= 200:
            self._held = self._encode_head(status, headers)
            if self._framing is not _Framing.LENGTH:
                await self._write_out(b"")  # a stream, whose head must not wait
            return
        await self._send_informational(status, headers)
        if self._is_websocket:
            self._request = None  # the upgrade is accepted: HTTP is over
            if self.websocket is not None:
                self.websocket.accepted()
            await self._send(Updated(idle=False))

    async def send_body(self, data: bytes) -> None:
        """Raises ValueError for more than the head has declared."""
        if self._held and len(data) == self._unsent_length <= MAX_JOINED_BODY:
            self._held += self._encode_body(data)  # complete: leaves with the end
            return
        is_stream = not self._held
        if len(data) > MAX_JOINED_BODY:
            await self._write_out(b"")
        await self._write_out(self._encode_body(data))
        if is_stream:
            # The kernel may take everything at once: a long stream must not keep others waiting.
            await trio.lowlevel.checkpoint()

    async def end_response(self) -> None:
        """Raises ValueError for less than the head has declared."""
        await self._write_out(self._encode_end())
        await self._end_request()

    async def abandon_response(self) -> None:
        """Ends the request; the connection with it, unless the response is complete."""
        await self._write_out(b"")
        await self._end_request()

    async def _write_out(self, data: bytes) -> None:
        """Writes what is held back, and `data` behind it."""
        if self._held:
            data, self._held = self._held + data, b""
        if data:
            await self._send(RawData(data))

    async def _end_request(self) -> None:
        """The response is complete, or will never be."""
        await self._close_stream()
        is_reusable = (
            self._response is _Response.COMPLETE
            and not self._closes
            and not self._has_body()
            and not self._is_websocket
        )
        if is_reusable:
            self._request = None
            self._response = _Response.NOT_BEGUN
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None
        await self._send(Updated(idle=True) if is_reusable else Closed())

    async def _close_stream(self) -> None:
        stream, self._stream = self._stream, None
        if isinstance(stream, RequestStream):
            stream.close()
        elif stream is not None:
            await stream.handle(StreamClosed(STREAM_ID))

    # -- encoding responses

    def _encode_head(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
        """The head of the response. Raises ValueError for fields that are not valid."""
        length: int | None = None
        closes = (
            self._request is None
            or not self._request.keep_alive
            or self._is_websocket
            or self._is_draining()
            or self._requests >= self._config.keep_alive_max_requests
            # The rest of an unread body would be read as the next request.
            or self._has_body()
        )
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        for name, value in headers:
            line, kind = _header_line(name, value)
            if kind is not None:
                if kind == b"content-length":
                    if length is not None and length != int(value):
                        raise ValueError("Content-Length twice")
                    length = int(value)
                elif kind == b"transfer-encoding":
                    continue  # ours to choose
                elif kind == b"connection":
                    closes = closes or b"close" in value.lower()
                    if closes:
                        continue
            lines.append(line)
        for name, value in self._config.response_headers("h11"):
            lines.append(_header_line(name, value)[0])
        is_head = self._request is not None and self._request.method == b"HEAD"
        self._framing = _Framing.LENGTH
        if length is None and status not in (204, 304):
            if self._request is not None and self._request.version == b"1.1":
                lines.append(b"transfer-encoding: chunked\r\n")
                self._framing = _Framing.CHUNKED
            else:
                self._framing = _Framing.UNTIL_CLOSE
        if is_head or status in (204, 304):
            self._framing, length = _Framing.LENGTH, 0
        if closes:
            lines.append(_CLOSE)
        lines.append(b"\r\n")
        head = b"".join(lines)
        # One line for each field: no value has a line break of its own.
        if not head.count(b"\n") == head.count(b"\r") == len(lines) or b"\0" in head:
            raise ValueError("illegal header value")
        self._unsent_length = length or 0
        self._closes = closes
        self._response = _Response.BODY
        return head

    def _encode_body(self, data: bytes) -> bytes:
        """Raises ValueError for more than the head has declared."""
        if self._framing is _Framing.CHUNKED:
            return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        if self._framing is _Framing.LENGTH:
            if len(data) > self._unsent_length or self._response is not _Response.BODY:
                self._response = _Response.BROKEN
                raise ValueError("more data than Content-Length")
            self._unsent_length -= len(data)
        return data

    def _encode_end(self) -> bytes:
        """Raises ValueError for less than the head has declared."""
        if self._framing is _Framing.LENGTH and self._unsent_length:
            self._response = _Response.BROKEN
            raise ValueError("less data than Content-Length")
        if self._response is _Response.BODY:
            self._response = _Response.COMPLETE
        return b"0\r\n\r\n" if self._framing is _Framing.CHUNKED else b""

    async def _send_informational(
        self, status: int, headers: Iterable[tuple[bytes, bytes]]
    ) -> None:
        lines = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
        fields = [*headers, *self._config.response_headers("h11")]
        lines += [b"%b%b\r\n" % (_header_prefix(name)[0], value) for name, value in fields]
        lines.append(b"\r\n")
        head = b"".join(lines)
        if head.count(b"\n") != len(lines):
            raise ValueError("illegal header value")
        await self._send(RawData(head))

    async def _send_error(self, status: int) -> None:
        headers, body = self._error_body(status)
        if status == 426:
            headers = [*headers, *_UPGRADE_REQUIRED]
        is_head = self._request is not None and self._request.method == b"HEAD"
        lines = [_STATUS_LINES[status]]
        fields = [*headers, *self._config.response_headers("h11")]
        lines += [b"%b: %b\r\n" % field for field in fields]
        self._response, self._closes = _Response.COMPLETE, True
        await self._send(RawData(b"".join([*lines, _CLOSE, b"\r\n", b"" if is_head else body])))


@lru_cache(maxsize=1024)
def _header_line(name: bytes, value: bytes) -> tuple[bytes, bytes | None]:
    """The field as a line, and its name in lower case if it is one of _FRAMING_FIELDS.

    Most fields of a response are the same in every response. Raises ValueError for what is no
    field name.
    """
    prefix, kind = _header_prefix(name)
    return b"%b%b\r\n" % (prefix, value), kind if kind in _FRAMING_FIELDS else None


@lru_cache(maxsize=512)
def _header_prefix(name: bytes) -> tuple[bytes, bytes]:
    """`name: ` and the name in lower case. Raises ValueError for what is no field name."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("illegal header name")
    return name + b": ", name.lower()
