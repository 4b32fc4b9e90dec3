"""What the reference clients from npm expect of a server beyond the protocol: timing and acks.

Each scenario of tests/clients/reference.mjs gives with this server what it gives with Node's.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from cookcam.realtime.engineio import EngineServer, Session, standalone
from cookcam.realtime.socketio import Socket, SocketServer
from tests.support.every_server import cookcam_serving

CLIENTS = Path(__file__).parents[2] / "clients"

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (CLIENTS / "node_modules" / "socket.io-client").exists(),
        reason="run npm ci in tests/clients",
    ),
]

every_transport = pytest.mark.parametrize(
    "transports", ["polling", "websocket", "polling,websocket"]
)


async def run(scenario: str, address: str, transports: str, size: int = 0) -> Any:
    url = f"http://{address}"
    command = ["node", "reference.mjs", scenario, url, transports, str(size)]
    with trio.fail_after(30):
        done = await trio.run_process(
            command, cwd=CLIENTS, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    assert done.returncode == 0, done.stdout.decode()
    return json.loads(done.stdout)


async def echo(session: Session) -> None:
    async for data in session:
        session.send(data)


@asynccontextmanager
async def reference_server() -> AsyncIterator[str]:
    """Events: `echo` and `count` return their argument, `counted` the arguments of all `count`s."""
    sockets = SocketServer()
    engine = EngineServer(echo, max_payload=1000)
    counted: list[Any] = []

    @sockets.main.on("echo")
    async def bounce(socket: Socket, value: Any) -> Any:
        return value

    @sockets.main.on("count")
    async def count(socket: Socket, value: Any) -> Any:
        counted.append(value)
        return value if value != 1 else None

    @sockets.main.on("counted")
    async def report(socket: Socket) -> Any:
        return counted

    @sockets.main.on("nothing-returned")
    async def nothing(socket: Socket) -> None:
        counted.append("nothing")

    @sockets.main.on("push")
    async def push(socket: Socket) -> None:
        socket.emit("pushed", b"\4\5\6")

    async with sockets, engine, cookcam_serving(standalone(sockets, engine)) as address:
        yield address


@every_transport
async def test_acknowledgement_comes_within_90_ms_during_an_upgrade(transports):
    async with reference_server() as address:
        assert await run("shortTimeout", address, transports) == list(range(10))


@every_transport
async def test_retry_queue_sends_each_event_once_and_in_order(transports):
    async with reference_server() as address:
        seen = await run("retryQueue", address, transports)
    assert seen["received"] == list(range(10))
    assert seen["acknowledged"] == [0, None, *range(2, 10)]


@every_transport
async def test_result_of_none_is_no_error_for_retries(transports):
    async with reference_server() as address:
        seen = await run("retriesOfNull", address, transports)
    assert seen == {"answer": [None], "received": [1, None, "nothing"]}


@every_transport
async def test_unknown_event_is_not_acknowledged(transports):
    async with reference_server() as address:
        seen = await run("unknownEvent", address, transports)
    assert seen == {"error": "operation has timed out", "packets": 4}


@every_transport
async def test_volatile_event_is_sent_only_while_connected(transports):
    async with reference_server() as address:
        assert await run("volatile", address, transports) == ["after it"]


@every_transport
async def test_forced_base64_carries_binary_both_ways(transports):
    async with reference_server() as address:
        seen = await run("forcedBase64", address, transports)
        assert (seen["echoed"], seen["pushed"]) == ([1, 2, 3], [4, 5, 6])
        assert seen["transport"] == transports.split(",")[-1]
        seen = await run("engineBase64", address, transports)
        assert seen == {"value": [0, 1, 2, 255], "text": "cash money €€€"}


@pytest.mark.parametrize("size", [1_001, 1_048_576, 5_000_000])
async def test_message_over_the_limit_gives_the_client_a_detail(size):
    async with reference_server() as address:
        polling = await run("engineTooLarge", address, "polling", size)
        websocket = await run("engineTooLarge", address, "websocket", size)
    assert polling == {
        "reason": "transport error",
        "message": "xhr post error",
        "description": 413,
        "code": None,
        "closeReason": None,
        "text": "",
    }
    assert (websocket["reason"], websocket["code"]) == ("transport close", 1009)
    assert websocket["closeReason"] == ""
