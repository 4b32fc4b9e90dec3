"""Frames written directly: `cookcam.websocket.direct`."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Ping,
    Request,
    TextMessage,
)

from cookcam.realtime.engineio.direct import PING_FRAME, Close, encode
from cookcam.serving.extensions import WEBSOCKET_DIRECT, WEBSOCKET_FLUSH, WEBSOCKET_PONG
from tests.support.serving import our_server
from tests.support.tls import make_certificate

SMALL = 4096
"""Bytes of a socket's buffer; the kernel makes it twice that."""

Script = Callable[[Any, Any, Any], Awaitable[None]]


class App:
    """Accepts a WebSocket and follows a script; `extensions` are those it was offered."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.extensions: dict[str, Any] = {}
        self.ended = trio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.extensions = scope["extensions"]
        await receive()
        await send({"type": "websocket.accept"})
        write = self.extensions.get(WEBSOCKET_DIRECT, {}).get("write")
        await self.script(receive, send, write)
        self.ended.set()


class Client:
    """A peer that reads on command."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.protocol = WSConnection(ConnectionType.CLIENT)
        self._events: list[Event] = []

    async def open(self) -> None:
        await self.send(Request(host="test", target="/"))
        assert isinstance(await self.next(), AcceptConnection)

    async def send(self, event: Event) -> None:
        await self.stream.send_all(self.protocol.send(event))

    async def next(self) -> Event:
        while not self._events:
            data = bytes(await self.stream.receive_some(1500))
            self.protocol.receive_data(data or None)
            self._events = list(self.protocol.events())
        return self._events.pop(0)

    async def text(self) -> str:
        """The next message; wsproto gives a long one in parts."""
        text = ""
        while True:
            event = await self.next()
            assert isinstance(event, TextMessage), event
            text += event.data
            if event.message_finished:
                return text


@asynccontextmanager
async def connected(app: App, *, small: bool = False) -> AsyncIterator[Client]:
    with trio.fail_after(10):
        async with our_server(app) as (port, server):
            sock = trio.socket.socket()
            if small:
                listener: Any = server.doors[0]
                listener.listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
            await sock.connect(("127.0.0.1", port))
            async with trio.SocketStream(sock) as stream:
                client = Client(stream)
                await client.open()
                yield client


async def until_closed(receive: Any) -> None:
    while (await receive())["type"] != "websocket.disconnect":
        pass


async def test_a_frame_is_written_at_once_and_read_as_a_message():
    async def script(receive: Any, send: Any, write: Any) -> None:
        frame = encode("Guten Appetit, schöne Küche")
        assert write(frame) == len(frame)
        await until_closed(receive)

    async with connected(App(script)) as client:
        assert await client.text() == "Guten Appetit, schöne Küche"


async def fill(write: Callable[[bytes], int], frame: bytes) -> tuple[int, int]:
    """Writes until a frame is not taken as a whole: how many were, and how much of the last."""
    count = 0
    while (taken := write(frame)) == len(frame):
        count += 1
    return count, taken


async def test_a_write_taken_in_part_is_ended_before_anything_else():
    counted: list[int] = []

    async def script(receive: Any, send: Any, write: Any) -> None:
        # So long that whatever is left of the buffer, some of it fits.
        count, taken = await fill(write, encode("x" * 50_000))
        assert taken > 0
        counted.append(count + 1)
        assert write(encode("never taken")) == 0
        await send({"type": "websocket.send", "text": "behind it"})
        assert write(encode("and free again")) > 0
        await until_closed(receive)

    async with connected(App(script), small=True) as client:
        while not counted:
            await trio.sleep(0.01)
        for _ in range(counted[0]):
            assert await client.text() == "x" * 50_000
        assert await client.text() == "behind it"
        assert await client.text() == "and free again"


async def test_a_flush_returns_when_the_rest_is_out():
    flushed = trio.Event()

    async def script(receive: Any, send: Any, write: Any) -> None:
        frame = encode("x" * 100_000)
        assert 0 < write(frame) < len(frame)
        await send({"type": WEBSOCKET_FLUSH})
        flushed.set()
        await until_closed(receive)

    async with connected(App(script), small=True) as client:
        await trio.sleep(0.05)
        assert not flushed.is_set()
        assert await client.text() == "x" * 100_000
        await flushed.wait()


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_mixed_arrives_whole_and_in_order(seed: int):
    chance = random.Random(seed)
    texts = [f"{n} " + "x" * chance.choice([0, 10, 200, 3000, 30_000]) for n in range(80)]
    ways = {"direct": 0, "in part": 0, "refused": 0}

    async def script(receive: Any, send: Any, write: Any) -> None:
        for text in texts:
            frame = encode(text)
            taken = write(frame) if chance.random() < 0.8 else 0
            if not taken:
                ways["refused"] += 1
                await send({"type": "websocket.send", "text": text})
            elif taken == len(frame):
                ways["direct"] += 1
            else:
                ways["in part"] += 1
                if chance.random() < 0.5:
                    await send({"type": WEBSOCKET_FLUSH})
        await send({"type": "websocket.close", "code": 1001, "reason": "done"})
        await until_closed(receive)

    app = App(script)
    async with connected(app, small=True) as client:
        for text in texts:
            assert await client.text() == text
        close = await client.next()
        assert isinstance(close, CloseConnection)
        assert (close.code, close.reason) == (1001, "done")
        await client.send(close.response())
        await app.ended.wait()
        assert await client.stream.receive_some() == b""
    assert all(ways.values()), ways


