"""Whatever a client sends: an error or a close for it, and nothing for anybody else.

Over real connections of both protocols.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import trio
from attrs import define
from trio_websocket import ConnectionClosed, WebSocketConnection, open_websocket_url

from tests.fuzz import decoders
from tests.support.realtime import ApiUser, Live, open_live, serving

ANN, BOB = ApiUser(name="Ann"), ApiUser(name="Bob")

EVENTS = ["join", "say", "shout", "fail", "wait", "unspeakable", "authenticate", "unknown"]
MISSING = object()
PAYLOADS = {
    "no payload": MISSING,
    "null": None,
    "a string": "text",
    "an array": [1, {"room": "r"}],
    "a number": 1e308,
    "two megabytes": "x" * 2_000_001,
    "deep": json.loads('{"room":' + "[" * 60 + "]" * 60 + "}"),
    "wrong types": {"room": {"a": []}, "token": [], "text": 7},
}
PROTOCOLS = ["plain", "socketio"]


@define
class Client:
    """One connection over either protocol."""

    websocket: WebSocketConnection
    protocol: str

    async def send(self, event: str, payload: Any) -> None:
        if self.protocol == "plain":
            frame: Any = {"event": event}
            if payload is not MISSING:
                frame["data"] = payload
            text = json.dumps(frame)
        else:
            text = "42" + json.dumps([event] if payload is MISSING else [event, payload])
        with suppress(ConnectionClosed):
            await self.websocket.send_message(text)

    async def receive(self) -> tuple[str, Any] | None:
        """The next event and its data; None at the end of the connection."""
        with trio.fail_after(10):
            try:
                while True:
                    text = await self.websocket.get_message()
                    if self.protocol == "plain":
                        frame = json.loads(text)
                        return frame["event"], frame["data"]
                    if text.startswith("42"):
                        event, data = json.loads(text[2:])
                        return event, data
            except ConnectionClosed:
                return None


class Site:
    def __init__(self, live: Live, address: str) -> None:
        self.live, self.address = live, address

    def url(self, protocol: str) -> str:
        path = {
            "plain": "/api/v1/realtime",
            "socketio": "/socket.io/?EIO=4&transport=websocket",
        }[protocol]
        return f"ws://{self.address}{path}"

    def connection(self, protocol: str) -> Any:
        return open_websocket_url(self.url(protocol))

    async def sign_in(
        self, websocket: WebSocketConnection, protocol: str, person: ApiUser
    ) -> Client:
        token = {"token": self.live.token(person)}
        if protocol == "plain":
            await websocket.send_message(json.dumps({"event": "authenticate", "data": token}))
        else:
            await websocket.send_message(f"40{json.dumps(token)}")
        client = Client(websocket, protocol)
        response = await client.receive()
        assert response is not None
        assert response[0] == "connected"
        return client


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    limits = {"SOCKET_HANDSHAKES_PER_MINUTE": "1000", "SOCKET_EVENTS_PER_SECOND": "1000"}
    async with open_live(now=time.time, **limits) as live, serving(live) as address:
        live.failures.update({"r": RuntimeError("a bug")})
        yield Site(live, address)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", PAYLOADS)
async def test_every_event_with_every_wrong_payload(site, protocol, name):
    async with site.connection("plain") as bystander_socket:
        bystander = await site.sign_in(bystander_socket, "plain", BOB)
        for event in EVENTS:
            async with site.connection(protocol) as websocket:
                client = await site.sign_in(websocket, protocol, ANN)
                await client.send(event, PAYLOADS[name])
                await client.send("join", {"room": "after"})
                response = await client.receive()
                if response is None:  # closed
                    assert name == "two megabytes"
                elif response[0] == "joined":  # ignored
                    assert event == "unknown"
                else:
                    assert response[0] == "error"
                    assert response[1]["message"] == "Invalid payload"
                    assert await client.receive() == (
                        "joined",
                        {"room": "after", "userName": "Ann"},
                    )
        await bystander.send("ping", MISSING)
        assert await bystander.receive() is not None


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_number_that_is_not_finite_gets_an_error_and_the_connection_stays(site, number):
    """Python's JSON encoder writes them (json.dumps)."""
    async with site.connection("socketio") as websocket:
        client = await site.sign_in(websocket, "socketio", ANN)
        await websocket.send_message(f'42["join",{{"room":{number}}}]')
        event, data = await client.receive()
        assert (event, data["code"]) == ("error", "INVALID_JSON")
        assert "not finite" in data["message"]
        await client.send("join", {"room": "after"})
        assert await client.receive() == ("joined", {"room": "after", "userName": "Ann"})


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "frame",
    ["", " ", "\0", "42", '42["join"', "9", "44", "40", "43[]", "[]", "{}", "\N{BLACK HEART SUIT}"],
)
async def test_unknown_frames_are_ignored(site, protocol, frame):
    async with site.connection("plain") as bystander_socket:
        bystander = await site.sign_in(bystander_socket, "plain", BOB)
        for signed_in in (False, True):
            async with site.connection(protocol) as websocket:
                if signed_in:
                    await site.sign_in(websocket, protocol, ANN)
                for _ in range(3):
                    with trio.move_on_after(1):
                        try:
                            await websocket.send_message(frame)
                        except ConnectionClosed:
                            break
        await bystander.send("ping", MISSING)
        assert (await bystander.receive() or ("",))[0] == "pong"


async def test_failing_handler_does_not_affect_other_clients(site):
    async with (
        site.connection("plain") as first,
        site.connection("socketio") as second,
    ):
        ann = await site.sign_in(first, "plain", ANN)
        bob = await site.sign_in(second, "socketio", BOB)
        for _ in range(100):
            await ann.send("fail", {"room": "r"})
            await bob.send("fail", {"room": "r"})
        for client in (ann, bob):
            for _ in range(100):
                response = await client.receive()
                assert response is not None
                assert response[1]["code"] == "INTERNAL_ERROR"


def hostile_frame(rng: random.Random, protocol: str) -> str | bytes:
    """A frame that is damaged, put together from pieces of the protocol, or binary."""
    if rng.random() < 0.1:
        return rng.randbytes(rng.randint(0, 200))
    seeds = decoders.PLAIN_FRAMES if protocol == "plain" else decoders.PACKETS
    return decoders.clean(decoders.text(rng, seeds))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_older_connections_work_after_any_frame(site, protocol):
    rng = random.Random(7)
    async with site.connection("plain") as first, site.connection("socketio") as second:
        plain = await site.sign_in(first, "plain", BOB)
        socketio = await site.sign_in(second, "socketio", ApiUser(name="Eve"))
        for number in range(150):
            async with site.connection(protocol) as websocket:
                if number % 3:
                    await site.sign_in(websocket, protocol, ANN)
                with suppress(ConnectionClosed):
                    for _ in range(rng.randint(1, 3)):
                        await websocket.send_message(hostile_frame(rng, protocol))
            await plain.send("ping", MISSING)
            assert await plain.receive() is not None
            await socketio.send("join", {"room": "still here"})
            assert await socketio.receive() == (
                "joined",
                {"room": "still here", "userName": "Eve"},
            )
        assert not site.live.reports.captured
