"""The servers that the public protocol suites of engine.io and socket.io expect, on one port.

    python -m tests.support.protocol_app --port 3000

`/engine.io/` echoes; `/socket.io/` and its namespace `/custom` behave as the test suite section
of the socket.io protocol says. Timings are those of the suites. docs/socketio.md describes how the
suites are run against it.
"""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from cookcam.realtime.engineio import ASGIApp, EngineServer, Session, standalone
from cookcam.realtime.socketio import Socket, SocketServer

TIMINGS = {"ping_interval": 0.3, "ping_timeout": 0.2, "max_payload": 1_000_000, "origins": ["*"]}


async def echo(session: Session) -> None:
    async for data in session:
        session.send(data)


def engine_server(**options: Any) -> EngineServer:
    return EngineServer(echo, **{**TIMINGS, **options})


def socket_server(**options: Any) -> SocketServer:
    sockets = SocketServer(**{**TIMINGS, "connect_timeout": 1.0, **options})

    async def send_auth(socket: Socket, auth: dict[str, Any]) -> None:
        socket.emit("auth", auth)

    async def message(socket: Socket, *args: Any) -> None:
        socket.emit("message-back", *args)

    async def message_with_ack(socket: Socket, *args: Any) -> tuple[Any, ...]:
        return args

    sockets.main.on_connect(send_auth)
    sockets.main.on("message")(message)
    sockets.main.on("message-with-ack")(message_with_ack)
    sockets.namespace("/custom").on_connect(send_auth)
    return sockets


def protocol_app() -> ASGIApp:
    return standalone(engine_server(), socket_server())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=3000)
    config = Config()
    config.bind = [f"localhost:{parser.parse_args().port}"]
    trio.run(partial(serve, protocol_app(), config, mode="asgi"))  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
