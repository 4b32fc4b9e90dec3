"""HTTP/1.1: h11 and Hypercorn's ASGI glue, and what both leave to the server.

- A response of known length leaves in one write, has a reason phrase, and says
  `Connection: close` while the server drains.
- What is refused before an application sees it has a JSON body: malformed requests, requests whose
  framing is ambiguous (RFC 9112 §6.1), versions that are not HTTP/1 (RFC 9110 §15.6.6), and
  WebSocket handshakes that are none (RFC 6455 §4.2.2).
- No upgrade but to a WebSocket: neither `Upgrade: h2c` nor HTTP/2 with prior knowledge.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from itertools import chain
from typing import Any, Final, cast

import h11
import trio
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import Body, Data, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection
from hypercorn.protocol.ws_stream import ASGIWebsocketState

from cookcam.serving import handshake
from cookcam.serving.observer import ConnectionObserver
from cookcam.serving.states import BODY_GRACE, BodyDeadline, State
from cookcam.serving.websocket import ErrorBody, WebSocketStream, Write

CLOSE = (b"connection", b"close")
_UPGRADE_REQUIRED = (
    (b"sec-websocket-version", handshake.VERSION),
    (b"upgrade", b"websocket"),
    (b"connection", b"upgrade"),
)
_REASONS: Final = {status.value: status.phrase.encode() for status in HTTPStatus}


class HTTP1(H11Protocol):
    """`draining` is asked for every response; `error_body` makes the body of protocol errors;
    `write` is for WebSockets."""

    def __init__(
        self,
        *args: Any,
        draining: Callable[[], bool],
        error_body: ErrorBody,
        observer: ConnectionObserver,
        write: Write | None,
    ) -> None:
        super().__init__(*args)
        self._write = write
        self._draining = draining
        self._error_body = error_body
        self._observer = observer
        self._held = b""
        self._length = -1
        self._is_head = False
        self._grace = BODY_GRACE
        self._body: BodyDeadline | None = None
        self.over = False
        """Whether the peer has read all and is silent: nothing is lost by closing at once."""

    @property
    def state(self) -> State:
        if isinstance(self.connection, H11WSConnection):
            undecided = (
                isinstance(self.stream, WebSocketStream)
                and self.stream.state is ASGIWebsocketState.HANDSHAKE
            )
            return State.RESPONSE if undecided else State.WEBSOCKET
        if self._body is not None:
            return State.BODY
        if self.stream is not None:
            return State.RESPONSE
        return State.HEAD if self.connection.trailing_data[0] else State.IDLE

    @property
    def body_deadline(self) -> float:
        assert self._body is not None  # noqa: S101 - the state is BODY
        return self._body.when

    def shorten_grace(self, grace: float) -> None:
        """From now on a body may stall for `grace` seconds only."""
        self._grace = grace
        if self._body is not None:
            self._body.shorten(grace, trio.current_time())

    async def refuse(self, status: int) -> None:
        """Answers whatever is going on with an error, if no response has begun, and closes."""
        if isinstance(self.connection, H11WSConnection):
            if isinstance(self.stream, WebSocketStream):
                await self.stream.fail()
        elif self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            await self._close_stream()
            await self._send_error_response(status)
        await self.send(Closed())

    async def say_goodbye(self) -> None:
        """HTTP/1.1 has no words for it."""

    async def _handle_events(self) -> None:
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_informational(100, self.config.response_headers("h11"))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                # What follows a colon is what the peer sent, which may be a token.
                self._observer.peer_failed("http1", str(error).partition(":")[0])
                await self.refuse(error.error_status_hint)
                return
            if isinstance(event, h11.Request):
                await self.send(Updated(idle=False))
                await self._begin(event)
            elif event is h11.PAUSED:
                await self.can_read.clear()
                await self.can_read.wait()
            elif (
                isinstance(event, h11.ConnectionClosed)
                or event is h11.NEED_DATA
                or self.stream is None
            ):
                return
            elif isinstance(event, h11.Data):
                before = trio.current_time()
                await self.stream.handle(Body(stream_id=STREAM_ID, data=event.data))
                if self._body is not None:
                    now = trio.current_time()
                    self._body.received(len(event.data), now, now - before)
            elif isinstance(event, h11.EndOfMessage):
                self._body = None
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            elif isinstance(event, Data):
                await self.stream.handle(event)

    async def _begin(self, request: h11.Request) -> None:
        self._is_head = request.method == b"HEAD"
        upgrades = handshake.is_upgrade(request.method, request.headers)
        status = _refusal(request, upgrades=upgrades)
        if status is not None:
            self._observer.peer_failed("websocket" if upgrades else "http1", f"status {status}")
            await self._send_error_response(status, _UPGRADE_REQUIRED if status == 426 else ())
            await self.send(Closed())
            return
        if not request.target.startswith((b"/", b"*")):
            request = h11.Request(
                method=request.method,
                target=_origin_form(request.target),
                headers=request.headers,
                http_version=request.http_version,
            )
        if upgrades:
            await self._open_websocket(request)
            return
        # Whether there is one: h11 says so with the next event.
        self._body = BodyDeadline(trio.current_time(), self._grace)
        await self._create_stream(request)

    async def _open_websocket(self, request: h11.Request) -> None:
        self.stream = WebSocketStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
            error_body=self._error_body,
            observer=self._observer,
            write=self._write,
        )
        self.connection = H11WSConnection(cast("h11.Connection", self.connection))
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode(),
                method=request.method.decode("ascii"),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def stream_send(self, event: StreamEvent) -> None:
        if self.stream is None:
            # The request is over, which its application, cancelled, learns here at the latest.
            await trio.lowlevel.checkpoint()
            return
        if isinstance(event, Response) and event.status_code >= 200:
            self._hold_head(event)
            if self._length < 0:
                await self._release()  # length unknown: a stream, whose head must not wait
        elif isinstance(event, Response):
            await self._send_informational(
                event.status_code, [*event.headers, *self.config.response_headers("h11")]
            )
            if isinstance(self.connection, H11WSConnection):
                # The upgrade is accepted: nothing of HTTP is left to say.
                self.connection.h11_connection = cast("h11.Connection", None)
                await self.send(Updated(idle=False))
        elif isinstance(event, Body) and self._held:
            complete = len(event.data) == self._length
            self._held += self._encode(h11.Data(data=event.data))
            if not complete:
                await self._release()
        elif isinstance(event, Body):
            await super().stream_send(event)
            # The kernel may take everything at once: a long stream must not keep others waiting.
            await trio.lowlevel.checkpoint()
        elif isinstance(event, EndBody):
            self._held += self._encode(h11.EndOfMessage())
            await self._release()
        else:
            if isinstance(event, StreamClosed):
                self.over = isinstance(self.stream, WebSocketStream) and self.stream.answered
                if self._held:
                    await self._release()
            await super().stream_send(event)

    def _hold_head(self, event: Response) -> None:
        """Encodes the head and keeps it: head and body leave in one write."""
        headers = list(chain(event.headers, self.config.response_headers("h11")))
        if (
            self._draining()
            or self.keep_alive_requests >= self.config.keep_alive_max_requests
            # The rest of a body that nobody waited for cannot be told from a next request.
            or self.connection.their_state is h11.SEND_BODY
        ):
            headers.append(CLOSE)
        self._length = -1
        for name, value in event.headers:
            if name.lower() == b"content-length":
                self._length = int(value)
        self._held = self._encode(_head(event.status_code, headers))

    def _encode(self, event: h11.Response | h11.Data | h11.EndOfMessage) -> bytes:
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            # As in Hypercorn: after a malformed request the answer can no longer be sent.
            if self.connection.their_state is not h11.ERROR:
                raise
            return b""

    async def _release(self) -> None:
        data, self._held = self._held, b""
        if data:
            await self.send(RawData(data))

    async def _send_informational(
        self, status_code: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        reason = _REASONS.get(status_code, b"")
        await self._send_h11_event(
            h11.InformationalResponse(status_code=status_code, headers=headers, reason=reason)
        )

    async def _send_error_response(
        self, status_code: int, more_headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        headers, body = self._error_body(status_code)
        data = self._encode(_head(status_code, [*headers, *more_headers, CLOSE]))
        if not self._is_head:
            data += self._encode(h11.Data(data=body))
        await self.send(RawData(data + self._encode(h11.EndOfMessage())))


def _head(status_code: int, headers: list[tuple[bytes, bytes]]) -> h11.Response:
    reason = _REASONS.get(status_code, b"")
    return h11.Response(status_code=status_code, headers=headers, reason=reason)


def _refusal(request: h11.Request, *, upgrades: bool) -> int | None:
    """The status for a well-formed request that no application is to see, None for any other."""
    if not request.http_version.startswith(b"1."):
        return 505
    if request.method == b"CONNECT":
        return 501  # RFC 9110 §9.3.6: this is no proxy
    is_1_0 = request.http_version == b"1.0"
    if upgrades:
        return 400 if is_1_0 else handshake.refusal(request.headers, http2=False)
    has_length = has_coding = False
    for name, _ in request.headers:
        if name == b"content-length":
            has_length = True
        elif name == b"transfer-encoding":
            has_coding = True
    # RFC 9112 §6.1: where a proxy and a server read such a framing differently, one request
    # hides another.
    if has_coding and (has_length or is_1_0):
        return 400
    return None


def _origin_form(target: bytes) -> bytes:
    """Path and query of a target in absolute form (RFC 9112 §3.2.2); any other stays as it is."""
    match = re.fullmatch(rb"(?i:https?)://[^/?]*(/?.*)", target)
    if match is None:
        return target
    return match[1] if match[1].startswith(b"/") else b"/" + match[1]
