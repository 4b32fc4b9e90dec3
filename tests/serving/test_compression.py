"""WebSockets whose messages are compressed, where both sides agree."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Event, Request, TextMessage
from wsproto.extensions import PerMessageDeflate

from cookcam.serving.extensions import WEBSOCKET_DIRECT
from tests.support.serving import our_server

LONG = "the same again, " * 2_000


class Echo:
    """Sends back what it gets, twice, so that the second one can refer to the first."""

    direct = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.direct = WEBSOCKET_DIRECT in scope["extensions"]
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            for _ in range(2):
                await send({"type": "websocket.send", "text": message["text"]})


@pytest.mark.parametrize(
    ("allowed", "offered", "agreed"),
    [(True, True, True), (True, False, False), (False, True, False)],
)
async def test_messages_are_compressed_when_both_sides_want_it(
    allowed: bool, offered: bool, agreed: bool
):
    app = Echo()
    with trio.fail_after(10):
        async with (
            our_server(app, compress_websockets=allowed) as (port, _),
            await trio.open_tcp_stream("127.0.0.1", port) as stream,
        ):
            offers = [PerMessageDeflate()] if offered else []
            peer = WSConnection(ConnectionType.CLIENT)
            await stream.send_all(
                peer.send(Request(host="test", target="/", extensions=list(offers)))
            )
            (accepted,), _ = await events(peer, stream)
            assert isinstance(accepted, AcceptConnection)
            assert bool(accepted.extensions) is agreed

            await stream.send_all(peer.send(TextMessage(LONG)))
            texts, size = [""], 0
            while "".join(texts) != LONG * 2:
                got, more = await events(peer, stream)
                texts += [event.data for event in got if isinstance(event, TextMessage)]
                size += more
            assert (size < len(LONG) / 10) is agreed

            await stream.send_all(peer.send(CloseConnection(1000)))
            (closed,), _ = await events(peer, stream)
            assert isinstance(closed, CloseConnection)
    assert app.direct is not agreed


async def test_a_message_that_inflates_above_the_limit_is_rejected():
    with trio.fail_after(10):
        async with (
            our_server(Echo(), compress_websockets=True) as (port, _),
            await trio.open_tcp_stream("127.0.0.1", port) as stream,
        ):
            peer = WSConnection(ConnectionType.CLIENT)
            request = Request(host="test", target="/", extensions=[PerMessageDeflate()])
            await stream.send_all(peer.send(request))
            await events(peer, stream)
            await stream.send_all(peer.send(TextMessage("x" * (2**20 + 1))))
            (closed,), _ = await events(peer, stream)
    assert isinstance(closed, CloseConnection)
    assert closed.code == 1009


async def events(peer: WSConnection, stream: trio.SocketStream) -> tuple[list[Event], int]:
    """What comes next, and how many bytes that were."""
    data = await stream.receive_some()
    peer.receive_data(bytes(data))
    return list(peer.events()), len(data)
