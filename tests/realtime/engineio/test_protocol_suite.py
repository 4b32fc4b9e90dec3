"""Every check of the public engine.io test suite (revision 4), over a real port, with the
suite's timings. docs/socketio.md tells how to run the suite itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from trio_websocket import (
    ConnectionClosed,
    ConnectionRejected,
    WebSocketConnection,
    open_websocket_url,
)

from tests.support.every_server import EVERY_SERVER
from tests.support.protocol_app import engine_server

PATH = "/engine.io/"


@pytest.fixture(params=EVERY_SERVER)
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with engine_server() as server, request.param(server) as address:
        yield address


@pytest.fixture
async def http(address: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://{address}") as client:
        yield client


def url(query: str) -> str:
    return f"{PATH}?{query}"


def polling(sid: str) -> str:
    return url(f"EIO=4&transport=polling&sid={sid}")


async def open_session(http: httpx.AsyncClient) -> str:
    response = await http.get(url("EIO=4&transport=polling"))
    return json.loads(response.text[1:])["sid"]


def websocket(address: str, query: str = "EIO=4&transport=websocket"):
    return open_websocket_url(f"ws://{address}{url(query)}")


def upgrade(address: str, sid: str):
    return websocket(address, f"EIO=4&transport=websocket&sid={sid}")


async def closed(connection: WebSocketConnection) -> int:
    """Reads to the end; the close code."""
    with trio.fail_after(5):
        while True:
            try:
                await connection.get_message()
            except ConnectionClosed as error:
                return error.reason.code


async def test_polling_opens_a_session(http):
    response = await http.get(url("EIO=4&transport=polling"))
    assert response.status_code == 200
    assert response.text[0] == "0"
    facts = json.loads(response.text[1:])
    assert isinstance(facts.pop("sid"), str)
    assert facts == {
        "upgrades": ["websocket"],
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    }


async def test_websocket_opens_a_session(address):
    async with websocket(address) as connection:
        frame = await connection.get_message()
    assert frame[0] == "0"
    facts = json.loads(frame[1:])
    assert set(facts) == {"sid", "upgrades", "pingInterval", "pingTimeout", "maxPayload"}
    assert facts["upgrades"] == []


@pytest.mark.parametrize(
    ("method", "query"),
    [
        ("GET", "transport=polling"),
        ("GET", "EIO=abc&transport=polling"),
        ("GET", "EIO=4"),
        ("GET", "EIO=4&transport=abc"),
        ("POST", "EIO=4&transport=polling"),
        ("PUT", "EIO=4&transport=polling"),
    ],
)
async def test_polling_rejects_a_bad_handshake(http, method, query):
    assert (await http.request(method, url(query))).status_code == 400


@pytest.mark.parametrize(
    "query", ["transport=websocket", "EIO=abc&transport=websocket", "EIO=4", "EIO=4&transport=abc"]
)
async def test_websocket_rejects_a_bad_handshake(address, query):
    with pytest.raises(ConnectionRejected):
        async with websocket(address, query):
            pass


@pytest.mark.parametrize("body", ["4hello", "4test1\x1e4test2\x1e4test3", "4hello\x1ebAQIDBA=="])
async def test_polling_carries_messages_both_ways(http, body):
    sid = await open_session(http)
    pushed = await http.post(polling(sid), content=body)
    assert (pushed.status_code, pushed.text) == (200, "ok")
    polled = await http.get(polling(sid))
    assert (polled.status_code, polled.text) == (200, body)


async def test_an_invalid_packet_ends_a_polling_session(http):
    sid = await open_session(http)
    assert (await http.post(polling(sid), content="abc")).status_code == 400
    assert (await http.get(polling(sid))).status_code == 400


async def test_a_second_poll_at_the_same_time_ends_the_session(http):
    sid = await open_session(http)
    responses: dict[str, httpx.Response] = {}

    async def first() -> None:
        responses["first"] = await http.get(polling(sid))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await trio.sleep(0.02)
        responses["second"] = await http.get(polling(sid))
    assert (responses["first"].status_code, responses["first"].text) == (200, "1")
    assert responses["second"].status_code == 400
    assert (await http.get(polling(sid))).status_code == 400


async def test_a_cancelled_poll_ends_the_session(http):
    sid = await open_session(http)
    with trio.move_on_after(0.02):
        await http.get(polling(sid))
    assert (await http.get(polling(sid))).status_code == 400


@pytest.mark.parametrize("frame", ["4hello", b"\x01\x02\x03\x04"])
async def test_websocket_carries_messages_both_ways(address, frame):
    async with websocket(address) as connection:
        await connection.get_message()
        await connection.send_message(frame)
        assert await connection.get_message() == frame


async def test_an_invalid_packet_ends_a_websocket_session(address):
    async with websocket(address) as connection:
        await connection.get_message()
        await connection.send_message("abc")
        assert await closed(connection) == 1002


async def test_polling_heartbeat(http):
    sid = await open_session(http)
    for _ in range(3):
        polled = await http.get(polling(sid))
        assert (polled.status_code, polled.text) == (200, "2")
        assert (await http.post(polling(sid), content="3")).status_code == 200


async def test_polling_without_pongs_ends(http):
    sid = await open_session(http)
    await trio.sleep(0.52)
    assert (await http.get(polling(sid))).status_code == 400


async def test_websocket_heartbeat(address):
    async with websocket(address) as connection:
        await connection.get_message()
        for _ in range(3):
            assert await connection.get_message() == "2"
            await connection.send_message("3")


async def test_websocket_without_pongs_ends(address):
    async with websocket(address) as connection:
        await closed(connection)


async def test_a_close_packet_ends_a_polling_session(http):
    sid = await open_session(http)
    polled: list[httpx.Response] = []

    async def poll() -> None:
        polled.append(await http.get(polling(sid)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(poll)
        nursery.start_soon(lambda: http.post(polling(sid), content="1"))
    assert (polled[0].status_code, polled[0].text) == (200, "6")
    assert (await http.get(polling(sid))).status_code == 400


async def test_a_close_packet_ends_a_websocket_session(address):
    async with websocket(address) as connection:
        await connection.get_message()
        await connection.send_message("1")
        assert await closed(connection) == 1000


async def test_an_upgrade_takes_the_session_over(address, http):
    sid = await open_session(http)
    async with upgrade(address, sid) as connection:
        await connection.send_message("2probe")
        assert await connection.get_message() == "3probe"
        polled = await http.get(polling(sid))
        assert (polled.status_code, polled.text) == (200, "6")
        await connection.send_message("5")
        await connection.send_message("4hello")
        assert await connection.get_message() == "4hello"


@pytest.mark.parametrize("patient", [True, False], ids=["after 3probe", "in one go"])
async def test_requests_after_an_upgrade_are_rejected(address, http, patient):
    sid = await open_session(http)
    async with upgrade(address, sid) as connection:
        await connection.send_message("2probe")
        if patient:
            assert await connection.get_message() == "3probe"
        await connection.send_message("5")
        assert (await http.get(polling(sid))).status_code == 400
        if not patient:
            assert await connection.get_message() == "3probe"
        await connection.send_message("4hello")
        assert await connection.get_message() == "4hello"


async def test_a_second_websocket_after_an_upgrade_is_closed(address, http):
    sid = await open_session(http)
    async with upgrade(address, sid) as connection:
        await connection.send_message("2probe")
        assert await connection.get_message() == "3probe"
        await connection.send_message("5")
        async with upgrade(address, sid) as second:
            await closed(second)
        await connection.send_message("4hello")
        assert await connection.get_message() == "4hello"
