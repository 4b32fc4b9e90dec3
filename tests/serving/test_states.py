"""Every state of a connection has a deadline: a peer that stops in it is closed in time, and does
not hold a drain. The clock is virtual, the server is real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.settings
import pytest
import trio
import trio.lowlevel
import trio.testing
from attrs import frozen

from cookcam.http.errors import malformed_request
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.lifecycle.work import Work
from cookcam.serving.connection import Connection
from cookcam.serving.listener import Peer
from cookcam.serving.server import Server, protocol_config
from cookcam.serving.states import (
    BODY_GRACE,
    CLOSING_TIMEOUT,
    HEAD_TIMEOUT,
    MIN_BODY_RATE,
    MIN_DRAIN_GRACE,
    RESPONSE_TIMEOUT,
    TLS_HANDSHAKE_TIMEOUT,
    WRITE_TIMEOUT,
    State,
)
from tests.serving.test_containment import GET, HANDSHAKE, KEY, UPGRADE, VERSION, headers_of
from tests.support.program import MemoryListener
from tests.support.serving import sample_app
from tests.support.tls import make_certificate

KEEP_ALIVE = 75.0
SILENCE = 300.0
POST = b"POST /echo HTTP/1.1\r\nHost: t\r\n"
FRAME = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi"


async def stubborn_app(scope: Any, receive: Any, send: Any) -> None:
    """`sample_app`, and paths whose response never begins or never ends."""
    path = scope["path"]
    if path == "/forever":
        await trio.sleep_forever()
    if path == "/endless":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})
    await sample_app(scope, receive, send)


def http2(*requests: tuple[list[tuple[bytes, bytes]], bool], window: int = 65_535) -> bytes:
    """The preface and the heads of requests, each with whether it ends there."""
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.local_settings[h2.settings.SettingCodes.INITIAL_WINDOW_SIZE] = window
    connection.initiate_connection()
    for headers, ends in requests:
        number = connection.get_next_available_stream_id()
        connection.send_headers(number, headers, end_stream=ends)
    return connection.data_to_send()


@frozen
class Peers:
    """A peer that sends this and stops: the state it stops in, and when it has to be closed."""

    sent: bytes
    state: State
    seconds: float
    drain_seconds: float = 0.0
    tls: bool = False
    handshakes: bool = True
    reads: bool = True


HTTP2_GET = http2((headers_of(b"/a"), True))

CASES = {
    "silent": Peers(b"", State.IDLE, KEEP_ALIVE),
    "silent after a response": Peers(GET, State.IDLE, KEEP_ALIVE),
    "half a request line": Peers(b"GET / HT", State.HEAD, HEAD_TIMEOUT),
    "half a head after a response": Peers(GET + b"GET / HT", State.HEAD, HEAD_TIMEOUT),
    "no body": Peers(POST + b"Content-Length: 5\r\n\r\n", State.BODY, BODY_GRACE, MIN_DRAIN_GRACE),
    "half a body": Peers(
        POST + b"Content-Length: 5\r\n\r\nab", State.BODY, BODY_GRACE, MIN_DRAIN_GRACE
    ),
    "half a chunk": Peers(
        POST + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab", State.BODY, BODY_GRACE, MIN_DRAIN_GRACE
    ),
    "a response that never comes": Peers(
        GET.replace(b"/alive", b"/forever"), State.RESPONSE, RESPONSE_TIMEOUT, RESPONSE_TIMEOUT
    ),
    "a response that is not read": Peers(
        GET.replace(b"/alive", b"/endless"),
        State.RESPONSE,
        WRITE_TIMEOUT,
        MIN_DRAIN_GRACE,
        reads=False,
    ),
    "an open WebSocket": Peers(HANDSHAKE + b"\r\n", State.WEBSOCKET, SILENCE, SILENCE),
    "an open WebSocket with half a frame": Peers(
        HANDSHAKE + b"\r\n" + FRAME[:3], State.WEBSOCKET, SILENCE, SILENCE
    ),
    "a WebSocket without a decision": Peers(
        HANDSHAKE.replace(b"GET /", b"GET /forever") + b"\r\n",
        State.RESPONSE,
        RESPONSE_TIMEOUT,
        RESPONSE_TIMEOUT,
    ),
    "an early frame without a decision": Peers(
        HANDSHAKE.replace(b"GET /", b"GET /forever") + b"\r\n" + FRAME,
        State.RESPONSE,
        RESPONSE_TIMEOUT,
        RESPONSE_TIMEOUT,
    ),
    "a handshake without a key": Peers(
        UPGRADE + VERSION + b"\r\n", State.CLOSING, CLOSING_TIMEOUT, CLOSING_TIMEOUT
    ),
    "a handshake of version 12": Peers(
        UPGRADE + KEY + b"Sec-WebSocket-Version: 12\r\n\r\n",
        State.CLOSING,
        CLOSING_TIMEOUT,
        CLOSING_TIMEOUT,
    ),
    "a handshake in HTTP/1.0": Peers(
        (HANDSHAKE + b"\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
        State.CLOSING,
        CLOSING_TIMEOUT,
        CLOSING_TIMEOUT,
    ),
    "a handshake with half a body": Peers(
        HANDSHAKE + b"Content-Length: 5\r\n\r\nab", State.CLOSING, CLOSING_TIMEOUT, CLOSING_TIMEOUT
    ),
    "the preface of HTTP/2 without TLS": Peers(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", State.CLOSING, CLOSING_TIMEOUT, CLOSING_TIMEOUT
    ),
    "a body that is not awaited": Peers(
        POST.replace(b"/echo", b"/a") + b"Content-Length: 5\r\n\r\nab",
        State.CLOSING,
        CLOSING_TIMEOUT,
        CLOSING_TIMEOUT,
    ),
    "nothing of TLS": Peers(
        b"", State.TLS_HANDSHAKE, TLS_HANDSHAKE_TIMEOUT, tls=True, handshakes=False
    ),
    "half a TLS hello": Peers(
        b"\x16\x03\x01\x02\x00\x01",
        State.TLS_HANDSHAKE,
        TLS_HANDSHAKE_TIMEOUT,
        tls=True,
        handshakes=False,
    ),
    "nothing of HTTP/2": Peers(b"", State.IDLE, KEEP_ALIVE, tls=True),
    "half the preface": Peers(b"PRI * HTTP", State.IDLE, KEEP_ALIVE, tls=True),
    "the preface and silence": Peers(http2(), State.IDLE, KEEP_ALIVE, tls=True),
    "half a head over HTTP/2": Peers(HTTP2_GET[:-3], State.IDLE, KEEP_ALIVE, tls=True),
    "silent after a response over HTTP/2": Peers(HTTP2_GET, State.IDLE, KEEP_ALIVE, tls=True),
    "no body over HTTP/2": Peers(
        http2((headers_of(b"/echo", b"POST"), False)),
        State.BODY,
        BODY_GRACE,
        MIN_DRAIN_GRACE,
        tls=True,
    ),
    "a response that never comes over HTTP/2": Peers(
        http2((headers_of(b"/forever"), True)),
        State.RESPONSE,
        RESPONSE_TIMEOUT,
        RESPONSE_TIMEOUT,
        tls=True,
    ),
    # The stream is reset; its connection is idle then.
    "a closed window over HTTP/2": Peers(
        http2((headers_of(b"/endless"), True), window=0),
        State.RESPONSE,
        WRITE_TIMEOUT + KEEP_ALIVE,
        MIN_DRAIN_GRACE,
        tls=True,
    ),
    "a silent WebSocket over HTTP/2": Peers(
        http2(
            (
                [
                    *headers_of(b"/", b"CONNECT"),
                    (b":protocol", b"websocket"),
                    (b"sec-websocket-version", b"13"),
                ],
                False,
            )
        ),
        State.WEBSOCKET,
        SILENCE,
        SILENCE,
        tls=True,
    ),
}


def test_every_state_is_among_the_cases() -> None:
    assert {case.state for case in CASES.values()} == set(State)


@asynccontextmanager
async def stopped_peer(
    case: Peers, folder: Path
) -> AsyncIterator[tuple[Server, Connection, trio.Event]]:
    """A server with one connection, whose peer has sent what it sends. The event is set once the
    connection has ended."""
    config = protocol_config(keep_alive_seconds=KEEP_ALIVE, websocket_timeout=SILENCE)
    listener = MemoryListener()
    lifecycle = Lifecycle()
    server = Server(stubborn_app, [listener], config, lifecycle, Work(), malformed_request)
    ours, theirs = trio.testing.memory_stream_pair()
    if not case.reads:
        ours, theirs = trio.testing.lockstep_stream_pair()
    peer, client = theirs, ours
    if case.tls:
        certificate = make_certificate(folder)
        config.certfile, config.keyfile = certificate.cert_file, certificate.key_file
        context = config.create_ssl_context()
        assert context is not None
        peer = trio.SSLStream(theirs, context, server_side=True, https_compatible=True)
        if case.handshakes:
            client = trio.SSLStream(
                ours, certificate.client_context("h2"), server_hostname="127.0.0.1"
            )
    ended = trio.Event()

    async def read_on() -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while await client.receive_some(2**16):
                pass

    async def watch() -> None:
        while not server.connections:
            await trio.lowlevel.checkpoint()
        while server.connections:
            await trio.sleep(0.05)
        ended.set()

    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await nursery.start(server.accept)
        listener.let_in(Peer(peer))
        if case.tls and case.handshakes:
            await client.do_handshake()
        if case.sent:
            await client.send_all(case.sent)
        if case.reads:
            nursery.start_soon(read_on)
        nursery.start_soon(watch)
        await trio.sleep(0.01)
        (connection,) = server._connections
        yield server, connection, ended
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", CASES)
async def test_a_peer_that_stops_is_closed_in_time(
    name: str, autojump_clock: Any, tmp_path: Path
) -> None:
    case = CASES[name]
    async with stopped_peer(case, tmp_path) as (_, connection, ended):
        assert connection.state is case.state
        before = trio.current_time()
        with trio.fail_after(10_000):
            await ended.wait()
        # A rejection waits CLOSING_TIMEOUT for the peer's end.
        assert case.seconds - 0.1 <= trio.current_time() - before
        assert trio.current_time() - before <= case.seconds + CLOSING_TIMEOUT + 0.2


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.drain_seconds <= CLOSING_TIMEOUT]
)
async def test_a_peer_that_stops_does_not_delay_a_drain(
    name: str, autojump_clock: Any, tmp_path: Path
) -> None:
    """What is left waits for the application, which has its own deadlines and the drain's."""
    case = CASES[name]
    async with stopped_peer(case, tmp_path) as (server, _, ended):
        before = trio.current_time()
        server.lifecycle.enter(Phase.DRAINING)
        server.stop_accepting()
        with trio.fail_after(10_000):
            await server.drain(linger=0)
            await ended.wait()
        assert trio.current_time() - before <= case.drain_seconds + CLOSING_TIMEOUT + 0.2


