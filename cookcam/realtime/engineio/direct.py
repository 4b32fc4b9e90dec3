"""Writing past ASGI: an encoded frame goes straight to the socket, if the server offers it.

The extension `cookcam.websocket.direct` of a WebSocket's scope holds a `Write`, which never waits.
It returns how many bytes it took: all; some, and then the server keeps the rest and wants to be
told to flush; or none. `cookcam serve` offers it; elsewhere `send` is the way.
"""

from __future__ import annotations

import struct
from typing import Any, Final, Protocol, cast

from attrs import frozen

from .asgi import Scope


class Write(Protocol):
    def __call__(self, frames: bytes, *, closing: bool = False) -> int:
        """`closing`: the last of the frames is the close frame."""
        ...


FLUSH: Final[dict[str, Any]] = {"type": "cookcam.websocket.flush"}
"""The message to send after a write that was taken in part; sending returns when all is out."""

PING_FRAME: Final = b"\x89\x00"
"""A WebSocket's own ping, without data."""

_EXTENSION: Final = "cookcam.websocket.direct"
_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88
"""The first byte of a message of one frame, and of a close frame."""
_MAX_REASON_LENGTH: Final = 123
"""Bytes."""


@frozen
class Close:
    """The last a WebSocket says."""

    code: int
    reason: str

    @property
    def wire(self) -> bytes:
        reason = self.reason.encode()
        if len(reason) > _MAX_REASON_LENGTH:
            reason = reason[:_MAX_REASON_LENGTH].decode(errors="ignore").encode()
        return struct.pack("!BBH", _CLOSE, 2 + len(reason), self.code) + reason

    @property
    def message(self) -> dict[str, Any]:
        """The same through ASGI."""
        return {"type": "websocket.close", "code": self.code, "reason": self.reason}


def direct_write(scope: Scope) -> Write | None:
    """What the server offers for this WebSocket."""
    offer = cast("dict[str, Write] | None", scope.get("extensions", {}).get(_EXTENSION))
    return None if offer is None else offer["write"]


def encode(frame: str | bytes) -> bytes:
    """A message as one frame of a server (RFC 6455 §5.2)."""
    first, body = (_TEXT, frame.encode()) if isinstance(frame, str) else (_BINARY, frame)
    size = len(body)
    if size < 126:
        return bytes((first, size)) + body
    if size < 1 << 16:
        return struct.pack("!BBH", first, 126, size) + body
    return struct.pack("!BBQ", first, 127, size) + body
