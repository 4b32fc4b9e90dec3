"""The libraries that apps use, against the channel behind the edge on a real port."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import trio
from attrs import define, frozen
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    open_websocket_url,
)
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request

from tests.support.node_clients import NodeClients, node_clients
from tests.support.realtime import PLAIN_PATH, ApiUser, Live, open_live, serving

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")
TRANSPORTS = {
    "default": {},
    "websocket": {"transports": ["websocket"]},
    "polling": {"transports": ["polling"]},
}
each_transport = pytest.mark.parametrize("options", TRANSPORTS.values(), ids=TRANSPORTS)


@frozen
class Site:
    live: Live
    address: str

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def plain_url(self) -> str:
        return f"ws://{self.address}/api/v1/realtime"

    @asynccontextmanager
    async def plain(self, person: ApiUser) -> AsyncIterator[WebSocketConnection]:
        headers = [(b"authorization", f"Bearer {self.live.token(person)}".encode())]
        async with open_websocket_url(self.plain_url, extra_headers=headers) as websocket:
            assert (await frame_of(websocket))["event"] == "connected"
            yield websocket


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_live(now=time.time) as live, serving(live) as address:
        yield Site(live, address)


@pytest.fixture
async def node() -> AsyncIterator[NodeClients]:
    async with node_clients() as clients:
        yield clients


async def frame_of(websocket: WebSocketConnection) -> Any:
    with trio.fail_after(10):
        return json.loads(await websocket.get_message())


async def close_code(websocket: WebSocketConnection) -> int:
    with trio.fail_after(10), suppress(ConnectionClosed):
        while True:
            await websocket.get_message()
    assert websocket.closed is not None
    return websocket.closed.code


# -- Socket.IO


@pytest.mark.external
@each_transport
async def test_the_snippet_of_an_existing_client(site, node, options):
    good = await node.connect(site.url, site.live.token(ANN), **options)
    received = await good.expect("event connected")
    assert received["message"] == "Connected to CookCam real-time service"
    assert received["userId"] == str(ANN.id)
    if "transports" not in options:
        assert await good.expect("upgrade") == "websocket"

    missing = await node.connect(site.url, **options)
    malformed = await node.connect(site.url, "not a token", **options)
    expired = await node.connect(site.url, site.live.token(ANN, -60), **options)
    foreign = await node.connect(site.url, site.live.token(ANN, iss="https://x.example"), **options)
    error = await missing.expect("connect_error")
    assert error == {"message": "Authentication token required"}
    for rejected in (malformed, expired, foreign):
        assert await rejected.expect("connect_error") == {"message": "Invalid or expired token"}


@pytest.mark.external
async def test_a_token_in_the_authorization_header(site, node):
    headers = {"Authorization": f"Bearer {site.live.token(ANN)}"}
    socket = await node.connect(site.url, extraHeaders=headers)
    assert (await socket.expect("event connected"))["userId"] == str(ANN.id)


@pytest.mark.external
@each_transport
async def test_a_socketio_user_and_a_plain_one_share_a_room(site, node, options):
    ann = await node.connect(site.url, site.live.token(ANN), **options)
    await ann.expect("event connected")
    assert await ann.ask("join", {"room": "kitchen"}) == {"ok": True}
    async with site.plain(BOB) as bob:
        await bob.send_message('{"event":"join","data":{"room":"kitchen"},"id":"1"}')
        assert (await frame_of(bob))["replyTo"] == "1"
        await bob.send_message('{"event":"say","data":{"room":"kitchen","text":"hello"}}')
        data = await ann.expect("event said")
        assert data == {"text": "hello", "userId": str(BOB.id)}
        await ann.emit("say", {"room": "kitchen", "text": "hello back"})
        frame = await frame_of(bob)
        assert frame["data"] == {"text": "hello back", "userId": str(ANN.id)}
        assert await ann.ask("say", {}) == {"ok": False, "error": "Invalid payload"}


@pytest.mark.external
async def test_two_devices_of_one_user(site, node):
    phone = await node.connect(site.url, site.live.token(ANN))
    tablet = await node.connect(site.url, site.live.token(ANN))
    await phone.expect("event connected")
    await tablet.expect("event connected")
    realtime = site.live.realtime
    assert (realtime.connected_users(), realtime.connections()) == (1, 2)
    assert site.live.hub.send_to_user(ANN.id, "both", {"n": 1}) == 2
    assert await phone.expect("event both") == await tablet.expect("event both") == {"n": 1}
    await phone.disconnect()
    with trio.fail_after(5):
        while realtime.connections() == 2:
            await trio.sleep(0.01)
    assert realtime.connected_users() == 1
    assert site.live.hub.send_to_user(ANN.id, "one", {"n": 2}) == 1
    assert await tablet.expect("event one") == {"n": 2}


@pytest.mark.external
async def test_the_sixth_connection_replaces_the_first_for_good(site, node):
    sockets = [await node.connect(site.url, site.live.token(ANN)) for _ in range(1)]
    await sockets[0].expect("event connected")
    for _ in range(5):
        socket = await node.connect(site.url, site.live.token(ANN))
        await socket.expect("event connected")
        sockets.append(socket)
    end = await sockets[0].expect("disconnect")
    assert (end["reason"], end["active"]) == ("io server disconnect", False)
    assert site.live.hub.send_to_user(ANN.id, "x", {}) == 5


@pytest.mark.external
async def test_an_expired_token_closes_with_4401_and_the_library_may_return(site, node):
    options = {"transports": ["websocket"], "reconnection": True}
    socket = await node.connect(site.url, site.live.token(ANN), **options)
    await socket.expect("event connected")
    (connection,) = site.live.hub.connections
    connection.close(4401, "token expired")
    end = await socket.expect("disconnect")
    assert end == {"reason": "transport close", "active": True, "code": 4401}
    await socket.disconnect()


# -- plain


@define
class RawWebSocket:
    """A client without automatic responses."""

    stream: trio.SocketStream
    protocol: WSConnection
    pings: int = 0

    async def close_code(self) -> int:
        with trio.fail_after(10):
            while True:
                for event in self.protocol.events():
                    if isinstance(event, CloseConnection):
                        return event.code
                    self.pings += isinstance(event, Ping)
                self.protocol.receive_data(await self.stream.receive_some() or None)


@asynccontextmanager
async def raw_websocket(site: Site, person: ApiUser) -> AsyncIterator[RawWebSocket]:
    """A plain connection whose `connected` has not been read."""
    host, port = site.address.split(":")
    protocol = WSConnection(ConnectionType.CLIENT)
    token = f"Bearer {site.live.token(person)}"
    request = Request(host, PLAIN_PATH, extra_headers=[(b"authorization", token.encode())])
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(protocol.send(request))
        protocol.receive_data(await stream.receive_some())
        assert isinstance(next(protocol.events()), AcceptConnection)
        yield RawWebSocket(stream, protocol)


async def test_a_plain_client_by_header_and_by_first_frame(site):
    async with site.plain(ANN) as websocket:
        await websocket.send_message('{"event":"ping","id":7}')
        assert (await frame_of(websocket))["replyTo"] == 7
    async with open_websocket_url(site.plain_url, subprotocols=["cookcam.v1"]) as websocket:
        assert websocket.subprotocol == "cookcam.v1"
        token = site.live.token(ANN)
        await websocket.send_message(
            json.dumps({"event": "authenticate", "data": {"token": token}})
        )
        frame = await frame_of(websocket)
        assert (frame["event"], frame["data"]["userId"]) == ("connected", str(ANN.id))


@pytest.mark.parametrize(
    ("header", "query", "error"),
    [
        ("Bearer nonsense", "", "Token expired or invalid"),
        ("Basic abc", "", "Authentication required"),
        (None, "?token=abc", "Authentication required"),
    ],
)
async def test_rejected_upgrade_is_an_http_response(site, header, query, error):
    headers = [(b"authorization", header.encode())] if header else []
    with pytest.raises(ConnectionRejected) as rejected:
        async with open_websocket_url(site.plain_url + query, extra_headers=headers):
            pass
    assert rejected.value.status_code == 401
    assert rejected.value.body is not None
    assert json.loads(rejected.value.body)["error"] == error


async def test_rejected_first_frame_closes_with_4401(site):
    async with open_websocket_url(site.plain_url) as websocket:
        await websocket.send_message('{"event":"authenticate","data":{"token":"nonsense"}}')
        frame = await frame_of(websocket)
        error = {"event": "connect_error", "data": {"message": "Invalid or expired token"}}
        assert frame == error
        assert await close_code(websocket) == 4401


async def test_text_that_is_no_utf8_closes_with_1007(site):
    async with site.plain(BOB) as other:
        async with raw_websocket(site, ANN) as raw:
            unmasked = b"\xff\xfe"  # a mask of zeros changes nothing
            await raw.stream.send_all(b"\x81\x82\0\0\0\0" + unmasked)
            assert await raw.close_code() == 1007
        await other.send_message('{"event":"ping"}')
        assert (await frame_of(other))["event"] == "pong"


async def test_a_message_of_two_megabytes_closes_with_1009(site):
    async with site.plain(BOB) as other:
        async with site.plain(ANN) as websocket:
            await websocket.send_message("x" * 2_000_001)
            assert await close_code(websocket) == 1009
        await other.send_message('{"event":"ping"}')
        assert (await frame_of(other))["event"] == "pong"


async def test_silent_client_is_pinged_and_closed_and_a_responding_one_is_not():
    settings = {"SOCKET_PING_INTERVAL_SECONDS": "0.1", "SOCKET_PING_TIMEOUT_SECONDS": "0.3"}
    async with open_live(now=time.time, **settings) as live, serving(live) as address:
        site = Site(live, address)
        async with site.plain(BOB) as websocket, raw_websocket(site, ANN) as raw:
            assert await raw.close_code() == 1011
            assert raw.pings == 1
            await trio.sleep(0.5)  # the library answers pings by itself
            await websocket.send_message('{"event":"ping"}')
            assert (await frame_of(websocket))["event"] == "pong"


async def test_no_message_is_compressed(site):
    upgrade = {
        "connection": "upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
        "sec-websocket-extensions": "permessage-deflate",
    }
    request = "GET /api/v1/realtime HTTP/1.1\r\nhost: x\r\n"
    request += "".join(f"{name}: {value}\r\n" for name, value in upgrade.items()) + "\r\n"
    host, port = site.address.split(":")
    async with await trio.open_tcp_stream(host, int(port)) as stream:
        await stream.send_all(request.encode())
        response = bytes(await stream.receive_some())
    assert response.startswith(b"HTTP/1.1 101")
    assert b"sec-websocket-extensions" not in response.lower()


# -- behind the edge


async def test_the_limit_of_handshakes_goes_by_the_client_behind_a_trusted_proxy():
    settings = {"TRUSTED_PROXIES": "127.0.0.1/32", "SOCKET_HANDSHAKES_PER_MINUTE": "2"}
    async with (
        open_live(now=time.time, **settings) as live,
        serving(live) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):

        async def handshake(client: str) -> int:
            response = await http.get(
                "/socket.io/",
                params={"EIO": "4", "transport": "polling"},
                headers={"x-forwarded-for": client},
            )
            return response.status_code

        assert [await handshake("198.51.100.1") for _ in range(3)] == [200, 200, 429]
        assert await handshake("198.51.100.2") == 200


async def test_page_can_read_polling_responses_by_one_cors_header():
    async with (
        open_live(now=time.time, CORS_ORIGIN="https://cookcam.ai") as live,
        serving(live) as address,
        httpx.AsyncClient(base_url=f"http://{address}") as http,
    ):
        response = await http.get(
            "/socket.io/",
            params={"EIO": "4", "transport": "polling"},
            headers={"origin": "https://cookcam.ai"},
        )
        allowed = response.headers.get_list("access-control-allow-origin")
        assert (response.status_code, allowed) == (200, ["https://cookcam.ai"])
        response = await http.get("/socket.io/", params={"EIO": "4", "transport": "carrier"})
        assert (response.json()["code"], response.json()["message"]) == (0, "Transport unknown")
