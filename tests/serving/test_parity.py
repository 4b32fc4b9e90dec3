"""The same bytes to plain Hypercorn and to our server: the responses must agree.

Headers that belong to the server itself (date, server) are left out of the comparison. The body
of a protocol error is compared apart: ours is JSON on purpose, Hypercorn's is empty.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import h11
import pytest
import trio
from attrs import frozen
from trio_websocket import open_websocket_url

from tests.support.serving import ERROR_BODY, our_server, plain_hypercorn, sample_app
from tests.support.tls import make_certificate

HOST = b"Host: test\r\n"


@frozen
class Exchange:
    """Parts to send, with a pause after each; `methods` are those of the expected responses."""

    parts: tuple[bytes, ...]
    methods: tuple[str, ...]
    half_close: bool = False
    compare_end: bool = True


CASES = {
    "keep-alive": Exchange(
        (b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /b HTTP/1.1\r\n" + HOST + b"\r\n"),
        ("GET", "GET"),
    ),
    "pipelined": Exchange(
        (b"".join(b"GET /%d HTTP/1.1\r\n" % n + HOST + b"\r\n" for n in range(5)),), ("GET",) * 5
    ),
    "pipelined with bodies": Exchange(
        ((b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc") * 3,), ("POST",) * 3
    ),
    "body in two parts": Exchange(
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 6\r\n\r\nabc", b"def"), ("POST",)
    ),
    "chunked request": Exchange(
        (
            b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
            b"2\r\nde\r\n0\r\n\r\n",
        ),
        ("POST",),
    ),
    "chunked response": Exchange((b"GET /chunks HTTP/1.1\r\n" + HOST + b"\r\n",), ("GET",)),
    "100-continue": Exchange(
        (
            b"POST /echo HTTP/1.1\r\n"
            + HOST
            + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n",
            b"abc",
        ),
        ("POST",),
    ),
    "HEAD": Exchange((b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n",), ("HEAD",)),
    "connection: close": Exchange(
        (b"GET /a HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",), ("GET",)
    ),
    "HTTP/1.0": Exchange((b"GET /a HTTP/1.0\r\n\r\n",), ("GET",)),
    "head too large": Exchange(
        (b"GET /a HTTP/1.1\r\n" + HOST + b"X: " + b"x" * 20_000, b"\r\n\r\n"), ("GET",)
    ),
    "not HTTP": Exchange((b"\x16\x03\x01 nonsense\r\n\r\n",), ("GET",)),
    "no host": Exchange((b"GET /a HTTP/1.1\r\n\r\n",), ("GET",)),
    "bad chunk": Exchange(
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",),
        ("POST",),
    ),
    "content-length twice": Exchange(
        (b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",),
        ("POST",),
    ),
    # Hypercorn keeps such a connection until its idle time is over; ours ends it at once.
    "half-closed after the request": Exchange(
        (b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n",),
        ("GET",),
        half_close=True,
        compare_end=False,
    ),
    "half-closed in the head": Exchange((b"GET /a HT",), ("GET",), half_close=True),
    "half-closed in the body": Exchange(
        (b"POST /echo HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n\r\nabc",),
        ("POST",),
        half_close=True,
    ),
    "the application raises": Exchange((b"GET /raise HTTP/1.1\r\n" + HOST + b"\r\n",), ("GET",)),
}


TIMEOUT = (0.15, 1.0, 3.0)
"""Seconds without a byte that count as the end; retried with more on a busy machine."""


async def exchange(port: int, case: Exchange, timeout: float) -> list[Any]:
    """Sends the parts and reads until the server closes or is quiet for `timeout` seconds."""
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    received = bytearray()
    closed = False
    for part in case.parts:
        await stream.send_all(part)
        closed = await _read_until_quiet(stream, received, timeout)
    if case.half_close:
        await stream.send_eof()
        closed = await _read_until_quiet(stream, received, timeout)
    await stream.aclose()
    responses = _responses(bytes(received), case.methods)
    return [*responses, "closed" if closed else "open"] if case.compare_end else responses


async def _read_until_quiet(stream: trio.SocketStream, received: bytearray, timeout: float) -> bool:
    while True:
        with trio.move_on_after(timeout) as quiet:
            try:
                data = await stream.receive_some()
            except trio.BrokenResourceError:
                return True
            if not data:
                return True
            received += data
        if quiet.cancelled_caught:
            return False


def _responses(received: bytes, methods: tuple[str, ...]) -> list[Any]:
    """(status, headers, body) of each response, by an independent parser."""
    found: list[Any] = []
    for method in methods:
        client = h11.Connection(h11.CLIENT)
        client.send(h11.Request(method=method, target="/", headers=[("host", "test")]))
        client.send(h11.EndOfMessage())
        client.receive_data(received)
        body, head = b"", None
        while True:
            event = client.next_event()
            if isinstance(event, h11.InformationalResponse):
                found.append(event.status_code)
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                if head is not None:
                    found.append(("incomplete", head.status_code, body))
                return found
            elif isinstance(event, h11.EndOfMessage):
                break
        assert head is not None
        if body == ERROR_BODY:
            body = b""
        headers = sorted(
            (name, value)
            for name, value in head.headers
            if name not in (b"date", b"server", b"content-length")
        )
        found.append((head.status_code, headers, body))
        received = client.trailing_data[0]
    return found


@pytest.mark.parametrize("name", CASES)
async def test_responses_agree_with_plain_hypercorn(name: str) -> None:
    case = CASES[name]
    async with plain_hypercorn(sample_app) as theirs, our_server(sample_app) as (ours, _):
        expected, actual = ["no response"], list[Any]()
        for timeout in TIMEOUT:
            with suppress(h11.RemoteProtocolError):  # a response that was not complete yet
                expected = await exchange(theirs, case, timeout)
                actual = await exchange(ours, case, timeout)
            if actual == expected:
                break
    assert actual == expected


async def test_protocol_errors_have_a_json_body() -> None:
    async with our_server(sample_app) as (port, _):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(b"nonsense\r\n\r\n")
        received = b""
        while data := await stream.receive_some():
            received += bytes(data)
    assert received.startswith(b"HTTP/1.1 400")
    assert received.endswith(ERROR_BODY)


async def test_http2_over_tls_agrees(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with (
        plain_hypercorn(sample_app, certificate) as theirs,
        our_server(sample_app, certificate) as (ours, _),
    ):
        results = [
            await http2_requests(port, certificate.client_context("h2")) for port in (theirs, ours)
        ]
    assert results[0] == results[1]
    assert results[1][("POST", "/echo")] == (b"200", b"abc" * 10_000)
    assert results[1][("GET", "/chunks")] == (b"200", b"onetwothree")


async def test_websockets_agree() -> None:
    async with plain_hypercorn(sample_app) as theirs, our_server(sample_app) as (ours, _):
        for port in (theirs, ours):
            async with open_websocket_url(f"ws://127.0.0.1:{port}/") as websocket:
                for message in ("a", "é" * 1000, "x" * 100_000):
                    await websocket.send_message(message)
                    assert await websocket.get_message() == message


async def test_websocket_messages_are_not_compressed() -> None:
    head = (
        b"GET / HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"
    )
    async with our_server(sample_app) as (port, _):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(head)
        response = bytes(await stream.receive_some())
        await stream.aclose()
    assert response.startswith(b"HTTP/1.1 101")
    assert b"extensions" not in response.lower()


async def http2_requests(port: int, context: Any) -> dict[tuple[str, str], tuple[bytes, bytes]]:
    """Three concurrent requests on one connection: (method, path) → (status, body)."""
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    stream = trio.SSLStream(tcp, context, server_hostname="127.0.0.1", https_compatible=True)
    await stream.do_handshake()
    assert stream.selected_alpn_protocol() == "h2"
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
    connection.initiate_connection()
    requests = [("GET", "/a", b""), ("POST", "/echo", b"abc" * 10_000), ("GET", "/chunks", b"")]
    streams: dict[int, tuple[str, str]] = {}
    for method, path, body in requests:
        number = connection.get_next_available_stream_id()
        streams[number] = (method, path)
        connection.send_headers(
            number,
            [(":method", method), (":path", path), (":scheme", "https"), (":authority", "test")],
            end_stream=not body,
        )
        while body:
            size = min(connection.local_flow_control_window(number), 16_384)
            connection.send_data(number, body[:size], end_stream=size >= len(body))
            body = body[size:]
    status: dict[int, bytes] = {}
    bodies = dict.fromkeys(streams, b"")
    left = set(streams)
    with trio.fail_after(10):
        while left:
            await stream.send_all(connection.data_to_send())
            for event in connection.receive_data(await stream.receive_some()):
                if isinstance(event, h2.events.ResponseReceived):
                    status[event.stream_id] = dict(event.headers)[b":status"]
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                    connection.acknowledge_received_data(
                        event.flow_controlled_length, event.stream_id
                    )
                elif isinstance(event, h2.events.StreamEnded):
                    left.discard(event.stream_id)
    await trio.aclose_forcefully(stream)
    return {streams[n]: (status[n], bodies[n]) for n in streams}
