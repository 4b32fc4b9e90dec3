"""Direct writes: encoded WebSocket frames go to the connection without an ASGI `send`.

An ASGI server may offer an extension whose value is `{"write": write}`; `write` is a `DirectWrite`.
The names of the extension and of its flush message belong to the server, so they are passed in as a
`DirectExtension`. Without it everything is sent through ASGI.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol, cast

from attrs import frozen

from .asgi import Scope


class DirectWrite(Protocol):
    """Writes frames without blocking; returns how many bytes were accepted: all, some or none.

    After a partial write the server holds the rest, and the flush message must be sent.
    """

    def __call__(self, frames: bytes, *, closing: bool = False) -> int:
        """`closing`: the last frame is the close frame."""
        ...


@frozen
class DirectExtension:
    """The server's names for its extension and for the message that flushes a partial write."""

    name: str
    flush: dict[str, Any]
    """The message: `send(flush)` returns when the rest of a partial write is out."""

    def write_for(self, scope: Scope) -> DirectWrite | None:
        """The function for this WebSocket, None when the server does not offer it."""
        offer = cast("dict[str, DirectWrite] | None", scope.get("extensions", {}).get(self.name))
        return None if offer is None else offer["write"]


NO_DIRECT_WRITES: Final = DirectExtension("", {})

PING_FRAME: Final = b"\x89\x00"
"""A WebSocket ping without data."""

_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88
"""The first byte of a message of one frame, and of a close frame."""
_MAX_REASON_LENGTH: Final = 123
"""Bytes: a control frame has at most 125, two of which are the code (RFC 6455 §5.5)."""


@frozen
class Close:
    """The close of a WebSocket."""

    code: int
    reason: str

    @property
    def wire(self) -> bytes:
        """The close frame."""
        reason = self.reason.encode()
        if len(reason) > _MAX_REASON_LENGTH:
            reason = reason[:_MAX_REASON_LENGTH].decode(errors="ignore").encode()
        return struct.pack("!BBH", _CLOSE, 2 + len(reason), self.code) + reason

    @property
    def message(self) -> dict[str, Any]:
        """The ASGI message."""
        return {"type": "websocket.close", "code": self.code, "reason": self.reason}


def encode(frame: str | bytes) -> bytes:
    """A message as one unmasked frame (RFC 6455 §5.2)."""
    first, body = (_TEXT, frame.encode()) if isinstance(frame, str) else (_BINARY, frame)
    size = len(body)
    if size < 126:
        return bytes((first, size)) + body
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + body
    return struct.pack("!BBQ", first, 127, size) + body
