"""A listening server against bytes of every kind: HTTP/1.1, upgrades, WebSocket frames, and HTTP/2
frames over TLS.

After each input an older connection is still answered, and this server has reported no
failure of its own.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final

import hpack
import pytest
import trio
from attrs import field, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cookcam.config import load
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.errors import malformed_request
from cookcam.http.rate_limit import RateLimits
from cookcam.realtime.engineio import EngineServer, Session
from cookcam.realtime.service import DIRECT
from cookcam.serving.observer import NoObserver
from tests.support.environments import DEVELOPMENT
from tests.support.serving import our_server
from tests.support.tls import Certificate, make_certificate

GET: Final = b"GET /older HTTP/1.1\r\nHost: test\r\n\r\n"
QUIET: Final = 0.002
"""Seconds without a byte from the server after which the next part is sent."""

HEADERS: Final = (
    b"Host: test",
    b"Host: \xff",
    b"Connection: Upgrade",
    b"Connection: keep-alive, Upgrade, HTTP2-Settings",
    b"Connection: close",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Upgrade: websocket, h2c",
    b"HTTP2-Settings: A",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Sec-WebSocket-Key: \xe9",
    b"Sec-WebSocket-Version: 13",
    b"Sec-WebSocket-Version: 8",
    b"Sec-WebSocket-Protocol: chat, \xe9",
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=x",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip",
    b"Expect: 100-continue",
    b"X-Request-ID: \xe9",
    b"X-Forwarded-For: \xff, 1.2.3.4",
    b"Origin: \xe9",
    b"Authorization: Bearer \xe9",
    b"Content-Type: application/json; charset=\xe9",
    b"Cookie: \x01",
    b" folded",
    b"no colon",
)
TARGETS: Final = (
    b"/",
    b"/socket.io/?EIO=4&transport=websocket",
    b"/socket.io/?EIO=4&transport=polling",
    b"/socket.io/?EIO=%ff&transport=%00",
    b"/%ff%00/..//",
    b"/a?%zz&=&[]",
    b"*",
    b"http://[::1/x",
    b"a:1",
    b"/\xc3\xa9",
)
METHODS: Final = (b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"get", b"G\xc9T")
VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9.9", b"")
BODIES: Final = (
    b"",
    b"hello",
    b"5\r\nhello\r\n0\r\n\r\n",
    b"ffffffffff\r\n",
    b"-1\r\n",
    b"SM\r\n\r\n",
)
HANDSHAKE: Final = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PSEUDO: Final = (
    (b":method", b"GET"),
    (b":method", b"CONNECT"),
    (b":method", b"P\xc3\xa9"),
    (b":path", b"/"),
    (b":path", b"/\xc3\xa9"),
    (b":path", b""),
    (b":scheme", b"https"),
    (b":authority", b"test"),
    (b":protocol", b"websocket"),
    (b":unknown", b""),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-protocol", b"\xe9"),
    (b"content-length", b"5"),
    (b"content-length", b"x"),
    (b"transfer-encoding", b"chunked"),
    (b"connection", b"close"),
    (b"te", b"trailers"),
    (b"Upper", b"x"),
    (b"", b""),
)
WHOLE_HEAD: Final = [
    (b":method", b"POST"),
    (b":path", b"/socket.io/?EIO=4&transport=polling"),
    (b":scheme", b"https"),
    (b":authority", b"test"),
]


@st.composite
def http1_request(draw: st.DrawFn) -> bytes:
    line = [draw(st.sampled_from(part)) for part in (METHODS, TARGETS, VERSIONS)]
    headers = draw(st.lists(st.sampled_from(HEADERS), max_size=10, unique=True))
    body = draw(st.sampled_from(BODIES))
    return b"\r\n".join([b" ".join(line), *headers, b"", b""]) + body


@st.composite
def websocket_frame(draw: st.DrawFn) -> bytes:
    first = draw(st.integers(0, 15)) | draw(st.sampled_from((0x80, 0x80, 0, 0xC0, 0xF0)))
    payload = draw(st.sampled_from((b"2probe", b"42[]", b"\xff\xfe", b"", b"\x03\xe8"))) + draw(
        st.binary(max_size=20)
    )
    mask = draw(st.sampled_from((0x80, 0x80, 0x80, 0)))
    length = draw(st.one_of(st.just(len(payload)), st.integers(0, 125)))
    return bytes([first, mask | length]) + (bytes(4) if mask else b"") + payload


@st.composite
def http2_frame(draw: st.DrawFn) -> bytes:
    kind = draw(st.integers(0, 12))
    stream = draw(st.sampled_from((0, 1, 1, 3, 3, 5, 2, 2**31 - 1)))
    flags = draw(st.sampled_from((0, 1, 4, 5, 8, 0x24, 0x25, 0xFF)))
    if kind == 1:
        head = draw(st.sampled_from((WHOLE_HEAD, WHOLE_HEAD, [])))
        more = draw(st.lists(st.sampled_from(PSEUDO), max_size=6))
        payload = hpack.Encoder().encode([*head, *more])
        flags = draw(st.sampled_from((4, 4, 5, 5, flags)))
    else:
        fields = st.sampled_from((b"", bytes(4), bytes(5), bytes(8), b"\0\4\0\0\0\0", b"\xff" * 4))
        payload = draw(st.one_of(fields, st.binary(max_size=40)))
    size = draw(st.one_of(st.just(len(payload)), st.just(len(payload)), st.integers(0, 70_000)))
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


PLAIN = st.one_of(
    st.lists(http1_request(), min_size=1, max_size=3),
    st.lists(websocket_frame(), min_size=1, max_size=5).map(lambda frames: [HANDSHAKE, *frames]),
    st.lists(websocket_frame(), min_size=1, max_size=3).map(
        lambda frames: [HANDSHAKE + b"".join(frames)]
    ),
    st.lists(st.binary(max_size=60), min_size=1, max_size=3),
)
SETTINGS_FRAME: Final = b"\0\0\0\4\0\0\0\0\0"
OVER_TLS = st.one_of(
    st.lists(http2_frame(), min_size=1, max_size=8).map(
        lambda frames: [PREFACE + SETTINGS_FRAME, *frames]
    ),
    st.lists(http2_frame(), min_size=1, max_size=8).map(
        lambda frames: [PREFACE + SETTINGS_FRAME + b"".join(frames)]
    ),
    st.lists(st.binary(max_size=60), min_size=1, max_size=3),
)


@frozen
class Faults(NoObserver):
    """Records failures of this server."""

    errors: list[BaseException] = field(factory=list[BaseException])

    def connection_failed(self, error: BaseException) -> None:
        self.errors.append(error)

    application_failed = connection_failed


@asynccontextmanager
async def listening(certificate: Certificate | None) -> AsyncIterator[tuple[int, Faults]]:
    """The edge, the routes' app and an Engine.IO server behind a real listener."""
    config = load(DEVELOPMENT)
    limits = RateLimits({})
    routes = create_app(config, [], limits=limits)

    async def handler(session: Session) -> None:
        async for _ in session:
            pass

    async with EngineServer(handler, direct=DIRECT) as engine:

        async def dispatch(scope: Any, receive: Any, send: Any) -> None:
            is_socket = scope["path"].startswith("/socket.io/") or scope["type"] == "websocket"
            await (engine if is_socket else routes)(scope, receive, send)

        edge = Edge(dispatch, config, limits=limits)
        async with our_server(edge, certificate) as (port, server):
            server.observer, server.error_body = Faults(), malformed_request
            yield port, server.observer


