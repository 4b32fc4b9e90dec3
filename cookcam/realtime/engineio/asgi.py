"""The ASGI side: types, the facts of a request, and answers to plain HTTP.

Covers `http` and `websocket` scopes of ASGI 3 with the `websocket.http.response` extension,
by which a refused upgrade is answered with a status and a body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from attrs import evolve, field, frozen

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_MAX_QUERY_FIELDS = 64


@frozen(eq=False)
class Request:
    """The request that opened a session, as a handler may want to know it."""

    scope: Scope = field(repr=False)
    query: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, scope: Scope) -> Request:
        """Raises ValueError for a query string of an absurd number of fields."""
        pairs = parse_qsl(
            scope["query_string"].decode("latin-1"),
            keep_blank_values=True,
            max_num_fields=_MAX_QUERY_FIELDS,
        )
        return cls(scope, dict(pairs))

    @property
    def method(self) -> str:
        return self.scope.get("method", "GET")

    @property
    def path(self) -> str:
        return self.scope["path"]

    @property
    def client(self) -> tuple[str, int] | None:
        """Address and port of the peer: the proxy's, behind one."""
        return self.scope.get("client")

    def header(self, name: str) -> str | None:
        """The first header of that name, whatever its case."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.scope["headers"]:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None


@frozen
class Response:
    """An answer over HTTP, or in place of a WebSocket upgrade."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain; charset=UTF-8"
    headers: Iterable[tuple[bytes, bytes]] = ()

    @classmethod
    def json(
        cls, status: int, content: dict[str, Any], headers: Iterable[tuple[bytes, bytes]] = ()
    ) -> Response:
        return cls(status, orjson.dumps(content), "application/json", headers)

    def with_headers(self, headers: Headers) -> Response:
        return evolve(self, headers=[*self.headers, *headers])

    async def send(self, scope: Scope, send: Send) -> None:
        kind = "http.response" if scope["type"] == "http" else "websocket.http.response"
        headers = [
            (b"content-type", self.content_type.encode()),
            (b"content-length", str(len(self.body)).encode()),
            (b"cache-control", b"no-store"),
            *self.headers,
        ]
        await send({"type": f"{kind}.start", "status": self.status, "headers": headers})
        await send({"type": f"{kind}.body", "body": self.body, "more_body": False})


def closing(scope: Scope) -> Headers:
    """The header by which HTTP/1 says that this connection ends; HTTP/2 has no such header."""
    return [(b"connection", b"close")] if scope.get("http_version", "1.1")[0] == "1" else []
