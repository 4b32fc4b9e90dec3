"""The request as handlers see it: Quart's, made without the work that most requests do not need.

Headers are decoded when somebody asks for one, and the body is pulled from the connection by the
handler that reads it, so a request without a body costs neither a task nor an event.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property
from typing import Any, NoReturn

import trio
from quart.wrappers.request import Body
from quart_trio.wrappers import TrioRequest
from werkzeug.datastructures import Headers

from cookcam.errors import InvalidJson
from cookcam.http.body_limit import Receive
from cookcam.http.errors import ClientDisconnected
from cookcam.http.request_info import RequestInfo, request_info_of


class PulledBody(Body):
    """A request body that is received while it is read, by the task that reads it.

    Iterating gives the parts; awaiting gives the whole, as often as one likes. Raises
    ClientDisconnected when the client leaves before the end, and whatever `receive` raises
    (the edge: PayloadTooLarge).
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._ended = False
        self._whole = bytearray()

    async def __anext__(self) -> bytes:
        while not self._ended:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnected()
            self._ended = not message.get("more_body", False)
            part: bytes = message.get("body", b"")
            if part:
                return part
        raise StopAsyncIteration

    def __await__(self) -> Generator[Any, None, bytes]:
        return self._read().__await__()

    def clear(self) -> None:
        self._whole.clear()

    async def _read(self) -> bytes:
        async for part in self:
            self._whole += part
        return bytes(self._whole)


class Request(TrioRequest):
    """One HTTP request; `request_info` is what the edge found out about it.

    The attributes are those `quart.wrappers.Request` and Werkzeug's sans-I/O request set, minus
    what would be computed for nothing.
    """

    body: Any

    def __init__(self, scope: Any, body: Any) -> None:
        self.request_info: RequestInfo = request_info_of(scope)
        self.scope = scope
        self.method: str = scope["method"]
        self.scheme: str = scope["scheme"]
        self.server = scope.get("server")
        self.root_path: str = scope.get("root_path", "")
        self.path: str = scope["path"]
        self.query_string: bytes = scope["query_string"]
        self.remote_addr = self.request_info.client_address
        self.http_version: str = scope["http_version"]
        self.body = body
        self.body_timeout = None  # the deadline of the route bounds the reading
        self._cached_json = {False: Ellipsis, True: Ellipsis}
        self._form = None
        self._files = None

    @cached_property
    def headers(self) -> Headers:  # pyright: ignore[reportIncompatibleVariableOverride]
        return Headers(
            [(name.decode("latin-1"), text.decode("latin-1")) for name, text in self._raw_headers]
        )

    @cached_property
    def _raw_headers(self) -> list[tuple[bytes, bytes]]:
        return self.scope["headers"]

    @cached_property
    def _parsing_lock(self) -> trio.Lock:
        return trio.Lock()

    def on_json_loading_failed(self, error: Exception) -> NoReturn:
        raise InvalidJson() from error
