"""Exports spans to an OpenTelemetry collector: OTLP over HTTP with binary Protobuf.

The messages are those of opentelemetry-proto 1.x, `trace/v1/trace.proto`; the numbers below are its
field numbers. They are encoded here: the SDK needs a thread and costs several times as much.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio
from attrs import field, frozen

from cookcam.config.secret import Secret
from cookcam.errors import ServiceUnavailable
from cookcam.integrations.http_client import LazyHttpClient
from cookcam.integrations.trust import trusted
from cookcam.observability.tracing import Span

if TYPE_CHECKING:
    import httpx

TIMEOUT: Final = 5.0
"""Seconds for one export."""
_ERROR: Final = 2
"""STATUS_CODE_ERROR."""


@frozen
class OtlpExporter:
    """`url` is the collector's address with `/v1/traces`; `resource` describes this instance."""

    url: str
    headers: Mapping[str, str] = field(repr=False)
    resource: Mapping[str, str]
    _http: LazyHttpClient = field(repr=False)

    @staticmethod
    @asynccontextmanager
    async def open(
        endpoint: str, headers: Secret | None, resource: Mapping[str, str]
    ) -> AsyncGenerator[OtlpExporter]:
        """`headers` are `name=value` pairs, separated by commas."""
        named: dict[str, str] = {}
        for pair in [] if headers is None else headers.reveal().split(","):
            name, _, value = pair.partition("=")
            named[name.strip()] = value.strip()
        url = f"{endpoint.rstrip('/')}/v1/traces"
        async with aclosing(LazyHttpClient(_make_client)) as http:
            yield OtlpExporter(url, named, resource, http)

    async def write(self, spans: Sequence[bytes]) -> None:
        """Send spans of `encode_span`. Raises ServiceUnavailable unless they were accepted."""
        import httpx

        scope = _message(1, _text(1, "cookcam")) + b"".join(_message(2, one) for one in spans)
        resource = b"".join(_message(1, _attribute(*pair)) for pair in self.resource.items())
        body = _message(1, _message(1, resource) + _message(2, scope))
        client = await self._http.get()
        headers = {**self.headers, "Content-Type": "application/x-protobuf"}
        try:
            with trio.fail_after(TIMEOUT):
                response = await client.post(self.url, content=body, headers=headers)
        except (httpx.HTTPError, trio.TooSlowError) as error:
            raise ServiceUnavailable from error
        if not response.is_success:
            raise ServiceUnavailable


def encode_span(span: Span) -> bytes:
    """A `Span` message."""
    return b"".join(
        (
            _bytes(1, bytes.fromhex(span.trace_id)),
            _bytes(2, bytes.fromhex(span.span_id)),
            _bytes(4, bytes.fromhex(span.parent_id)) if span.parent_id else b"",
            _text(5, span.name),
            _varint(6, span.kind),
            _fixed64(7, span.started),
            _fixed64(8, span.ended),
            *(_message(9, _attribute(*pair)) for pair in span.attributes.items()),
            _message(15, _text(2, span.error) + _varint(3, _ERROR)) if span.error else b"",
        )
    )


def _attribute(name: str, value: str | int) -> bytes:
    """A `KeyValue` with an `AnyValue`."""
    return _text(1, name) + _message(
        2, _text(1, value) if isinstance(value, str) else _varint(3, value)
    )


def _bytes(number: int, value: bytes) -> bytes:
    return _number(number << 3 | 2) + _number(len(value)) + value


_message = _bytes


def _text(number: int, value: str) -> bytes:
    return _bytes(number, value.encode())


def _varint(number: int, value: int) -> bytes:
    return _number(number << 3) + _number(value & 0xFFFF_FFFF_FFFF_FFFF)


def _fixed64(number: int, value: int) -> bytes:
    return _number(number << 3 | 1) + struct.pack("<Q", value)


def _number(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _make_client() -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(timeout=TIMEOUT, verify=trusted())
