"""HTTP/2, where TLS chose it by ALPN: h2 for the frames, Hypercorn's streams for ASGI.

Two tasks write to a connection, and no request's cancellation reaches them: the reader writes what
h2 answers by itself, the sender writes responses. A request task changes h2's state and wakes the
sender: one that is cancelled in the middle leaves whole frames behind, and the connection to the
other requests.

Streams share the connection in turn, without priorities (RFC 9113 §5.3.2). Server push, trailers
and CONNECT to anything but a WebSocket (RFC 8441) are not offered.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import trio
from attrs import define, field
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import (
    Body,
    Data,
    EndBody,
    EndData,
    InformationalResponse,
    Request,
    Response,
    StreamClosed,
)
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState
from hypercorn.utils import filter_pseudo_headers

from cookcam.serving import handshake
from cookcam.serving.observer import ConnectionObserver
from cookcam.serving.request_parser import is_host
from cookcam.serving.states import BODY_GRACE, MAX_DISCARDED, BodyDeadline, State
from cookcam.serving.tasks import RequestTasks
from cookcam.serving.websocket import ErrorBody, WebSocketStream

Headers = list[tuple[bytes, bytes]]

BUFFER_LIMIT: Final = 2**15
"""Bytes of a response that wait for the peer's window before its application waits too."""
MAX_WRITE: Final = 2**16
"""Bytes of responses in one write: a slow peer has WRITE_TIMEOUT for each."""
MAX_RESETS: Final = 1000
"""Requests a peer may cancel on one connection; each has cost a task (CVE-2023-44487)."""

_TARGET = re.compile(rb"/[\x21-\x7e]*|\*")
_METHOD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UPGRADE_REQUIRED = [(b"sec-websocket-version", handshake.VERSION)]
_OF_HTTP1 = frozenset({b"connection", b"keep-alive", b"transfer-encoding", b"upgrade"})


@define(eq=False)
class _Stream:
    """One request and what is left to send of its response."""

    asgi: HTTPStream | WebSocketStream
    body: BodyDeadline | None = None
    """None once the request is complete, and for a WebSocket."""
    unsent: bytearray = field(factory=bytearray)
    is_ended: bool = False
    """The application has sent everything."""
    is_finished: bool = False
    """So have we."""
    changed: trio.Event = field(factory=trio.Event)
    """`unsent` has become shorter, or the stream is over."""

    def notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()


