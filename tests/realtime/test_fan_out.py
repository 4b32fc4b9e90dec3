"""Broadcasts over real sockets: encoded once, written directly, complete and in order; slow readers
lose volatile events first and are then closed."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from attrs import define, field
from wsproto import ConnectionType, WSConnection
from wsproto.events import CloseConnection, Ping, RejectConnection, Request, TextMessage

from cookcam.realtime.server_events import ServerEvent
from cookcam.serving.extensions import WEBSOCKET_DIRECT
from tests.support.realtime import ApiUser, Live, open_live, serving

ANN = ApiUser(name="Ann")
SOCKETIO, PLAIN = "/socket.io/?EIO=4&transport=websocket", "/api/v1/realtime"
BOTH = pytest.mark.parametrize("target", [SOCKETIO, PLAIN])
SMALL = 4096


@define(eq=False)
class Client:
    """A peer of either protocol that reads only on request."""

    stream: trio.SocketStream
    protocol: WSConnection
    target: str
    closed_with: int | None = None
    _texts: list[str] = field(factory=list)
    _part: str = ""

    async def event(self) -> tuple[str, Any]:
        """The next event."""
        while True:
            text = await self.text()
            if self.target == PLAIN:
                frame = json.loads(text)
                return frame["event"], frame["data"]
            if text.startswith("42"):
                name, data = json.loads(text[2:])
                return name, data

    async def text(self) -> str:
        """Raises EOFError after a close, or at the end."""
        while not self._texts:
            if self.closed_with is not None:
                raise EOFError
            data = bytes(await self.stream.receive_some(1500))
            self.protocol.receive_data(data or None)
            for event in self.protocol.events():
                if isinstance(event, TextMessage):
                    self._part += event.data
                    if event.message_finished:
                        self._texts.append(self._part)
                        self._part = ""
                elif isinstance(event, Ping):
                    await self.stream.send_all(self.protocol.send(event.response()))
                elif isinstance(event, CloseConnection):
                    self.closed_with = event.code
                assert not isinstance(event, RejectConnection)
        return self._texts.pop(0)


@asynccontextmanager
async def connected(
    live: Live, address: str, target: str, *, small: bool = False
) -> AsyncIterator[Client]:
    """A client of Ann's, welcomed and idle; one with a small buffer is soon full."""
    host, port = address.split(":")
    sock = trio.socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
    await sock.connect((host, int(port)))
    before = live.hub.connection_count()
    async with trio.SocketStream(sock) as stream:
        client = Client(stream, WSConnection(ConnectionType.CLIENT), target)
        token = live.token(ANN)
        headers = [(b"authorization", f"Bearer {token}".encode())]
        await stream.send_all(client.protocol.send(Request(address, target, extra_headers=headers)))
        if target == SOCKETIO:
            assert (await client.text()).startswith("0{")
            hello = TextMessage(data=f"40{json.dumps({'token': token})}")
            await stream.send_all(client.protocol.send(hello))
        while "connected" not in await client.text():
            pass
        assert live.hub.connection_count() == before + 1
        yield client


@asynccontextmanager
async def channel(*, direct: bool = True) -> AsyncIterator[tuple[Live, str]]:
    async with open_live(SOCKET_MAX_PER_USER="100", SOCKET_HANDSHAKES_PER_MINUTE="1000") as live:
        channel = live.realtime

        async def observed(scope: Any, receive: Any, send: Any) -> None:
            if not direct:
                scope["extensions"].pop(WEBSOCKET_DIRECT, None)
            await channel(scope, receive, send)

        live.realtime = _Called(channel, observed)  # type: ignore[assignment]
        with trio.fail_after(20):
            async with serving(live) as address:
                yield live, address


class _Called:
    """The live channel, called in another way."""

    def __init__(self, channel: Any, call: Any) -> None:
        self._channel, self._call = channel, call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    async def __call__(self, *args: Any) -> None:
        await self._call(*args)


@pytest.mark.parametrize("direct", [True, False])
async def test_a_broadcast_reaches_both_protocols_alike(direct: bool):
    async with (
        channel(direct=direct) as (live, address),
        connected(live, address, SOCKETIO) as ann,
        connected(live, address, PLAIN) as bob,
    ):
        assert live.hub.broadcast("served", {"dish": "Spätzle"}) == 2
        for client in (ann, bob):
            assert await client.event() == ("served", {"dish": "Spätzle"})


@BOTH
async def test_what_is_sent_in_one_go_arrives_in_order_even_if_the_outbox_holds_less(target: str):
    async with channel() as (live, address), connected(live, address, target) as ann:
        [connection] = live.hub.connections
        for number in range(1000):
            if number % 2:
                assert live.hub.broadcast("to all", number) == 1
            else:
                assert connection.send("to one", number)
        for number in range(1000):
            assert await ann.event() == ("to all" if number % 2 else "to one", number)


@BOTH
async def test_slow_reader_is_closed_and_the_others_get_everything(target: str):
    """A full kernel, then 256 events, then 1013; the frame that was under way is whole."""
    async with (
        channel() as (live, address),
        connected(live, address, target, small=True) as slow,
        connected(live, address, target) as quick,
    ):
        count, dish = 0, "x" * 30_000
        received = 0
        async with trio.open_nursery() as nursery:

            async def read() -> None:
                nonlocal received
                while True:
                    event, data = await quick.event()
                    assert (event, data["number"]) == ("served", received)
                    received += 1

            nursery.start_soon(read)
            while live.hub.broadcast("served", {"number": count, "dish": dish}) == 2:
                count += 1
                while received < count:
                    await trio.lowlevel.checkpoint()
            while received < count + 1:
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert count >= 256
        seen = 0
        with suppress(EOFError):
            while True:
                event, data = await slow.event()
                assert (event, data) == ("served", {"number": seen, "dish": dish})
                seen += 1
        assert slow.closed_with == 1013
        assert 0 < seen <= count - 256


@BOTH
async def test_volatile_events_are_dropped_first(target: str):
    async with channel() as (live, address), connected(live, address, target, small=True) as slow:
        [connection] = live.hub.connections
        dish = "x" * 30_000
        for number in range(2000):
            live.hub.broadcast("feed", {"number": number, "dish": dish}, volatile=True)
            if number % 50 == 0:
                await trio.lowlevel.checkpoint()
        assert connection.send("room", {"number": -1})
        numbers: list[int] = []
        while not numbers or numbers[-1] >= 0:
            _, data = await slow.event()
            numbers.append(data["number"])
        assert numbers[:-1] == sorted(numbers[:-1])
        assert numbers[-2] == 1999
        assert len(numbers) < 2000
        assert slow.closed_with is None


async def test_an_announcement_is_encoded_once_for_each_protocol():
    announcement = ServerEvent("served", {"dish": "soup"})
    assert announcement.plain is announcement.plain
    assert announcement.plain.wire is announcement.plain.wire
    assert announcement.socketio.wire is announcement.socketio.wire
