"""Every check of the public socket.io test suite (revision 5) that its engine.io counterpart does
not make already, over a real port, with the suite's timings."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from tests.support.every_server import EVERY_SERVER
from tests.support.protocol_app import socket_server

POLLING = "/socket.io/?EIO=4&transport=polling"
WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"


@pytest.fixture(params=EVERY_SERVER)
async def address(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with socket_server() as server, request.param(server) as address:
        yield address


@asynccontextmanager
async def opened(address: str) -> AsyncIterator[WebSocketConnection]:
    async with open_websocket_url(f"ws://{address}{WEBSOCKET}") as connection:
        assert (await connection.get_message())[0] == "0"
        yield connection


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[WebSocketConnection]:
    async with opened(address) as connection:
        await connection.send_message("40")
        assert (await connection.get_message()).startswith("40{")
        assert await connection.get_message() == '42["auth",{}]'
        yield connection


async def closed(connection: WebSocketConnection) -> None:
    with trio.fail_after(5):
        while True:
            try:
                await connection.get_message()
            except ConnectionClosed:
                return


@pytest.mark.parametrize(
    ("sent", "accepted", "auth"),
    [
        ("40", "40", '42["auth",{}]'),
        ('40{"token":"123"}', "40", '42["auth",{"token":"123"}]'),
        ("40/custom,", "40/custom,", '42/custom,["auth",{}]'),
        ('40/custom,{"token":"abc"}', "40/custom,", '42/custom,["auth",{"token":"abc"}]'),
    ],
)
async def test_connecting_to_a_namespace(address, sent, accepted, auth):
    async with opened(address) as connection:
        await connection.send_message(sent)
        response = await connection.get_message()
        assert response.startswith(accepted)
        facts = json.loads(response.removeprefix(accepted))
        assert set(facts) == {"sid"}
        assert isinstance(facts["sid"], str)
        assert await connection.get_message() == auth


async def test_unknown_namespace_is_rejected(address):
    async with opened(address) as connection:
        await connection.send_message("40/random")
        assert await connection.get_message() == '44/random,{"message":"Invalid namespace"}'


async def test_an_invalid_first_packet_ends_the_connection(address):
    async with opened(address) as connection:
        await connection.send_message("4abc")
        await closed(connection)


async def test_a_client_that_never_connects_is_closed(address):
    async with opened(address) as connection:
        await closed(connection)


async def test_leaving_the_main_namespace_keeps_the_connection(address):
    async with connected(address) as connection:
        await connection.send_message("41")
        assert await connection.get_message() == "2"


async def test_leaving_one_namespace_keeps_the_other(address):
    async with connected(address) as connection:
        assert await connection.get_message() == "2"
        await connection.send_message("40/custom")
        assert (await connection.get_message()).startswith("40/custom,")
        assert await connection.get_message() == '42/custom,["auth",{}]'
        await connection.send_message("41/custom")
        await connection.send_message('42["message","message to main namespace"]')
        assert await connection.get_message() == '42["message-back","message to main namespace"]'


PLACEHOLDERS = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (['42["message",1,"2",{"3":[true]}]'], ['42["message-back",1,"2",{"3":[true]}]']),
        (['42456["message-with-ack",1,"2",{"3":[false]}]'], ['43456[1,"2",{"3":[false]}]']),
        (
            ['452-["message",' + PLACEHOLDERS, b"\x01\x02\x03", b"\x04\x05\x06"],
            ['452-["message-back",' + PLACEHOLDERS, b"\x01\x02\x03", b"\x04\x05\x06"],
        ),
        (
            ['452-789["message-with-ack",' + PLACEHOLDERS, b"\x01\x02\x03", b"\x04\x05\x06"],
            ["462-789[" + PLACEHOLDERS, b"\x01\x02\x03", b"\x04\x05\x06"],
        ),
    ],
    ids=["text", "acknowledgement", "binary", "binary acknowledgement"],
)
async def test_messages(address, sent, answered):
    async with connected(address) as connection:
        for frame in sent:
            await connection.send_message(frame)
        assert [await connection.get_message() for _ in answered] == answered


@pytest.mark.parametrize("frame", ["4abc", "42{}", '42abc["message-with-ack",1,"2"]'])
async def test_an_invalid_packet_ends_the_connection(address, frame):
    async with connected(address) as connection:
        await connection.send_message(frame)
        await closed(connection)


async def test_the_same_over_polling(address):
    async with httpx.AsyncClient(base_url=f"http://{address}") as http:
        sid = json.loads((await http.get(POLLING)).text[1:])["sid"]
        session = f"{POLLING}&sid={sid}"
        sent = '40\x1e451-7["message-with-ack",{"_placeholder":true,"num":0}]\x1ebAQID'
        assert (await http.post(session, content=sent)).text == "ok"
        received: list[str] = []
        while len(received) < 4:
            received += (await http.get(session)).text.split("\x1e")
        assert received[1:] == [
            '42["auth",{}]',
            '461-7[{"_placeholder":true,"num":0}]',
            "bAQID",
        ]
