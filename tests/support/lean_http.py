"""HTTP/1.1 for a load on a server that shares its machine: whole requests out, lengths in.

A client library takes as long for a request as the server does, and its pool more the more requests
wait in it. Here a request is bytes, made once by `request_bytes`, and of the answer only the status
and the length are read.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import trio
from attrs import define

LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)
CHUNK = 65536


class Rejected(Exception):
    """Not answered by 200 or 201; says how."""


def request_bytes(
    method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    parts = urlsplit(url)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    fields = {"Host": parts.netloc, "Content-Length": str(len(body)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + body


@define
class LeanConnection:
    """One connection that is kept; one request at a time."""

    stream: trio.SocketStream

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncGenerator[LeanConnection]:
        parts = urlsplit(url)
        async with await trio.open_tcp_stream(parts.hostname or "", parts.port or 80) as stream:
            yield cls(stream)

    async def ask(self, request: bytes) -> None:
        """Returns when the whole answer is there. Raises Refused."""
        await self.stream.send_all(request)
        response = b""
        head = -1
        while head < 0:
            response += await self._more()
            head = response.find(b"\r\n\r\n")
        length = LENGTH.search(response, 0, head + 2)
        if not response.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 201 ")) or length is None:
            raise Rejected(response[:500])
        missing = head + 4 + int(length[1]) - len(response)
        while missing > 0:
            missing -= len(await self._more())

    async def _more(self) -> bytes:
        data = await self.stream.receive_some(CHUNK)
        if not data:
            raise Rejected("the server closed the connection")
        return bytes(data)
