"""A fake of Sentry's ingest: real HTTP on a loopback port, real envelopes.

`POST /api/<project>/envelope/`, gzip or plain, is parsed by the format's rules (a header line, then
items of a header line and a payload, which has a length or ends at the line) and kept with its
bytes, so that a test can look for what must not be there. https://develop.sentry.dev/sdk/envelopes/
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import h11
import trio
from attrs import define, field, frozen

from cookcam.config.secret import Secret


@frozen
class Envelope:
    raw: bytes
    path: str
    header: dict[str, Any]
    items: list[tuple[dict[str, Any], Any]]

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [payload for header, payload in self.items if header["type"] == kind]


@define
class SentryIngest:
    """What arrived. Between `hold` and `release` nothing is answered."""

    port: int
    envelopes: list[Envelope] = field(factory=list)
    _answering: trio.Event = field(factory=trio.Event)

    def hold(self) -> None:
        self._answering = trio.Event()

    def release(self) -> None:
        self._answering.set()

    @property
    def dsn(self) -> Secret:
        return Secret(f"http://publickey@127.0.0.1:{self.port}/42")

    @property
    def events(self) -> list[dict[str, Any]]:
        return [event for envelope in self.envelopes for event in envelope.payloads("event")]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return [t for envelope in self.envelopes for t in envelope.payloads("transaction")]

    def everything(self) -> str:
        """All bytes received, as one text to search."""
        return b"\n".join(envelope.raw for envelope in self.envelopes).decode()

    async def serve(self, stream: trio.SocketStream) -> None:
        connection = h11.Connection(h11.SERVER)
        async with stream:
            while True:
                request, body = await _read_request(connection, stream)
                if request is None:
                    return
                headers = dict(request.headers)
                if headers.get(b"content-encoding") == b"gzip":
                    body = gzip.decompress(body)
                await self._answering.wait()
                self.envelopes.append(_parse(request.target.decode(), body))
                response = b'{"id":"0"}'
                for part in (
                    h11.Response(status_code=200, headers=[("Content-Length", str(len(response)))]),
                    h11.Data(data=response),
                    h11.EndOfMessage(),
                ):
                    await stream.send_all(connection.send(part))
                if connection.our_state is h11.MUST_CLOSE:
                    return
                connection.start_next_cycle()


async def _read_request(
    connection: h11.Connection, stream: trio.SocketStream
) -> tuple[h11.Request | None, bytes]:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await stream.receive_some())
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return request, bytes(body)
        else:
            return None, b""


def _parse(path: str, raw: bytes) -> Envelope:
    first, _, rest = raw.partition(b"\n")
    items: list[tuple[dict[str, Any], Any]] = []
    while rest:
        line, _, rest = rest.partition(b"\n")
        if not line:
            continue
        header = json.loads(line)
        length = header.get("length")
        payload = rest.partition(b"\n")[0] if length is None else rest[:length]
        rest = rest[len(payload) + 1 :]
        items.append((header, json.loads(payload)))
    return Envelope(raw, path, json.loads(first), items)


@asynccontextmanager
async def open_sentry_ingest() -> AsyncIterator[SentryIngest]:
    """An ingest server on a free loopback port, stopped when the block ends."""
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ingest = SentryIngest(listener.socket.getsockname()[1])
        ingest.release()

        async def serve(stream: trio.SocketStream) -> None:
            # The SDK closes its connections without ceremony.
            with suppress(trio.BrokenResourceError, h11.RemoteProtocolError):
                await ingest.serve(stream)

        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield ingest
        nursery.cancel_scope.cancel()