@pytest.mark.parametrize("rate", [0.5, 2.0])
async def test_a_body_has_to_keep_up_the_minimum_rate(rate: float, autojump_clock: Any) -> None:
    """Twice the rate goes on for as long as it likes, half of it ends after a minute."""
    head = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    listener = MemoryListener()
    config = protocol_config(keep_alive_seconds=KEEP_ALIVE)
    server = Server(stubborn_app, [listener], config, Lifecycle(), Work(), malformed_request)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await nursery.start(server.accept)
        client = listener.knock()
        await client.send_all(head)
        size = int(MIN_BODY_RATE * rate)
        chunk = b"%x\r\n" % size + bytes(size) + b"\r\n"
        seconds = 0
        with suppress(trio.BrokenResourceError):
            while seconds < 300:
                await client.send_all(chunk)
                await trio.sleep(1)
                seconds += 1
        if rate > 1:
            assert seconds == 300
            await client.send_all(b"0\r\n\r\n")
            assert (await client.receive_some(100)).startswith(b"HTTP/1.1 200")
        else:
            assert 55 <= seconds <= 65
            assert (await client.receive_some(100)).startswith(b"HTTP/1.1 408 Request Timeout\r\n")
        nursery.cancel_scope.cancel()


async def test_a_slow_application_does_not_use_up_the_time_of_a_body(autojump_clock: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        more = True
        while more:
            await trio.sleep(10)
            more = (await receive()).get("more_body", False)
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    listener = MemoryListener()
    config = protocol_config(keep_alive_seconds=KEEP_ALIVE)
    server = Server(app, [listener], config, Lifecycle(), Work(), malformed_request)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await nursery.start(server.accept)
        client = listener.knock()
        await client.send_all(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        for _ in range(50):  # what arrives at once is one message for the application
            await client.send_all(b"1\r\na\r\n")
        await client.send_all(b"0\r\n\r\n")
        assert (await client.receive_some(100)).startswith(b"HTTP/1.1 200")
        nursery.cancel_scope.cancel()
