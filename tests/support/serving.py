"""The same ASGI application served by plain Hypercorn and by ours, on real loopback ports."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from hypercorn.config import Config
from hypercorn.trio import serve

from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.serving.listener import SocketListener
from cookcam.serving.server import Server, protocol_config
from tests.support.tls import Certificate

App = Callable[[Any, Any, Any], Awaitable[None]]

ERROR_BODY = b'{"error":"BAD_REQUEST"}'


def error_body(_status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    return [(b"content-length", b"%d" % len(ERROR_BODY))], ERROR_BODY


@asynccontextmanager
async def plain_hypercorn(app: App, tls: Certificate | None = None) -> AsyncIterator[int]:
    """Yields the port of Hypercorn's own server."""
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.errorlog = None
    config.graceful_timeout = 0.1  # type: ignore[assignment]
    if tls is not None:
        config.certfile, config.keyfile = tls.cert_file, tls.key_file
    async with trio.open_nursery() as nursery:
        binds: list[str] = await nursery.start(serve, app, config)
        yield int(binds[0].rpartition(":")[2])
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def our_server(
    app: App,
    tls: Certificate | None = None,
    *,
    lifecycle: Lifecycle | None = None,
    compress_websockets: bool = False,
) -> AsyncIterator[tuple[int, Server]]:
    """Yields the port and the server."""
    config = protocol_config(
        keep_alive_seconds=75,
        compress_websockets=compress_websockets,
        tls_cert_file=tls and tls.cert_file,
        tls_key_file=tls and tls.key_file,
    )
    listener = SocketListener.bind("127.0.0.1", 0, tls=config.create_ssl_context())
    server = Server(app, [listener], config, lifecycle or Lifecycle(), Work(), error_body)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.serve)
        await nursery.start(server.accept)
        yield listener.port, server
        server.stop_accepting()
        nursery.cancel_scope.cancel()


async def sample_app(scope: Any, receive: Any, send: Any) -> None:
    """Every kind of response: with a length, in chunks, echoing what was sent, over a WebSocket."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    path = scope["path"]
    if path == "/chunks":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"one", b"two", b"three"):
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    if path == "/raise":
        raise RuntimeError("a bug of the application")
    body = b""
    if path == "/echo":
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
    else:
        body = f"{scope['method']} {path}".encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"x-method", scope["method"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
