"""The request that handlers get: Quart's, created without the work most requests do not need.

Headers are decoded on first use, and the handler that reads the body receives it from the
connection, so a request without a body costs neither a task nor an event.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import cached_property
from typing import Any, NoReturn

from quart.wrappers.request import Body
from werkzeug.datastructures import Headers

from cookcam.errors import BadRequest, InvalidJson, PayloadTooLarge
from cookcam.http.errors import ClientDisconnected
from cookcam.http.quart_internals import LeanRequest
from cookcam.http.request_info import RequestInfo, request_info_of

Receive = Callable[[], Awaitable[Any]]


class PulledBody(Body):
    """A request body that is received while it is read, by the task that reads it.

    Iterating yields the parts; awaiting returns the whole, any number of times. Raises
    ClientDisconnected when the client disconnects before the end, and what `receive` raises
    (in the edge: PayloadTooLarge).
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


class Request(LeanRequest):
    """One HTTP request with the edge's `request_info`.

    It has the attributes of `quart.wrappers.Request` and Werkzeug's sans-I/O request that are used
    here.
    """

    body: Any

    def __init__(self, scope: Any, body: Any) -> None:
        super().__init__(scope)
        self.request_info: RequestInfo = request_info_of(scope)
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

    @cached_property
    def headers(self) -> Headers:  # pyright: ignore[reportIncompatibleVariableOverride]
        pairs = self.scope["headers"]
        return Headers([(name.decode("latin-1"), text.decode("latin-1")) for name, text in pairs])

    def on_json_loading_failed(self, error: Exception) -> NoReturn:
        raise InvalidJson() from error


def limited_receive(
    receive: Receive, limit: int, headers: Mapping[bytes, bytes], http_version: str
) -> Receive:
    """Return `receive` with a check that raises PayloadTooLarge after `limit` bytes of body.

    Raises PayloadTooLarge at once when the declared length exceeds the limit, and BadRequest when
    it is not a number. Received bytes are counted whatever was declared. Only an HTTP/1 request
    with neither a length nor a transfer coding has no body (RFC 9112 section 6.3).
    """
    declared = headers.get(b"content-length")
    if declared is None:
        if b"transfer-encoding" not in headers and http_version < "2":
            return receive
    elif not declared.isdigit():
        raise BadRequest("The Content-Length header is not a number")
    elif len(digits := declared.lstrip(b"0")) > 15 or int(digits or b"0") > limit:
        raise PayloadTooLarge()
    received = 0

    async def counting_receive() -> Any:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > limit:
            raise PayloadTooLarge()
        return message

    return counting_receive
