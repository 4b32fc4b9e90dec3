"""An OpenTelemetry collector of a test: receives OTLP over HTTP and decodes its Protobuf."""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import trio
from attrs import define, field, frozen


@frozen
class ReceivedSpan:
    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: int
    nanoseconds: int
    attributes: dict[str, Any]
    error: str | None
    resource: dict[str, Any]


@define(eq=False)
class OtlpReceiver:
    """`status` is the response to the next exports."""

    port: int = 0
    status: int = 200
    requests: list[tuple[dict[str, str], bytes]] = field(factory=list)
    spans: list[ReceivedSpan] = field(factory=list)
    _changed: trio.Event = field(factory=trio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def expect(self, name: str) -> ReceivedSpan:
        """The first span of that name; waits for it."""
        with trio.fail_after(20):
            while True:
                for span in self.spans:
                    if span.name == name:
                        return span
                await self._changed.wait()

    async def serve(self, stream: trio.SocketStream) -> None:
        received = b""
        while True:
            while b"\r\n\r\n" not in received:
                data = await stream.receive_some()
                if not data:
                    return
                received += data
            head, _, received = received.partition(b"\r\n\r\n")
            lines = head.decode().split("\r\n")
            pairs = (line.partition(":") for line in lines[1:])
            headers = {name.lower(): value.strip() for name, _, value in pairs}
            while len(received) < int(headers["content-length"]):
                received += await stream.receive_some()
            body, received = (
                received[: int(headers["content-length"])],
                received[int(headers["content-length"]) :],
            )
            assert lines[0] == "POST /v1/traces HTTP/1.1"
            self.requests.append((headers, body))
            if self.status == 200:
                self.spans += decode(body)
            await stream.send_all(f"HTTP/1.1 {self.status} X\r\ncontent-length: 0\r\n\r\n".encode())
            self._changed.set()
            self._changed = trio.Event()


@asynccontextmanager
async def otlp_receiver() -> AsyncGenerator[OtlpReceiver]:
    receiver = OtlpReceiver()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, receiver.serve, 0, host="127.0.0.1")
        [listener] = await nursery.start(serve)
        receiver.port = listener.socket.getsockname()[1]
        yield receiver
        nursery.cancel_scope.cancel()


def decode(request: bytes) -> list[ReceivedSpan]:
    """The spans of an ExportTraceServiceRequest."""
    return [
        _span(fields(span), _attributes(fields(fields(group)[1][0])[1]))
        for group in fields(request)[1]
        for scope in fields(group)[2]
        for span in fields(scope)[2]
    ]


def _span(span: dict[int, list[Any]], resource: dict[str, Any]) -> ReceivedSpan:
    status = fields(span[15][0]) if 15 in span else {}
    return ReceivedSpan(
        span[1][0].hex(),
        span[2][0].hex(),
        span[4][0].hex() if 4 in span else None,
        span[5][0].decode(),
        span[6][0],
        span[8][0] - span[7][0],
        _attributes(span.get(9, [])),
        status[2][0].decode() if status.get(3) == [2] else None,
        resource,
    )


def _attributes(encoded: list[bytes]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for one in encoded:
        pair = fields(one)
        value = fields(pair[2][0])
        found[pair[1][0].decode()] = value[1][0].decode() if 1 in value else value[3][0]
    return found


def fields(message: bytes) -> dict[int, list[Any]]:
    """The fields of a Protobuf message by number: integers, or bytes."""
    found: dict[int, list[Any]] = {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        number, wire_type = key >> 3, key & 7
        if wire_type == 0:
            value: Any = varint()
        elif wire_type == 1:
            [value] = struct.unpack("<Q", message[at : at + 8])
            at += 8
        else:
            assert wire_type == 2, wire_type
            size = varint()
            value = message[at : at + size]
            at += size
        found.setdefault(number, []).append(value)
    return found