class HTTP2:
    """The protocol of one connection. `write_timeout` gives the seconds for which a stream may wait
    for its peer's window."""

    is_over = False
    inline = websocket = None
    """The application of each stream has a task of its own."""
    is_forwarded = False
    """Proxies speak HTTP/1.1 to this server."""

    def __init__(
        self,
        app: ASGIFramework,
        config: Config,
        context: WorkerContext,
        tasks: RequestTasks,
        state: ConnectionState,
        client: tuple[str, int] | None,
        server: tuple[str, int] | None,
        send: Callable[[Event], Awaitable[None]],
        *,
        error_body: ErrorBody,
        observer: ConnectionObserver,
        write_timeout: Callable[[], float],
    ) -> None:
        self._config = config
        self._tasks = tasks
        self._state = state
        self._send = send
        self._error_body = error_body
        self._observer = observer
        self._write_timeout = write_timeout
        self._of_every_stream: Any = (app, config, context, tasks, True, client, server)
        self._streams: dict[int, _Stream] = {}
        self._wake = trio.Event()
        self._grace = BODY_GRACE
        self._resets = 0
        self._unused = 0
        """Bytes received since the last that belonged to a request."""
        self._closed = False
        codes = h2.settings.SettingCodes
        self._connection = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding=None)
        )
        self._connection.local_settings = h2.settings.Settings(
            client=False,
            initial_values={
                codes.MAX_CONCURRENT_STREAMS: config.h2_max_concurrent_streams,
                codes.MAX_HEADER_LIST_SIZE: config.h2_max_header_list_size,
                codes.ENABLE_CONNECT_PROTOCOL: 1,
            },
        )

    @property
    def state(self) -> State:
        streams = self._streams.values()
        if not streams:
            return State.IDLE
        if any(stream.body is not None for stream in streams):
            return State.BODY
        if any(isinstance(stream.asgi, WebSocketStream) for stream in streams):
            return State.WEBSOCKET
        return State.RESPONSE

    @property
    def body_deadline(self) -> float:
        return min(s.body.when for s in self._streams.values() if s.body is not None)

    def shorten_grace(self, grace: float) -> None:
        """From now on a body may stall for `grace` seconds only, and a response for what
        `write_timeout` says now."""
        self._grace = grace
        for stream in self._streams.values():
            stream.notify()
            if stream.body is not None:
                stream.body.shorten(grace, trio.current_time())

    async def initiate(self) -> None:
        self._connection.initiate_connection()
        await self._flush()
        self._tasks.spawn(self._send_responses)

    async def reject(self, status: int) -> None:
        """Ends the connection because of an error: ours with status 500, else the peer's."""
        codes = h2.errors.ErrorCodes
        await self._go_away(codes.INTERNAL_ERROR if status == 500 else codes.NO_ERROR)
        await self._send(Closed())

    async def announce_close(self) -> None:
        """GOAWAY, so that the client knows which requests were not handled (RFC 9113 §6.8)."""
        await self._go_away(h2.errors.ErrorCodes.NO_ERROR)

    async def _go_away(self, code: h2.errors.ErrorCodes) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self._connection.close_connection(code)
        await self._flush()

    async def _calm_down(self) -> None:
        """Ends the connection of a peer that sends too much (RFC 9113 §10.5)."""
        await self._go_away(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM)
        await self._send(Closed())

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData):
            self._unused += len(event.data)
            try:
                events = self._connection.receive_data(event.data)
            except h2.exceptions.ProtocolError as error:
                # Its text quotes what the peer sent.
                self._observer.peer_failed("http2", type(error).__name__)
                await self._flush()  # h2 has made a GOAWAY
                await self._send(Closed())
            else:
                for received in events:
                    await self._receive(received)
                if self._unused > MAX_DISCARDED:
                    self._observer.peer_failed("http2", "too much data of no request")
                    await self._calm_down()
                await self._flush()
        elif isinstance(event, Closed) and not self._closed:
            self._closed = True
            for stream_id in list(self._streams):
                await self._drop(stream_id)
            self._wake_sender()

    # -- what the peer sends

    async def _receive(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            assert event.stream_id is not None  # noqa: S101 - h2's types say less than h2 does
            assert event.headers is not None  # noqa: S101
            headers = [(bytes(name), bytes(value)) for name, value in event.headers]
            await self._begin(event.stream_id, headers, is_complete=event.stream_ended is not None)
        elif isinstance(event, h2.events.DataReceived):
            await self._receive_data(event)
        elif isinstance(event, h2.events.StreamEnded):
            stream = self._streams.get(event.stream_id or 0)
            if stream is not None and isinstance(stream.asgi, WebSocketStream):
                await self._finish(stream.asgi.stream_id)
            elif stream is not None:
                stream.body = None
                await stream.asgi.handle(EndBody(stream.asgi.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            await self._receive_reset(event.stream_id or 0)
        elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
            self._wake_sender()
        elif isinstance(event, h2.events.ConnectionTerminated):
            await self._send(Closed())

    async def _begin(self, stream_id: int, headers: Headers, *, is_complete: bool) -> None:
        self._unused = 0
        pseudo = {name: value for name, value in headers if name.startswith(b":")}
        method, path = pseudo.get(b":method", b""), pseudo.get(b":path", b"")
        plain = filter_pseudo_headers(headers)
        is_websocket = method == b"CONNECT"
        status = None
        if not _METHOD.fullmatch(method):
            status = 400
        elif method != method.upper():
            status = 501  # RFC 9110 §9.1: methods are case-sensitive
        elif not all(is_host(value) for name, value in plain if name == b"host"):
            status = 400
        elif is_websocket and pseudo.get(b":protocol") != b"websocket":
            status = 501
        elif not _TARGET.fullmatch(path):
            status = 400
        elif is_websocket:
            status = handshake.rejection_status(plain, http2=True)
        if status is not None:
            self._observer.peer_failed("websocket" if is_websocket else "http2", f"status {status}")
            self._reject_request(stream_id, status, is_complete=is_complete)
            return
        stream = self._streams[stream_id] = _Stream(self._asgi_stream(stream_id, is_websocket))
        if not is_complete and not is_websocket:
            stream.body = BodyDeadline(trio.current_time(), self._grace)
        await self._send(Updated(idle=False))
        await stream.asgi.handle(
            Request(
                stream_id=stream_id,
                headers=plain,
                http_version="2",
                method=method.decode(),
                raw_path=path,
                state=self._state,
            )
        )

    def _asgi_stream(self, stream_id: int, is_websocket: bool) -> HTTPStream | WebSocketStream:
        if not is_websocket:
            make: Any = HTTPStream
            return make(*self._of_every_stream, self.stream_send, stream_id)
        return WebSocketStream(
            *self._of_every_stream,
            self.stream_send,
            stream_id,
            error_body=self._error_body,
            observer=self._observer,
            write=None,
        )

    def _reject_request(self, stream_id: int, status: int, *, is_complete: bool) -> None:
        """Responds to a request that is not passed to the application."""
        headers, body = self._error_body(status)
        more = _UPGRADE_REQUIRED if status == 426 else []
        codes = h2.errors.ErrorCodes
        with suppress(h2.exceptions.ProtocolError):
            if self._connection.local_flow_control_window(stream_id) < len(body):
                self._connection.reset_stream(stream_id, codes.PROTOCOL_ERROR)
                return
            self._send_head(stream_id, status, [*headers, *more])
            self._connection.send_data(stream_id, body, end_stream=True)
            if not is_complete:
                self._connection.reset_stream(stream_id, codes.NO_ERROR)

    async def _receive_data(self, event: h2.events.DataReceived) -> None:
        stream_id, data = event.stream_id or 0, event.data or b""
        stream = self._streams.get(stream_id)
        if stream is not None and data:
            self._unused = 0
            before = trio.current_time()
            await stream.asgi.handle(Body(stream_id, data))
            if stream.body is not None:
                now = trio.current_time()
                stream.body.received(len(data), now, now - before)
        # Also for a request whose response is complete.
        with suppress(h2.exceptions.ProtocolError):
            self._connection.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)

    async def _receive_reset(self, stream_id: int) -> None:
        await self._drop(stream_id)
        self._resets += 1
        if self._resets > MAX_RESETS:
            self._observer.peer_failed("http2", "too many resets")
            await self._calm_down()
        elif not self._streams:
            await self._send(Updated(idle=True))

    # -- what the application sends

    async def stream_send(self, event: StreamEvent) -> None:
        stream_id = event.stream_id
        stream = self._streams.get(stream_id)
        if stream is None:
            # The request is over, which its application, cancelled, learns here at the latest.
            await trio.lowlevel.checkpoint()
            return
        try:
            if isinstance(event, Response | InformationalResponse):
                self._send_head(stream_id, event.status_code, event.headers)
                self._wake_sender()
            elif isinstance(event, Body | Data):
                stream.unsent += event.data
                self._wake_sender()
                await self._wait_until_sent(stream, below=BUFFER_LIMIT)
            elif isinstance(event, EndBody | EndData):
                stream.is_ended = True
                self._wake_sender()
                await self._wait_until_sent(stream, below=1)
            elif isinstance(event, StreamClosed):
                await self._finish(stream_id)
        except h2.exceptions.ProtocolError:
            await self._lose(stream_id)  # the peer was faster and has closed it

    def _send_head(self, stream_id: int, status: int, headers: Headers) -> None:
        self._connection.send_headers(
            stream_id,
            [
                (b":status", b"%d" % status),
                *((name, value) for name, value in headers if name.lower() not in _OF_HTTP1),
                *self._config.response_headers("h2"),
            ],
        )

    async def _wait_until_sent(self, stream: _Stream, *, below: int) -> None:
        """Returns when less than `below` bytes wait for the peer's window; a peer that does not
        open it in time loses the stream."""
        stream_id = stream.asgi.stream_id
        deadline = math.inf
        while len(stream.unsent) >= below and self._streams.get(stream_id) is stream:
            # The timeout is shorter once the server drains.
            deadline = min(deadline, trio.current_time() + self._write_timeout())
            with trio.CancelScope(deadline=deadline) as waiting:
                await stream.changed.wait()
            if waiting.cancelled_caught:
                self._observer.peer_failed("timeout", "HTTP/2 window")
                self._reset(stream_id, h2.errors.ErrorCodes.CANCEL)
                await self._lose(stream_id)

    async def _lose(self, stream_id: int) -> None:
        """Forgets the stream of the calling request, which is cancelled by that."""
        await self._drop(stream_id)
        with trio.CancelScope(shield=True):
            await self._send(Updated(idle=not self._streams))

    async def _finish(self, stream_id: int) -> None:
        """The application is done, or a WebSocket's peer is: whatever is still open is reset."""
        stream = self._streams[stream_id]
        codes = h2.errors.ErrorCodes
        if isinstance(stream.asgi, WebSocketStream):
            stream.is_ended = True  # its last frame may be waiting still
            while self._queue_frame(stream_id, stream):
                pass
        elif stream.is_ended:
            self._queue_frame(stream_id, stream)
        if not stream.is_finished:
            self._reset(stream_id, codes.INTERNAL_ERROR)  # never like a complete response
        elif stream.body is not None:
            self._reset(stream_id, codes.NO_ERROR)  # RFC 9113 §8.1
        await self._drop(stream_id)
        self._wake_sender()
        await self._send(Updated(idle=not self._streams))

    def _reset(self, stream_id: int, code: h2.errors.ErrorCodes) -> None:
        with suppress(h2.exceptions.ProtocolError):
            self._connection.reset_stream(stream_id, code)
        self._wake_sender()

    async def _drop(self, stream_id: int) -> None:
        """Forgets a stream; its application hears that the client has left."""
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.unsent.clear()
            stream.notify()
            await stream.asgi.handle(StreamClosed(stream_id))

    # -- writing

    def _wake_sender(self) -> None:
        self._wake.set()

    async def _send_responses(self) -> None:
        """A task of its own: until the connection is closed."""
        while not self._closed:
            self._wake = trio.Event()
            self._queue_data()
            if not await self._flush():
                await self._wake.wait()

    def _queue_data(self) -> None:
        """Gives h2 what the windows of the peer let through, a frame of each stream in turn."""
        left = MAX_WRITE
        for stream_id, stream in list(self._streams.items()):
            if left <= 0:
                return
            if stream.unsent or (stream.is_ended and not stream.is_finished):
                left -= self._queue_frame(stream_id, stream)
                # A stream that was served is the last in the next round.
                self._streams[stream_id] = self._streams.pop(stream_id)

    def _queue_frame(self, stream_id: int, stream: _Stream) -> int:
        """Bytes of one frame, 0 when the window is closed or there is nothing to send. Ends the
        stream after the last of them."""
        if stream.is_finished:
            return 0
        try:
            size = min(
                self._connection.local_flow_control_window(stream_id),
                self._connection.max_outbound_frame_size,
                len(stream.unsent),
            )
            if size > 0:
                self._connection.send_data(stream_id, bytes(stream.unsent[:size]))
                del stream.unsent[:size]
            if stream.is_ended and not stream.unsent:
                stream.is_finished = True
                self._connection.end_stream(stream_id)
        except h2.exceptions.ProtocolError:
            # The peer has closed it, as the reader is about to see.
            stream.is_finished = True
            stream.unsent.clear()
            size = 0
        stream.notify()
        return max(size, 0)

    async def _flush(self) -> bool:
        """Writes what h2 has made; False when that is nothing."""
        data = self._connection.data_to_send()
        if data:
            await self._send(RawData(data))
        return bool(data)