async def test_the_answer_to_a_ping_waits_for_the_rest_of_a_frame():
    async def script(receive: Any, send: Any, write: Any) -> None:
        frame = encode("x" * 100_000)
        assert 0 < write(frame) < len(frame)
        await until_closed(receive)

    async with connected(App(script), small=True) as client:
        await client.send(Ping(payload=b"still there?"))
        assert await client.text() == "x" * 100_000
        assert type(await client.next()).__name__ == "Pong"


async def test_nothing_is_written_once_either_side_has_said_goodbye():
    async def script(receive: Any, send: Any, write: Any) -> None:
        await send({"type": "websocket.close", "code": 1000})
        assert write(encode("too late")) == 0
        await until_closed(receive)
        assert write(encode("too late")) == 0
        await send({"type": WEBSOCKET_FLUSH})

    app = App(script)
    async with connected(app) as client:
        close = await client.next()
        assert isinstance(close, CloseConnection)
        await client.send(close.response())
        await app.ended.wait()


async def test_a_close_frame_may_be_the_last_of_them():
    last = encode("the last") + Close(1001, "done").wire

    async def script(receive: Any, send: Any, write: Any) -> None:
        assert write(last, closing=True) == len(last)
        assert write(encode("too late")) == 0
        await until_closed(receive)

    app = App(script)
    async with connected(app) as client:
        assert await client.text() == "the last"
        close = await client.next()
        assert isinstance(close, CloseConnection)
        assert (close.code, close.reason) == (1001, "done")
        await client.send(close.response())
        await app.ended.wait()
        assert await client.stream.receive_some() == b""


async def test_a_close_frame_taken_in_part_is_ended_by_a_flush():
    last = encode("x" * 100_000) + Close(1001, "done").wire

    async def script(receive: Any, send: Any, write: Any) -> None:
        assert 0 < write(last, closing=True) < len(last)
        await send({"type": WEBSOCKET_FLUSH})
        await until_closed(receive)

    app = App(script)
    async with connected(app, small=True) as client:
        assert await client.text() == "x" * 100_000
        close = await client.next()
        assert isinstance(close, CloseConnection)
        await client.send(close.response())
        await app.ended.wait()


async def test_whoever_has_answered_our_close_is_not_listened_to_any_more():
    async def script(receive: Any, send: Any, write: Any) -> None:
        write(Close(1001, "").wire, closing=True)
        await until_closed(receive)

    async with connected(App(script)) as client:
        close = await client.next()
        assert isinstance(close, CloseConnection)
        await client.send(close.response())
        assert await client.stream.receive_some() == b""
        await client.stream.send_all(b"x")  # refused with a reset
        with pytest.raises(trio.BrokenResourceError):
            await client.stream.send_all(b"x")


async def test_a_peer_that_is_gone_takes_nothing_and_does_no_harm():
    gone = trio.Event()

    async def script(receive: Any, send: Any, write: Any) -> None:
        await gone.wait()
        while write(encode("x" * 1000)):
            await trio.sleep(0.01)
        await send({"type": "websocket.send", "text": "x"})
        await until_closed(receive)

    app = App(script)
    async with connected(app) as client:
        await trio.aclose_forcefully(client.stream)
        gone.set()
        await app.ended.wait()


async def test_a_ping_written_directly_is_answered_to_the_application():
    heard: list[str] = []

    async def script(receive: Any, send: Any, write: Any) -> None:
        assert write(PING_FRAME) == len(PING_FRAME)
        heard.append((await receive())["type"])

    app = App(script)
    async with connected(app) as client:
        ping = await client.next()
        assert isinstance(ping, Ping)
        await client.send(ping.response())
        await app.ended.wait()
    assert heard == [WEBSOCKET_PONG]


async def test_over_tls_it_is_not_offered(tmp_path: Path):
    certificate = make_certificate(tmp_path)

    async def script(receive: Any, send: Any, write: Any) -> None:
        assert write is None
        await send({"type": "websocket.send", "text": "the ordinary way"})

    app = App(script)
    with trio.fail_after(10):
        async with our_server(app, certificate) as (port, _):
            tcp = await trio.open_tcp_stream("127.0.0.1", port)
            async with trio.SSLStream(
                tcp, certificate.client_context("http/1.1"), server_hostname="127.0.0.1"
            ) as stream:
                client = Client(stream)
                await client.open()
                assert await client.text() == "the ordinary way"
                assert WEBSOCKET_DIRECT not in app.extensions