async def connect(port: int, certificate: Certificate | None, alpn: str) -> Any:
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    if certificate is None:
        return tcp
    context = certificate.client_context(alpn)
    stream = trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)
    await stream.do_handshake()
    return stream


async def attack(inputs: Sequence[Sequence[bytes]], certificate: Certificate | None) -> None:
    with trio.fail_after(60):
        async with listening(certificate) as (port, faults):
            older = await connect(port, certificate, "http/1.1")
            for parts in inputs:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    stream = await connect(port, certificate, "h2")
                    for part in parts:
                        await stream.send_all(part)
                        with trio.move_on_after(QUIET):
                            await stream.receive_some()
                await trio.aclose_forcefully(stream)
                assert faults.errors == []
                await older.send_all(GET)
                response = await older.receive_some()
                assert bytes(response).startswith(b"HTTP/1.1 404 Not Found\r\n")
            await trio.aclose_forcefully(older)


bounded = partial(
    settings, deadline=None, suppress_health_check=list(HealthCheck), max_examples=120
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@bounded()
@given(st.lists(PLAIN, min_size=4, max_size=12))
def test_an_older_connection_is_answered_after_any_bytes(inputs: list[list[bytes]]) -> None:
    trio.run(attack, inputs, None)


@bounded()
@given(inputs=st.lists(OVER_TLS, min_size=4, max_size=12))
def test_an_older_connection_is_answered_after_any_bytes_over_tls(
    inputs: list[list[bytes]], certificate: Certificate
) -> None:
    trio.run(attack, inputs, certificate)
