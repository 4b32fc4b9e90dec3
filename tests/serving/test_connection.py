"""What our connection promises beyond Hypercorn's."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field

from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.serving.connection import MAX_RECEIVE
from cookcam.serving.http1 import MAX_JOINED_BODY
from cookcam.serving.listener import ACCEPT_BATCH, Peer, SocketListener
from cookcam.serving.server import Server, protocol_config
from cookcam.serving.states import MAX_DISCARDED, WRITE_TIMEOUT
from tests.support.program import MemoryListener, ask, at_end, response
from tests.support.serving import error_body, our_server, sample_app
from tests.support.tls import make_certificate

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"


@define
class WaitingApp:
    """An application that waits and records how it ended."""

    began: trio.Event = field(factory=trio.Event)
    ended: trio.Event = field(factory=trio.Event)
    outcome: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.began.set()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            self.outcome = "cancelled"
            raise
        finally:
            self.ended.set()


@pytest.mark.parametrize(
    "head", [REQUEST, b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9\r\n\r\n"]
)
async def test_a_request_is_cancelled_when_its_client_leaves(head: bytes) -> None:
    app = WaitingApp()
    with trio.fail_after(5):
        async with our_server(app) as (port, server):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(head)
            await app.began.wait()
            await stream.aclose()
            await app.ended.wait()
            assert app.outcome == "cancelled"
            while server.connections:
                await trio.sleep(0.01)


async def test_work_after_the_response_is_not_cancelled_by_the_end_of_the_connection() -> None:
    finished = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"ok")
        await trio.sleep(0.1)
        finished.set()

    with trio.fail_after(5):
        async with our_server(app) as (port, _):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(REQUEST)
            await stream.receive_some()
            await stream.aclose()
            await finished.wait()


async def test_a_response_before_the_end_of_a_body_has_connection_close() -> None:
    """What is left of the body would be read as the next request: the client must not send one."""

    async def refusing(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"no")

    size = 4 * 2**20
    head = f"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n".encode()
    with trio.fail_after(10):
        async with our_server(refusing) as (port, server):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(head + bytes(2**16))
            received = b""
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.send_all, bytes(size - 2**16))
                while data := await stream.receive_some():
                    received += bytes(data)
            await stream.aclose()
            while server.connections:
                await trio.sleep(0.01)
    assert received.startswith(b"HTTP/1.1 200")
    assert received.endswith(b"\r\n\r\nno")
    assert b"connection: close" in received.lower()


@pytest.mark.parametrize("target", ["http://test/a?b=c", "HTTPS://test:80/a?b=c"])
async def test_a_target_in_absolute_form_is_its_path(target: str) -> None:
    """RFC 9112 §3.2.2: a server accepts it, although only clients of proxies send it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, f"{scope['path']} {scope['query_string'].decode()}".encode())

    async with memory_server(app) as listener:
        client = listener.knock()
        await client.send_all(f"GET {target} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        received = b""
        while not received.endswith(b"/a b=c"):
            part = bytes(await client.receive_some())
            assert part
            received += part


async def test_a_body_is_only_requested_for_when_the_application_waits_for_it() -> None:
    """RFC 9110 §10.1.1: no 100 (Continue) before a rejection, nor for a body that has arrived."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/rejected":
            await send({"type": "http.response.start", "status": 413, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        while (await receive()).get("more_body"):
            pass
        await respond(send, b"taken")

    head = b"POST /%b HTTP/1.1\r\nHost: t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n"
    close = b"Connection: close\r\n\r\n"
    async with our_server(app) as (port, _):

        async def statuses(path: bytes, *, body: bytes = b"", later: bytes = b"") -> list[bytes]:
            received = b""
            async with await trio.open_tcp_stream("127.0.0.1", port) as client:
                await client.send_all(head % path + close + body)
                with trio.fail_after(5):
                    while part := bytes(await client.receive_some()):
                        received += part
                        if later and b"100 Continue" in received:
                            await client.send_all(later)
                            later = b""
            return re.findall(rb"HTTP/1\.1 ([0-9]+)", received)

        assert await statuses(b"rejected") == [b"413"]
        assert await statuses(b"taken", later=b"abc") == [b"100", b"200"]
        assert await statuses(b"taken", body=b"abc") == [b"200"]


async def test_what_follows_a_rejection_is_discarded_up_to_a_limit() -> None:
    """A client that ignores a 413 must not use the network for as long as it likes."""

    async def rejecting(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent = 0
    async with (
        our_server(rejecting) as (port, _),
        await trio.open_tcp_stream("127.0.0.1", port) as client,
    ):
        await client.send_all(b"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 9999999999\r\n\r\n")
        with trio.fail_after(20), suppress(trio.BrokenResourceError):
            while True:
                await client.send_all(b"x" * MAX_RECEIVE)
                sent += MAX_RECEIVE
    assert MAX_DISCARDED <= sent < 2 * MAX_DISCARDED + 8 * 2**20  # what the kernel buffers


@define
class CountingStream(trio.abc.HalfCloseableStream):
    """A memory stream that notes every write."""

    inner: Any
    writes: list[bytes] = field(factory=list[bytes])

    async def send_all(self, data: Any) -> None:
        self.writes.append(bytes(data))
        await self.inner.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.inner.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self.inner.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> Any:
        return await self.inner.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.inner.aclose()


async def test_a_response_of_known_length_leaves_in_one_write() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, b"ok")

    async with memory_server(app) as listener:
        ours, theirs = trio.testing.memory_stream_pair()
        counting = CountingStream(theirs)
        listener.let_in(Peer(counting))
        await ask(ours, "/")
        assert (await response(ours)).endswith(b"ok")
        assert len(counting.writes) == 1


async def test_a_large_response_is_not_copied_behind_its_head() -> None:
    body = bytes(MAX_JOINED_BODY + 1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await respond(send, body)

    async with memory_server(app) as listener:
        ours, theirs = trio.testing.memory_stream_pair()
        counting = CountingStream(theirs)
        listener.let_in(Peer(counting))
        await ask(ours, "/")
        received = b""
        while not received.endswith(body):
            received += bytes(await ours.receive_some())
        assert [len(write) for write in counting.writes[1:]] == [len(body)]


async def test_a_stream_of_unknown_length_is_written_as_it_comes() -> None:
    release = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await release.wait()
        await send({"type": "http.response.body", "body": b"last"})

    async with memory_server(app) as listener:
        client = listener.knock()
        await ask(client, "/")
        received = b""
        while b"first" not in received:
            received += bytes(await client.receive_some())
        assert b"last" not in received
        release.set()
        while b"last" not in received:
            received += bytes(await client.receive_some())


async def test_an_idle_connection_ends_at_its_deadline(autojump_clock: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await trio.sleep(200)  # longer than the idle time: a request has no idle time
        await respond(send, b"ok")

    async with memory_server(app) as listener:
        client = listener.knock()
        await ask(client, "/")
        assert (await response(client)).endswith(b"ok")
        before = trio.current_time()
        assert await at_end(client)
        assert trio.current_time() - before == pytest.approx(75, abs=0.1)


async def test_a_head_that_trickles_in_does_not_extend_the_idle_time(autojump_clock: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the head never ends")

    async with memory_server(app) as listener:
        client = listener.knock()
        before = trio.current_time()
        with trio.move_on_after(1000):
            try:
                for letter in REQUEST[:-4] * 10:
                    await client.send_all(bytes([letter]))
                    await trio.sleep(10)
            except trio.BrokenResourceError:
                pass
        assert trio.current_time() - before < 100


async def test_a_peer_that_stops_reading_is_closed(autojump_clock: Any) -> None:
    ended_after = 0.0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal ended_after
        began = trio.current_time()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                message = {"type": "http.response.body", "body": b"x" * 1000, "more_body": True}
                await send(message)
        finally:
            ended_after = trio.current_time() - began

    async with memory_server(app) as listener:
        ours, theirs = trio.testing.lockstep_stream_pair()
        listener.let_in(Peer(theirs))
        await ask(ours, "/")
        await trio.sleep(WRITE_TIMEOUT * 3)
    assert ended_after == pytest.approx(WRITE_TIMEOUT, abs=1)


async def test_an_upload_waits_for_its_reader() -> None:
    """The server must not take in more of a body than the application has received."""
    go_on = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await go_on.wait()
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        await respond(send, str(size).encode())

    total = 64 * 2**20
    sent = 0
    with trio.fail_after(20):
        async with our_server(app) as (port, _):
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            head = f"POST / HTTP/1.1\r\nHost: t\r\nContent-Length: {total}\r\n\r\n"
            await stream.send_all(head.encode())
            chunk = b"x" * 2**20
            with trio.move_on_after(0.5):
                while sent < total:
                    await stream.send_all(chunk)
                    sent += len(chunk)
            assert sent < total // 2  # the kernel's buffers and a few messages, not all of it
            await stream.aclose()


async def test_a_drain_does_not_wait_for_silent_clients(tmp_path: Path) -> None:
    """Idle since it came, or silent in the TLS handshake: both end with the linger time."""
    certificate = make_certificate(tmp_path)
    for tls in (None, certificate):
        with trio.fail_after(5):
            async with our_server(sample_app, tls) as (port, server):
                silent = await trio.open_tcp_stream("127.0.0.1", port)
                while not server.connections:
                    await trio.sleep(0.01)
                queued = await trio.open_tcp_stream("127.0.0.1", port)
                server.stop_accepting()
                await server.drain(linger=0.2)
                for stream in (silent, queued):
                    await stream.aclose()


async def test_connections_are_accepted_in_batches() -> None:
    """One a pass, hundreds of new connections wait for hundreds of passes of a busy scheduler."""
    listener = SocketListener.bind("127.0.0.1", 0)
    listener.listen()
    clients = [
        await trio.open_tcp_stream("127.0.0.1", listener.port) for _ in range(ACCEPT_BATCH + 3)
    ]
    assert [len(await listener.accept()) for _ in range(2)] == [ACCEPT_BATCH, 3]
    assert listener.close() == []
    for client in clients:
        await client.aclose()


def test_closing_a_listener_returns_the_connections_in_its_queue() -> None:
    import socket

    listener = SocketListener.bind("127.0.0.1", 0)
    listener.listen()
    clients = [socket.create_connection(("127.0.0.1", listener.port)) for _ in range(20)]

    async def close() -> int:
        peers = listener.close()
        for peer in peers:
            await trio.aclose_forcefully(peer.stream)
        return len(peers)

    assert trio.run(close) == 20
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(
            ("127.0.0.1", listener.port if listener.listener.fileno() >= 0 else 1)
        )
    for client in clients:
        client.close()


async def respond(send: Any, body: bytes) -> None:
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class memory_server:  # noqa: N801 - reads as a context manager
    """A server behind a `MemoryListener`, cancelled at the end of the block."""

    def __init__(self, app: Any) -> None:
        self.listener = MemoryListener()
        config = protocol_config(keep_alive_seconds=75)
        self.server = Server(app, [self.listener], config, Lifecycle(), Work(), error_body)

    async def __aenter__(self) -> MemoryListener:
        self._manager = trio.open_nursery()
        self._nursery = await self._manager.__aenter__()
        await self._nursery.start(self.server.serve)
        await self._nursery.start(self.server.accept)
        return self.listener

    async def __aexit__(self, *failure: Any) -> None:
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(*failure)
