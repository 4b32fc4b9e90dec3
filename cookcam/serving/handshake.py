"""Recognition of WebSocket handshakes, and the status of invalid ones.

Source: RFC 6455 §4.2 (HTTP/1.1), RFC 8441 §5 (HTTP/2), RFC 9110 §7.8 (Upgrade).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]
"""Names in lower case."""

VERSION = b"13"
# Sixteen bytes as base64.
_KEY = re.compile(rb"[A-Za-z0-9+/]{22}==")
_ASCII = re.compile(rb"[\x20-\x7e\t]*")


def tokens(headers: Headers, name: bytes) -> list[bytes]:
    """The members of a list header in lower case, from all its lines (RFC 9110 §5.3)."""
    return [
        token.strip().lower()
        for header, value in headers
        if header == name
        for token in value.split(b",")
    ]


def is_upgrade(method: bytes, headers: Headers) -> bool:
    """Whether an HTTP/1.1 request is a WebSocket handshake."""
    headers = list(headers)
    return (
        method == b"GET"
        and tokens(headers, b"upgrade") == [b"websocket"]
        and b"upgrade" in tokens(headers, b"connection")
    )


def refusal(headers: Headers, *, http2: bool) -> int | None:
    """The status for an invalid handshake: 400, or 426 for another version; None for a valid
    one. `headers` are those of a WebSocket handshake."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name.startswith(b"sec-websocket-") and not _ASCII.fullmatch(value):
            return 400
        found[name] = value
    if found.get(b"sec-websocket-version") != VERSION:
        # A request without a version is not a handshake.
        return 426 if b"sec-websocket-version" in found else 400
    if http2:
        return None
    has_body = b"transfer-encoding" in found or found.get(b"content-length", b"0") != b"0"
    if has_body or not _KEY.fullmatch(found.get(b"sec-websocket-key", b"")):
        return 400
    return None
