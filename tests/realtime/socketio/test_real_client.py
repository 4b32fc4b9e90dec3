"""The client library that apps use, from npm, against our server over a real port."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from cookcam.realtime.engineio import CloseCounts
from cookcam.realtime.socketio import ConnectionRejected, RecoveryOptions, Socket, SocketServer
from tests.support.every_server import EVERY_SERVER, cookcam_serving

CLIENTS = Path(__file__).parents[2] / "clients"

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (CLIENTS / "node_modules" / "socket.io-client").exists(),
        reason="run npm ci in tests/clients",
    ),
]


@pytest.fixture(params=EVERY_SERVER)
def served(request: pytest.FixtureRequest) -> Any:
    return request.param


every_transport = pytest.mark.parametrize(
    "transports", ["polling", "websocket", "polling,websocket"]
)


async def run(scenario: str, address: str, transports: str) -> Any:
    command = ["node", "scenarios.mjs", scenario, f"http://{address}", transports]
    with trio.fail_after(20):
        done = await trio.run_process(
            command, cwd=CLIENTS, capture_stdout=True, stderr=subprocess.STDOUT, check=False
        )
    assert done.returncode == 0, done.stdout.decode()
    return json.loads(done.stdout)


def server_of(**options: Any) -> SocketServer:
    server = SocketServer(**options)
    main, custom = server.main, server.namespace("/custom")

    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        if auth.get("token") == "wrong":
            raise ConnectionRejected("Invalid or expired token", {"code": 401})
        socket.emit("auth", auth)

    main.on_connect(connect)
    custom.on_connect(connect)

    @main.on("message")
    async def message(socket: Socket, *args: Any) -> None:
        socket.emit("message-back", *args)

    @main.on("first")
    async def first(socket: Socket, *args: Any) -> Any:
        return args[1]

    @main.on("ask-me")
    async def ask_me(socket: Socket, *args: Any) -> Any:
        return [*await socket.call("question", *args, timeout=5)]

    return server


@every_transport
async def test_events_acknowledgements_binary_namespaces_and_rejections(transports, served):
    async with server_of() as server, served(server) as address:
        seen = await run("talk", address, transports)
    assert seen == {
        "auth": {"token": "t"},
        "echoed": [1, "zwei", {"drei": [True, None]}],
        "acknowledged": [1, 2],
        "deep": [3, 4],
        "flat": [5],
        "answered": ["sure!", [8, 9]],
        "customAuth": {"token": "c"},
        "shared": True,
        "transport": transports.split(",")[-1],
        "refused": {
            "message": "Invalid or expired token",
            "data": {"code": 401},
            "invalid": "Invalid namespace",
        },
    }


@every_transport
async def test_recovery(transports):
    server = server_of(recovery=RecoveryOptions())

    @server.main.on_connect
    async def connect(socket: Socket, auth: dict[str, Any]) -> None:
        if not socket.recovered:
            socket.emit("auth", auth)
            socket.emit("offset")

    @server.main.on("drop-me")
    async def drop(socket: Socket) -> None:
        socket.session.abort("transport error")

    @server.main.on_disconnect
    async def disconnect(socket: Socket, reason: str) -> None:
        server.main.emit("missed", {"n": 1})

    async with server, cookcam_serving(server) as address:
        seen = await run("recover", address, transports)
    assert seen == {"recovered": True, "same": True, "value": {"n": 1}}


@pytest.mark.parametrize(
    ("transports", "goodbye"),
    [("polling", True), ("websocket", True), ("polling,websocket", False)],
)
async def test_shutdown(transports, goodbye):
    server = server_of()
    ready = trio.Event()

    @server.main.on("ready")
    async def on_ready(socket: Socket) -> None:
        ready.set()

    seen: list[Any] = []

    async def client(address: str) -> None:
        seen.append(await run("shutdown", address, transports))

    async with server, cookcam_serving(server) as address, trio.open_nursery() as nursery:
        nursery.start_soon(client, address)
        await ready.wait()
        goodbyes = await server.shutdown(
            lambda socket: ("server_shutdown", {"reconnectAfterMs": 1000}),
            timeout=10,
            goodbye=goodbye,
        )
        assert goodbyes == CloseCounts(clean=1, cut=0)
    assert seen == [
        {
            "told": {"reconnectAfterMs": 1000},
            "reason": "io server disconnect" if goodbye else "transport close",
            "reconnects": not goodbye,
        }
    ]
