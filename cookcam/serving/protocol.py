"""Hypercorn's protocols, with four changes to HTTP/1.1.

An answer leaves in one write, says `Connection: close` while the server drains, and has a JSON
body even when the request was too malformed for any application to see it. WebSockets are those
of `cookcam.serving.websocket`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import chain
from typing import Any, cast

import h11
import trio
from hypercorn.events import RawData
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.events import Body, EndBody, Request, Response, StreamClosed
from hypercorn.protocol.events import Event as StreamEvent
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection

from cookcam.serving.websocket import WebSocketStream, Write, is_upgrade

ErrorBody = Callable[[int], tuple[list[tuple[bytes, bytes]], bytes]]
"""Status → (headers, body) for a request so malformed that no application sees it."""

CLOSE = (b"connection", b"close")


class HTTP1(H11Protocol):
    """`draining` is asked for every answer; `error_body` makes the body of protocol errors;
    `write` is for WebSockets."""

    def __init__(
        self,
        *args: Any,
        draining: Callable[[], bool],
        error_body: ErrorBody,
        write: Write | None,
    ) -> None:
        super().__init__(*args)
        self._write = write
        self._draining = draining
        self._error_body = error_body
        self._held = b""
        self._length = -1
        self.over = False
        """Whether the peer has read all and is silent: nothing is lost by closing at once."""

    async def stream_send(self, event: StreamEvent) -> None:
        if isinstance(event, Response) and event.status_code >= 200:
            self._hold_head(event)
            if self._length < 0:
                await self._release()  # length unknown: a stream, whose head must not wait
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
            if isinstance(event, Response) and isinstance(self.connection, H11WSConnection):
                # The upgrade is accepted: nothing of HTTP is left to say.
                self.connection.h11_connection = cast("h11.Connection", None)

    async def _create_stream(self, request: h11.Request) -> None:
        if not request.target.startswith((b"/", b"*")):
            request = h11.Request(
                method=request.method,
                target=_origin_form(request.target),
                headers=request.headers,
                http_version=request.http_version,
            )
        if not is_upgrade(request.method, request.headers):
            await super()._create_stream(request)
            return
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
        self._held = self._encode(h11.Response(headers=headers, status_code=event.status_code))

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

    async def _send_error_response(self, status_code: int) -> None:
        headers, body = self._error_body(status_code)
        head = h11.Response(status_code=status_code, headers=[*headers, CLOSE])
        data = self._encode(head) + self._encode(h11.Data(data=body))
        await self.send(RawData(data + self._encode(h11.EndOfMessage())))


def _origin_form(target: bytes) -> bytes:
    """Path and query of a target in absolute form (RFC 9112 §3.2.2); any other stays as it is."""
    match = re.fullmatch(rb"(?i:https?)://[^/?]*(/?.*)", target)
    if match is None:
        return target
    return match[1] if match[1].startswith(b"/") else b"/" + match[1]


class Protocol(ProtocolWrapper):
    """Chooses HTTP/2 or our HTTP/1.1 by ALPN, as Hypercorn does; arguments are Hypercorn's."""

    def __init__(
        self,
        *args: Any,
        alpn: str,
        draining: Callable[[], bool],
        error_body: ErrorBody,
        write: Write | None,
    ) -> None:
        super().__init__(*args, alpn_protocol=alpn)
        if alpn != "h2":
            self.protocol = HTTP1(*args, draining=draining, error_body=error_body, write=write)
