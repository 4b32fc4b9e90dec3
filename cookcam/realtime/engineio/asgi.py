"""The ASGI side: types, requests, responses, and the errors that reject a request.

Covers `http` and `websocket` scopes of ASGI 3, with the extension `websocket.http.response` to
reject an upgrade with a status and a body.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from attrs import define, evolve, field, frozen

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

_MAX_QUERY_FIELDS = 64


@frozen(eq=False)
class Request:
    """The HTTP request that opened a session."""

    scope: Scope = field(repr=False)
    query: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, scope: Scope) -> Request:
        """Raises ValueError for a query string of more than `_MAX_QUERY_FIELDS` fields."""
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
        """Address and port of the peer; behind a proxy, those of the proxy."""
        return self.scope.get("client")

    def header(self, name: str) -> str | None:
        """The first header of that name; case-insensitive."""
        wanted = name.lower().encode("latin-1")
        for key, value in self.scope["headers"]:
            if key.lower() == wanted:
                return value.decode("latin-1")
        return None


@frozen
class Response:
    """An HTTP response, also in place of a WebSocket upgrade."""

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


def connection_close(scope: Scope) -> Headers:
    """`Connection: close` for HTTP/1; HTTP/2 has no such header."""
    return [(b"connection", b"close")] if scope.get("http_version", "1.1")[0] == "1" else []


@define(eq=False, slots=False)
class Rejected(Exception):
    """The request gets no session; `admit` hooks raise it to reject a handshake.

    `code` and `message` are those of the reference engine.io server: clients receive
    `{"code":n,"message":...}` with status 400, or 403 for code 4.
    """

    message: str = "Forbidden"
    code: int = 4
    status: int = 403
    headers: Headers = field(factory=Headers)

    def response(self, extra: Mapping[str, Any]) -> Response:
        """The HTTP response; `extra` are further keys of its body."""
        content = {**extra, "code": self.code, "message": self.message}
        return Response.json(self.status, content, self.headers)


def transport_unknown() -> Rejected:
    return Rejected("Transport unknown", 0, 400)


def session_unknown() -> Rejected:
    return Rejected("Session ID unknown", 1, 400)


def bad_handshake_method() -> Rejected:
    return Rejected("Bad handshake method", 2, 400)


def bad_request() -> Rejected:
    return Rejected("Bad request", 3, 400)


def unsupported_version() -> Rejected:
    return Rejected("Unsupported protocol version", 5, 400)
