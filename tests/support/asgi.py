"""An ASGI client in memory: HTTP requests and WebSocket conversations without a socket.

For tests on the virtual clock, and for peers that misbehave in ways a network hides: one that
does not read holds up the app's `send` from the first frame on (`reading=False`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field, frozen

from cookcam.realtime.engineio import ASGIApp

Headers = Iterable[tuple[bytes, bytes]]


@frozen
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)


@frozen
class RequestRejected(Exception):
    """The upgrade was answered with plain HTTP."""

    response: Answer


@frozen
class Closed(Exception):
    """The server has closed the WebSocket."""

    code: int
    reason: str | None


def http_scope(kind: str, path: str, query: str, headers: Headers, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "http_version": "1.1",
        "path": path,
        "query_string": query.encode(),
        "headers": [(b"host", b"testserver"), *headers],
        "client": ("192.0.2.1", 50000),
        **more,
    }


async def request(
    app: ASGIApp,
    method: str,
    path: str,
    query: str = "",
    body: bytes = b"",
    headers: Headers = (),
    gone: trio.Event | None = None,
) -> Answer:
    """One request. Setting `gone` is the client going away in the middle of it."""
    gone = trio.Event() if gone is None else gone
    sent: list[MutableMapping[str, Any]] = []
    incoming = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> MutableMapping[str, Any]:
        if incoming:
            return incoming.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        await trio.lowlevel.checkpoint()
        sent.append(message)

    await app(http_scope("http", path, query, headers, method=method), receive, send)
    return _answer(sent)


@define(eq=False)
class Conversation:
    """The client's end of a WebSocket."""

    _to_app: trio.MemorySendChannel[MutableMapping[str, Any]]
    _from_app: trio.MemoryReceiveChannel[MutableMapping[str, Any]]
    over: trio.Event = field(factory=trio.Event)
    """Set when the app has returned."""

    async def send(self, *frames: str | bytes) -> None:
        for frame in frames:
            kind = "text" if isinstance(frame, str) else "bytes"
            await self._to_app.send({"type": "websocket.receive", kind: frame})

    async def receive(self) -> str | bytes:
        """The next frame. Raises Closed, once, and then answers the close as a peer does."""
        message = await self._from_app.receive()
        if message["type"] == "websocket.close":
            await self.disconnect(message["code"])
            raise Closed(message["code"], message.get("reason"))
        return message["text"] if message.get("text") is not None else message["bytes"]

    async def close_code(self) -> int:
        """Reads to the end."""
        while True:
            try:
                await self.receive()
            except Closed as closed:
                return closed.code

    async def disconnect(self, code: int = 1005) -> None:
        """The client goes away."""
        await self._to_app.send({"type": "websocket.disconnect", "code": code})


@asynccontextmanager
async def websocket(
    app: ASGIApp, path: str, query: str, headers: Headers = (), *, reading: bool = True
) -> AsyncIterator[Conversation]:
    """An accepted WebSocket; raises RequestRejected. Leaving it drops the connection."""
    to_app, app_receives = trio.open_memory_channel[MutableMapping[str, Any]](10)
    app_sends, from_app = trio.open_memory_channel[MutableMapping[str, Any]](
        1_000_000 if reading else 0
    )
    conversation = Conversation(to_app, from_app)
    await to_app.send({"type": "websocket.connect"})
    scope = http_scope(
        "websocket", path, query, headers, extensions={"websocket.http.response": {}}
    )

    async def run() -> None:
        await app(scope, app_receives.receive, app_sends.send)
        conversation.over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        first = await from_app.receive()
        if first["type"] == "websocket.accept":
            yield conversation
            nursery.cancel_scope.cancel()
            return
        response = _answer([first, await from_app.receive()])
    raise RequestRejected(response)


def _answer(sent: list[MutableMapping[str, Any]]) -> Answer:
    start, *rest = sent
    headers = {name.decode(): value.decode() for name, value in start["headers"]}
    return Answer(start["status"], headers, b"".join(message["body"] for message in rest))
