"""What one peer sends ends its own connection at most: bytes that llhttp, h2 and wsproto reject,
and faults of this server."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings
import pytest
import trio
from attrs import define, field

from cookcam.app.reports import ConnectionReports
from cookcam.http.errors import malformed_request
from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.observability.metrics import Metrics
from cookcam.serving.addresses import AddressLimit
from cookcam.serving.http1 import HTTP1
from cookcam.serving.listener import Peer, SocketListener
from cookcam.serving.server import Server, protocol_config
from cookcam.serving.states import MAX_DISCARDED
from tests.support.serving import our_server, sample_app
from tests.support.tls import make_certificate

GET = b"GET /alive HTTP/1.1\r\nHost: test\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
KEY = b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
VERSION = b"Sec-WebSocket-Version: 13\r\n"
CLOSE = b"Connection: close\r\n\r\n"
HANDSHAKE = UPGRADE + KEY + VERSION


@define
class RecordingReporter:
    """An `ErrorReporter` that keeps what it is given."""

    errors: list[BaseException] = field(factory=list[BaseException])

    def capture_exception(self, error: BaseException, request: Any = None) -> None:
        self.errors.append(error)


@define
class Watched:
    """A server whose metrics and error reports the test reads, and its first connection."""

    port: int
    server: Server
    metrics: Metrics
    reporter: RecordingReporter
    older: trio.SocketStream

    async def check_alive(self) -> None:
        """The first connection, older than the test's own, still gets a response."""
        with trio.fail_after(5):
            await self.older.send_all(GET)
            assert (await self.older.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")

    def count(self, reason: str) -> float:
        value = self.metrics.registry.get_sample_value(
            "connection_errors_total", {"reason": reason}
        )
        return value or 0.0


@asynccontextmanager
async def watched_server(app: Any = sample_app) -> AsyncIterator[Watched]:
    metrics, reporter = Metrics(), RecordingReporter()
    async with our_server(app) as (port, server):
        server.observer = ConnectionReports(metrics, reporter)  # type: ignore[arg-type]
        server.error_body = malformed_request
        async with await trio.open_tcp_stream("127.0.0.1", port) as older:
            watched = Watched(port, server, metrics, reporter, older)
            await watched.check_alive()
            yield watched


async def response_to(port: int, data: bytes) -> bytes:
    """Everything the server sends until it closes. Fails if it does not."""
    received = b""
    with trio.fail_after(5):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(data)
            with suppress(trio.BrokenResourceError):
                while part := await stream.receive_some():
                    received += bytes(part)
    return received


REJECTED = {
    "a subprotocol that is not ASCII": (HANDSHAKE + b"Sec-WebSocket-Protocol: \xe9\r\n\r\n", 400),
    "an extension that is not ASCII": (HANDSHAKE + b"Sec-WebSocket-Extensions: \xe9\r\n\r\n", 400),
    "a handshake without a key": (UPGRADE + VERSION + b"\r\n", 400),
    "a handshake with half a key": (
        UPGRADE + VERSION + b"Sec-WebSocket-Key: dGhl\r\n\r\n",
        400,
    ),
    "a handshake without a version": (UPGRADE + KEY + b"\r\n", 400),
    "a handshake of version 8": (UPGRADE + KEY + b"Sec-WebSocket-Version: 8\r\n\r\n", 426),
    "a handshake of version 12": (UPGRADE + KEY + b"Sec-WebSocket-Version: 12\r\n\r\n", 426),
    "a handshake with a body": (HANDSHAKE + b"Content-Length: 5\r\n\r\nhello", 400),
    "a handshake with a chunked body": (
        HANDSHAKE + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a handshake in HTTP/1.0": (
        (HANDSHAKE + b"\r\n").replace(b"HTTP/1.1", b"HTTP/1.0"),
        400,
    ),
    "a length and a transfer coding": (
        b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        400,
    ),
    "a transfer coding in HTTP/1.0": (
        b"POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a transfer coding that is not chunked": (
        b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        501,
    ),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/3 in text": (b"GET / HTTP/3.0\r\nHost: t\r\n\r\n", 505),
    "CONNECT": (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
    "a target that is not ASCII": (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: t\r\n\r\n", 400),
    "a head above 16 KiB in one part": (GET[:-2] + b"X: " + b"x" * 20_000 + b"\r\n\r\n", 431),
    "a request line above 16 KiB": (b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n", 431),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: t\r\nHost: t\r\n\r\n", 400),
    "two Hosts in HTTP/1.0": (b"GET / HTTP/1.0\r\nHost: t\r\nHost: t\r\n\r\n", 400),
    "two empty lines before the request": (b"\r\n\r\n" + GET, 400),
    "LF before the request": (b"\n" + GET, 400),
    "a method in lower case": (GET.replace(b"GET", b"get"), 501),
    "a method in mixed case": (GET.replace(b"GET", b"Get"), 501),
    "a target without a host": (GET.replace(b"/alive", b"http:///alive"), 400),
    "a target with a port only": (GET.replace(b"/alive", b"http://:80/alive"), 400),
    "a target with a user": (GET.replace(b"/alive", b"http://u@test/alive"), 400),
    "a target with an illegal host": (GET.replace(b"/alive", b"http://a|b/alive"), 400),
    "two spaces in the request line": (GET.replace(b"GET ", b"GET  "), 400),
    "a request line without a version": (b"GET /\r\nHost: t\r\n\r\n", 400),
    "HTTP/1.2": (GET.replace(b"1.1", b"1.2"), 505),
}


REJECTED |= {
    f"Host: {value!r}": (GET.replace(b"Host: test", b"Host: " + value), 400)
    for value in (
        *(b"a b", b"a/b", b"a?b", b"a#b", b"u@a", b"a:b", b"a:80:80", b"a:123456", b"http://a"),
        *(b"a, b", b"[::1", b"::1", b"[a]b", b"a\\b", b"<a>", b'"a"', b"a%zz", b"\xc3\xa9"),
    )
}


FIELDS = {
    "two lengths that agree": (b"Content-Length: 5\r\nContent-Length: 5", 400),
    "two lengths that differ": (b"Content-Length: 5\r\nContent-Length: 0", 400),
    "a list of lengths": (b"Content-Length: 5, 5", 400),
    "a length with a sign": (b"Content-Length: +5", 400),
    "a length in base 16": (b"Content-Length: 0x5", 400),
    "a length above 64 bits": (b"Content-Length: 18446744073709551616", 400),
    "an empty length": (b"Content-Length:", 400),
    "a length of 5,001 digits": (b"Content-Length: " + b"0" * 5000 + b"5", 400),
    "a length behind a transfer coding": (b"Transfer-Encoding: chunked\r\nContent-Length: 5", 400),
    "a length behind a space": (b"Content-Length : 5", 400),
    "a transfer coding behind a space": (b"Transfer-Encoding : chunked", 400),
    "a transfer coding behind a control": (b"Transfer-Encoding:\x0bchunked", 400),
    "a transfer coding twice": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
    "chunked twice": (b"Transfer-Encoding: chunked, chunked", 400),
    "chunked with a parameter": (b"Transfer-Encoding: chunked;q=1", 501),
    "a transfer coding almost chunked": (b"Transfer-Encoding: xchunked", 501),
    "a folded line": (b"X: a\r\n b", 400),
    "a folded transfer coding": (b"Transfer-Encoding:\r\n chunked", 400),
    "a line that ends in LF": (b"X: a\nContent-Length: 5", 400),
    "a line that ends in CR": (b"X: a\rContent-Length: 5", 400),
    "a field name that is no token": (b"X[a]: b", 400),
    "a field name that is not ASCII": (b"X\xe9: a", 400),
    "an empty field name": (b": a", 400),
    "a field without a colon": (b"X", 400),
    "NUL in a value": (b"X: a\x00b", 400),
}
"""Fields of a POST whose body looks like a request (request smuggling)."""
SMUGGLED = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: t\r\n\r\n"
REJECTED |= {
    name: (b"POST /echo HTTP/1.1\r\nHost: t\r\n" + fields + b"\r\n\r\n" + SMUGGLED, status)
    for name, (fields, status) in FIELDS.items()
}
CHUNKS = {
    "a chunk header that ends in LF": b"5\nhello\r\n0\r\n\r\n",
    "a chunk that ends in LF": b"5\r\nhello\n0\r\n\r\n",
    "a chunk longer than it says": b"4\r\nhello\r\n0\r\n\r\n",
    "a chunk size above 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    "a chunk size with a sign": b"+5\r\nhello\r\n0\r\n\r\n",
    "a chunk size in C's notation": b"0x5\r\nhello\r\n0\r\n\r\n",
    "a chunk size and a space": b"5 \r\nhello\r\n0\r\n\r\n",
    "no chunk size": b"\r\nhello\r\n0\r\n\r\n",
    "a chunk extension with a line break": b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    "a chunk extension with LF": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    "a chunk extension of 300 bytes": b"5;" + b"a" * 300 + b"\r\nhello\r\n0\r\n\r\n",
    "a trailer that is no field": b"5\r\nhello\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
    "a folded trailer": b"5\r\nhello\r\n0\r\nX: a\r\n b\r\n\r\n",
}
REJECTED |= {
    name: (b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n" + body, 400)
    for name, body in CHUNKS.items()
}
REJECTED["trailers above 16 KiB"] = (
    b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * 20_000,
    431,
)


@pytest.mark.parametrize("name", REJECTED)
async def test_a_malformed_request_is_rejected_with_the_envelope_and_closed(name: str) -> None:
    data, status = REJECTED[name]
    async with watched_server() as server:
        received = await response_to(server.port, data)
        head, _, body = received.partition(b"\r\n\r\n")
        assert int(head.split(b" ", 2)[1]) == status
        assert received.count(b"HTTP/1.1 ") == 1, "a second request was found"
        assert head.split(b"\r\n")[0].split(b" ", 2)[2], "no reason phrase"
        assert b"connection: close" in head.lower()
        assert json.loads(body)["statusCode"] == status
        assert server.count("http1") + server.count("websocket") == 1
        assert server.reporter.errors == []
        await server.check_alive()


HOSTS = (b"a", b"a:", b"a:80", b"[::1]:80", b"1.2.3.4", b"a_b.c-d", b"%41", b"xn--a", b"")


async def test_a_valid_host_is_accepted() -> None:
    async with watched_server() as server:
        for host in HOSTS:
            request = GET.replace(b"Host: test", b"Host: " + host)[:-2] + CLOSE
            assert (await response_to(server.port, request)).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_empty_line_behind_a_body_is_ignored() -> None:
    """RFC 9112 §2.2, however its two bytes arrive."""
    request = b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 5\r\n\r\nhello"
    async with (
        watched_server() as server,
        await trio.open_tcp_stream("127.0.0.1", server.port) as stream,
    ):
        for parts in ((b"\r\n",), (b"\r", b"\n"), (b"\r\n" + request,)):
            for part in (request, *parts):
                await stream.send_all(part)
                await trio.sleep(0.01)
            received = b""
            expected = 2 if request in parts[0] else 1
            with trio.fail_after(5):
                while received.count(b"HTTP/1.1 200 OK\r\n") < expected:
                    part = bytes(await stream.receive_some())
                    assert part, received
                    received += part


@pytest.mark.parametrize("separate", [False, True])
@pytest.mark.parametrize("last", [GET[:-2] + CLOSE, b"GET /alive HTTP/1.0\r\n\r\n"])
async def test_data_after_the_last_request_does_not_replace_its_response(
    last: bytes, separate: bool
) -> None:
    """The request may have taken effect: a 400 would say that it has not (RFC 9112 §9.6)."""

    async def slow_app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and b"x-slow" in dict(scope["headers"]):
            await trio.sleep(0.1)
        await sample_app(scope, receive, send)

    async with watched_server(slow_app) as server:
        received = b""
        with trio.fail_after(5):
            async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
                request = last.replace(b"\r\n", b"\r\nX-Slow: y\r\n", 1)
                for data in [request, SMUGGLED] if separate else [request + SMUGGLED]:
                    await stream.send_all(data)
                    await trio.sleep(0.02)
                while part := await stream.receive_some():
                    received += bytes(part)
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"connection: close" in received.lower()
        assert received.count(b"HTTP/1.1 ") == 1, "a second request was found"
        assert server.count("http1") == 0
        await server.check_alive()


async def test_what_a_peer_sent_is_not_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async with watched_server() as server:
        secret = b"Authorization : Bearer s3cret\r\n\r\n"
        await response_to(server.port, b"GET / HTTP/1.1\r\nHost: t\r\n" + secret)
        logged = capsys.readouterr().out
        assert "connection rejected" in logged
        assert "s3cret" not in logged


async def test_another_websocket_version_gets_426_with_the_supported_one() -> None:
    """RFC 6455 §4.4, RFC 9110 §15.5.22."""
    async with watched_server() as server:
        received = await response_to(server.port, REJECTED["a handshake of version 8"][0])
        head = received.partition(b"\r\n\r\n")[0].lower()
        assert b"sec-websocket-version: 13" in head
        assert b"upgrade: websocket" in head


async def test_an_upgrade_to_http2_without_tls_is_ignored() -> None:
    """RFC 9110 §7.8: the response is that to the request without `Upgrade`."""
    head = b"GET /x HTTP/1.1\r\nHost: t\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
    for settings in (b"HTTP2-Settings: A\r\n", b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n", b""):
        async with watched_server() as server:
            received = await response_to(
                server.port, head + settings + b"Connection: close\r\n\r\n"
            )
            assert received.startswith(b"HTTP/1.1 200 OK\r\n")
            assert received.endswith(b"GET /x")
            await server.check_alive()


async def test_frames_sent_together_with_the_handshake_are_received() -> None:
    frame = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi"
    async with watched_server() as server:
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as stream:
            await stream.send_all(HANDSHAKE + b"\r\n" + frame)
            received = b""
            with trio.fail_after(5):
                while not received.endswith(b"\x81\x02hi"):
                    received += bytes(await stream.receive_some())
        assert received.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")


async def test_messages_that_arrive_together_are_received_in_order_before_the_close() -> None:
    received: list[Any] = []
    ended = trio.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await trio.sleep(0.05)  # all of them have arrived
        while (message := await receive())["type"] != "websocket.disconnect":
            received.append(message["text"])
        ended.set()

    frame = bytes([0x81, 0x81, 0, 0, 0, 0]) + b"x"
    close = bytes([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xE8])
    async with our_server(slow) as (port, _):
        received_bytes = await response_to(port, HANDSHAKE + b"\r\n" + frame * 500 + close)
        assert received_bytes.endswith(bytes([0x88, 0x02, 0x03, 0xE8]))
        with trio.fail_after(5):
            await ended.wait()
        assert received == ["x"] * 500


async def test_frames_sent_together_with_a_rejected_handshake_are_ignored() -> None:
    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await sample_app(scope, receive, send)
            return
        await receive()
        await trio.sleep(0.05)
        await send({"type": "websocket.http.response.start", "status": 401, "headers": []})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    async with watched_server(refusing) as server:
        frame = bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi"
        received = await response_to(server.port, HANDSHAKE + b"\r\n" + frame)
        assert received.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        await server.check_alive()


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyError("a bug"), RecursionError()])
async def test_a_fault_of_ours_ends_one_connection_and_is_reported_once(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with watched_server() as server:
        handle = HTTP1.handle

        async def failing(self: HTTP1, event: Any) -> None:
            if getattr(event, "data", b"").startswith(b"GET /fault"):
                raise error
            await handle(self, event)

        monkeypatch.setattr(HTTP1, "handle", failing)
        received = await response_to(server.port, GET.replace(b"/alive", b"/fault"))
        assert received.startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
        assert server.reporter.errors == [error]
        assert server.count("internal") == 1
        await server.check_alive()


async def test_an_application_that_fails_ends_its_request_and_is_reported() -> None:
    async with watched_server() as server:
        await response_to(server.port, GET.replace(b"/alive", b"/raise"))
        (error,) = server.reporter.errors
        assert isinstance(error, RuntimeError)
        await server.check_alive()


class ShortOfDescriptors:
    """A listener that cannot accept for a while."""

    def __init__(self, listener: SocketListener, failures: list[int]) -> None:
        self.listener = listener
        self.failures = failures

    def listen(self) -> None:
        self.listener.listen()

    async def accept(self) -> list[Peer]:
        if self.failures:
            raise OSError(self.failures.pop(0), "no")
        return await self.listener.accept()

    def close(self) -> list[Peer]:
        return self.listener.close()


async def test_a_shortage_of_descriptors_is_logged_once_counted_and_survived(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    listener = SocketListener.bind("127.0.0.1", 0)
    short = ShortOfDescriptors(listener, [errno.EMFILE, errno.ENFILE, errno.ENETDOWN])
    metrics = Metrics()
    reports = ConnectionReports(metrics, RecordingReporter())  # type: ignore[arg-type]
    config = protocol_config(keep_alive_seconds=75)
    server = Server(sample_app, [short], config, Lifecycle(), Work(), malformed_request, reports)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await nursery.start(server.accept)
        received = await response_to(
            listener.port, b"GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        nursery.cancel_scope.cancel()
    assert received.startswith(b"HTTP/1.1 200")
    counted = metrics.registry.get_sample_value(
        "connections_refused_total", {"reason": "accept_error"}
    )
    assert counted == 3
    assert capsys.readouterr().out.count("cannot accept connections") == 1


async def test_connections_of_one_address_are_limited() -> None:
    async with watched_server() as server:
        server.server.addresses = AddressLimit(2)
        first, second = [await trio.open_tcp_stream("127.0.0.1", server.port) for _ in range(2)]
        for stream in (first, second):
            await stream.send_all(GET)
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        assert await response_to(server.port, b"") == b""
        assert (
            server.metrics.registry.get_sample_value(
                "connections_refused_total", {"reason": "address_limit"}
            )
            == 1
        )
        await first.aclose()
        while server.server.connections > 2:
            await trio.sleep(0.01)
        async with await trio.open_tcp_stream("127.0.0.1", server.port) as third:
            await third.send_all(GET)
            assert (await third.receive_some()).startswith(b"HTTP/1.1 200")
        await second.aclose()


# -- HTTP/2


class Http2Client:
    """One HTTP/2 connection over TLS."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.connection = h2.connection.H2Connection(
            h2.config.H2Configuration(
                header_encoding=None,
                validate_outbound_headers=False,
                normalize_outbound_headers=False,
            )
        )
        self.connection.initiate_connection()
        self.events: list[h2.events.Event] = []

    @classmethod
    async def open(cls, port: int, context: Any) -> Http2Client:
        tcp = await trio.open_tcp_stream("127.0.0.1", port)
        stream = trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)
        await stream.do_handshake()
        client = cls(stream)
        await client.flush()
        return client

    async def flush(self) -> None:
        await self.stream.send_all(self.connection.data_to_send())

    async def request(self, headers: list[tuple[bytes, bytes]], *, end: bool = True) -> int:
        number = self.connection.get_next_available_stream_id()
        self.connection.send_headers(number, headers, end_stream=end)
        await self.flush()
        return number

    async def next(self, kind: type[h2.events.Event], number: int | None = None) -> Any:
        """The next event of a kind, of one stream if it is given."""
        with trio.fail_after(5):
            while True:
                for event in self.events:
                    if isinstance(event, kind) and number in (
                        None,
                        getattr(event, "stream_id", None),
                    ):
                        self.events.remove(event)
                        return event
                data = await self.stream.receive_some()
                assert data, "the connection was closed"
                self.events += self.connection.receive_data(data)
                await self.flush()

    async def status(self, number: int) -> bytes:
        event = await self.next(h2.events.ResponseReceived, number)
        return dict(event.headers)[b":status"]

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self.stream)


def headers_of(path: bytes, method: bytes = b"GET") -> list[tuple[bytes, bytes]]:
    return [
        (b":method", method),
        (b":path", path),
        (b":scheme", b"https"),
        (b":authority", b"test"),
    ]


@asynccontextmanager
async def http2_server(folder: Path, app: Any = sample_app) -> AsyncIterator[Any]:
    """Yields a function that opens a client, and the error reports."""
    certificate = make_certificate(folder)
    reporter = RecordingReporter()
    async with our_server(app, certificate) as (port, server):
        server.observer = ConnectionReports(Metrics(), reporter)  # type: ignore[arg-type]
        server.error_body = malformed_request
        yield lambda: Http2Client.open(port, certificate.client_context("h2")), reporter, server


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (headers_of(b"/\xc3\xa9"), b"400"),
        (headers_of(b"no-slash"), b"400"),
        (headers_of(b"/", b"G\xc3\x89T"), b"400"),
        (headers_of(b"/", b"get"), b"501"),
        ([*headers_of(b"/")[:-1], (b":authority", b"a b")], b"400"),
        ([(b":method", b"CONNECT"), (b":authority", b"a:1")], b"501"),
        ([*headers_of(b"/", b"CONNECT"), (b":protocol", b"websocket")], b"400"),
        (
            [
                *headers_of(b"/", b"CONNECT"),
                (b":protocol", b"websocket"),
                (b"sec-websocket-version", b"8"),
            ],
            b"426",
        ),
    ],
)
async def test_a_bad_http2_request_costs_its_stream_only(
    headers: list[tuple[bytes, bytes]], status: bytes, tmp_path: Path
) -> None:
    async with http2_server(tmp_path) as (open_client, reporter, _):
        client = await open_client()
        assert await client.status(await client.request(headers)) == status
        assert await client.status(await client.request(headers_of(b"/alive"))) == b"200"
        assert reporter.errors == []
        await client.aclose()


async def test_a_body_that_comes_after_its_early_response_is_taken(tmp_path: Path) -> None:
    """The client gets RST_STREAM(NO_ERROR) (RFC 9113 §8.1) and its window is not used up."""
    async with http2_server(tmp_path) as (open_client, reporter, _):
        client = await open_client()
        for _ in range(8):
            number = await client.request(headers_of(b"/early", b"POST"), end=False)
            client.connection.send_data(number, bytes(16_000))
            await client.flush()
            assert await client.status(number) == b"200"
            reset = await client.next(h2.events.StreamReset, number)
            assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR
        assert await client.status(await client.request(headers_of(b"/alive"))) == b"200"
        assert reporter.errors == []
        await client.aclose()


async def test_data_of_no_request_is_discarded_up_to_a_limit(tmp_path: Path) -> None:
    """The client ignores that its request was answered and its stream was reset."""
    async with http2_server(tmp_path) as (open_client, reporter, _):
        client = await open_client()
        number = await client.request(headers_of(b"/early", b"POST"), end=False)
        assert await client.status(number) == b"200"
        frame = h2_frame(number, bytes(16_384)) * 4
        sent = 0
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            while True:
                await client.stream.send_all(frame)
                sent += len(frame)
        # As much again is discarded after the close, and the kernel has its buffers.
        assert MAX_DISCARDED <= sent < 3 * MAX_DISCARDED
        assert reporter.errors == []
        await client.aclose()


def h2_frame(stream_id: int, data: bytes) -> bytes:
    """A DATA frame (RFC 9113 §6.1)."""
    return len(data).to_bytes(3, "big") + b"\0\0" + stream_id.to_bytes(4, "big") + data


async def test_cancelling_a_response_that_is_being_written_leaves_the_connection(
    tmp_path: Path,
) -> None:
    streaming = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] != "/endless":
            await sample_app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            streaming.set()
            await send({"type": "http.response.body", "body": bytes(2**16), "more_body": True})

    async with http2_server(tmp_path, app) as (open_client, reporter, _):
        client = await open_client()
        client.connection.increment_flow_control_window(2**30)
        client.connection.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 2**30})
        await client.flush()
        for _ in range(5):
            number = await client.request(headers_of(b"/endless"))
            await client.next(h2.events.DataReceived, number)
            await trio.sleep(0.05)  # the server fills the socket's buffers and waits to write
            client.connection.reset_stream(number)
            await client.flush()
            client.events.clear()
            assert await client.status(await client.request(headers_of(b"/alive"))) == b"200"
        assert reporter.errors == []
        await client.aclose()


async def test_a_response_that_is_cut_short_does_not_look_complete(tmp_path: Path) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("a bug")

    async with http2_server(tmp_path, app) as (open_client, reporter, _):
        client = await open_client()
        number = await client.request(headers_of(b"/"))
        reset = await client.next(h2.events.StreamReset, number)
        assert reset.error_code == h2.errors.ErrorCodes.INTERNAL_ERROR
        assert [type(error) for error in reporter.errors] == [RuntimeError]
        await client.aclose()


async def test_a_client_that_only_cancels_is_disconnected(tmp_path: Path) -> None:
    async with http2_server(tmp_path) as (open_client, _, _):
        client = await open_client()
        with trio.fail_after(20), suppress(trio.BrokenResourceError, AssertionError):
            for _ in range(30):
                for _ in range(50):
                    number = client.connection.get_next_available_stream_id()
                    client.connection.send_headers(number, headers_of(b"/"), end_stream=True)
                    client.connection.reset_stream(number)
                await client.flush()
            terminated = await client.next(h2.events.ConnectionTerminated)
            assert terminated.error_code == h2.errors.ErrorCodes.ENHANCE_YOUR_CALM
        await client.aclose()
