"""Engine.IO packets and payloads: a pure codec, protocol revision 4.

A packet is one character of type and its data; a binary message has no type character. Over
WebSocket each packet is one frame. Over HTTP, packets are joined by the record separator and
binary ones are base64 behind the letter `b` (engine.io protocol, "Packet encoding"), as they are
in a WebSocket's text frames for a client that asks for it with `b64=1`.

The codec of python-engineio is not used: importing it loads its client and server on asyncio (150
ms or more at start-up), it parses every text message that looks like JSON (so `4{"a":1}` does not
round-trip), and it rejects payloads of over 16 packets.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Iterable
from typing import Final

import orjson
from attrs import frozen

OPEN: Final = "0"
CLOSE: Final = "1"
PING: Final = "2"
PONG: Final = "3"
MESSAGE: Final = "4"
UPGRADE: Final = "5"
NOOP: Final = "6"

Frame = str | bytes
"""One encoded packet: text with its type character, or the bytes of a binary message."""

_TYPES: Final = frozenset((OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP))
_SEPARATOR: Final = "\x1e"
_BASE64: Final = "b"


class PacketError(Exception):
    """The input is not an Engine.IO packet. The only error that the decoders raise."""


@frozen
class Packet:
    """A decoded packet. `data` is text, or bytes for a binary message."""

    type: str
    data: str | bytes = ""


def open_packet(
    sid: str, upgrades: list[str], ping_interval: float, ping_timeout: float, max_payload: int
) -> str:
    """The first packet of a session (engine.io protocol, "Handshake"). Times in seconds."""
    handshake = {
        "sid": sid,
        "upgrades": upgrades,
        "pingInterval": round(ping_interval * 1000),
        "pingTimeout": round(ping_timeout * 1000),
        "maxPayload": max_payload,
    }
    return OPEN + orjson.dumps(handshake).decode()


def is_larger_than(limit: int, frame: Frame) -> bool:
    """Whether a frame has more than `limit` bytes."""
    # A character is one to four bytes: only a text near the limit is encoded.
    return len(frame) > limit or (
        isinstance(frame, str) and len(frame) * 4 > limit and len(frame.encode()) > limit
    )


def decode_frame(frame: Frame) -> Packet:
    """A WebSocket frame as a packet. Raises PacketError.

    Clients that cannot send binary frames send base64, as over HTTP.
    """
    if isinstance(frame, bytes):
        return Packet(MESSAGE, frame)
    if frame.startswith(_BASE64):
        return Packet(MESSAGE, _decode_base64(frame[1:]))
    kind = frame[:1]
    if kind not in _TYPES:
        raise PacketError("unknown packet type")
    return Packet(kind, frame[1:])


def decode_payload(body: bytes) -> list[Packet]:
    """The packets of a long-polling POST body, in order; at least one. Raises PacketError."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise PacketError("payload is not UTF-8") from None
    return [decode_frame(part) for part in text.split(_SEPARATOR)]


def encode_payload(frames: Iterable[Frame]) -> bytes:
    """The body of a long-polling response."""
    return _SEPARATOR.join(
        frame if isinstance(frame, str) else encode_base64(frame) for frame in frames
    ).encode()


def encode_base64(data: bytes) -> str:
    """A binary message as text."""
    return _BASE64 + b64encode(data).decode("ascii")


def _decode_base64(text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise PacketError("binary message is not base64") from None
