"""A client that drives the edge or the app in memory, as a server would."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import orjson
import trio
from attrs import field, frozen

OURS = {"cookcam.cancel_on_disconnect": {}}
"""The extensions of our own server."""


@frozen
class Reply:
    status: int
    pairs: list[tuple[str, str]]
    body: bytes

    @property
    def headers(self) -> dict[str, str]:
        """The headers; a name that occurs twice is a mistake unless it is Vary."""
        found: dict[str, str] = {}
        for name, value in self.pairs:
            assert name == name.lower()
            assert name not in found or name == "vary", name
            found[name] = f"{found[name]}, {value}" if name in found else value
        return found

    def json(self) -> Any:
        return orjson.loads(self.body)


@frozen
class Client:
    app: Any
    peer: str | None = "192.0.2.1"
    headers: dict[str, str] = field(factory=dict[str, str])
    extensions: dict[str, Any] = field(factory=lambda: dict(OURS))
    http_version: str = "1.1"

    async def get(self, path: str, **more: Any) -> Reply:
        return await self.request("GET", path, **more)

    async def post(self, path: str, value: Any = None, **more: Any) -> Reply:
        return await self.request("POST", path, value, **more)

    async def request(
        self,
        method: str,
        path: str,
        value: Any = None,
        *,
        body: bytes | None = None,
        parts: Iterable[bytes] | None = None,
        disconnected: trio.Event | None = None,
        **headers: str,
    ) -> Reply:
        """`value` is sent as JSON, `body` as it is, `parts` as chunks without a length.

        Keyword arguments become headers: `x_api_key="..."`. `disconnected` is set when the
        client disconnects.
        """
        given = {k.replace("_", "-").lower(): v for k, v in {**self.headers, **headers}.items()}
        if value is not None:
            body = json.dumps(value).encode()
            given.setdefault("content-type", "application/json")
        if parts is None:
            chunks = [body or b""]
            if body is not None:
                given.setdefault("content-length", str(len(body)))
        else:
            chunks = list(parts)
            given.setdefault("transfer-encoding", "chunked")
        raw = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in given.items()]
        return await self.send(method, path, raw, chunks, disconnected)

    async def send(
        self,
        method: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        chunks: list[bytes],
        disconnected: trio.Event | None = None,
    ) -> Reply:
        plain, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self.http_version,
            "method": method,
            "scheme": "http",
            "path": plain,
            "raw_path": plain.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(b"host", b"testserver"), *headers],
            "client": (self.peer, 50000) if self.peer else None,
            "server": ("testserver", 80),
            "extensions": self.extensions,
            "state": {},
        }
        incoming = list(enumerate(chunks, 1))
        sent: list[Any] = []

        async def receive() -> Any:
            await trio.lowlevel.checkpoint()
            if incoming:
                number, chunk = incoming.pop(0)
                return {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
            await (trio.Event() if disconnected is None else disconnected).wait()
            return {"type": "http.disconnect"}

        async def collect(message: Any) -> None:
            await trio.lowlevel.checkpoint()
            sent.append(message)

        await self.app(scope, receive, collect)
        if not sent:
            return Reply(0, [], b"")
        assert [m["type"] for m in sent] == ["http.response.start"] + ["http.response.body"] * (
            len(sent) - 1
        )
        assert not sent[-1].get("more_body", False)
        pairs = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in sent[0]["headers"]]
        return Reply(sent[0]["status"], pairs, b"".join(m.get("body", b"") for m in sent[1:]))
