"""Socket.IO packets: a pure codec, protocol revision 5.

    <type>[<attachments>-][<namespace>,][<acknowledgement id>][<JSON>]

followed by one binary message for each attachment (socket.io protocol, "Packet encoding").
Bytes anywhere in the data travel as attachments; in the JSON a placeholder stands for each.

python-socketio has such a codec, and it is not used here for the reason given in
`engineio.packets`; nor does it bound attachments, nesting or ids, or declare what it raises.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any, Final, cast

import orjson
from attrs import define, field, frozen

MAX_ATTACHMENTS: Final = 10
MAX_DEPTH: Final = 64
MAX_NAMESPACE: Final = 256
MAIN_NAMESPACE: Final = "/"

RESERVED_EVENTS: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Names a client may not send, since its library raises them itself."""

_HEADER: Final = re.compile(
    r"(?P<type>[0-6])(?:(?P<attachments>\d{1,4})-)?(?:(?P<namespace>/[^,]*),?)?(?P<id>\d{1,15})?",
    re.ASCII,
)


class PacketType(enum.IntEnum):
    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


_BINARY: Final = {
    PacketType.BINARY_EVENT: PacketType.EVENT,
    PacketType.BINARY_ACK: PacketType.ACK,
}
_WITH_ATTACHMENTS: Final = {plain: binary for binary, plain in _BINARY.items()}


class DecodeError(Exception):
    """What arrived is not a Socket.IO packet. The only error of the decoder."""


@frozen
class Packet:
    """A packet, whole. Its type is never one of the binary ones: bytes in `data` say as much.

    `data` is a list for EVENT (name first) and ACK, an object or None for CONNECT, an object or
    text for CONNECT_ERROR, None for DISCONNECT.
    """

    type: PacketType
    namespace: str = MAIN_NAMESPACE
    data: Any = None
    id: int | None = None

    def encode(self) -> list[str | bytes]:
        """The text, then the attachments. Raises TypeError for data that JSON cannot hold."""
        attachments: list[bytes] = []

        def extract(value: object) -> dict[str, Any]:
            if not isinstance(value, bytes | bytearray | memoryview):
                raise TypeError(f"{type(value).__name__} cannot be sent as JSON")
            attachments.append(bytes(cast("bytes | bytearray | memoryview[int]", value)))
            return {"_placeholder": True, "num": len(attachments) - 1}

        body = "" if self.data is None else orjson.dumps(self.data, default=extract).decode()
        kind = str(int(self.type))
        if attachments:
            kind = f"{int(_WITH_ATTACHMENTS[self.type])}{len(attachments)}-"
        namespace = "" if self.namespace == MAIN_NAMESPACE else f"{self.namespace},"
        return [f"{kind}{namespace}{'' if self.id is None else self.id}{body}", *attachments]


@define(eq=False)
class Decoder:
    """Puts packets together from the messages of one session, in order."""

    max_attachments: int = MAX_ATTACHMENTS
    _partial: Packet | None = field(default=None, init=False)
    _missing: int = field(default=0, init=False)
    _attachments: list[bytes] = field(factory=list[bytes], init=False)

    def feed(self, message: str | bytes) -> Packet | None:
        """A whole packet, or None while attachments are missing. Raises DecodeError; what comes
        after that is meaningless, so the session should end."""
        if isinstance(message, str):
            return self._feed_text(message)
        if self._partial is None:
            raise DecodeError("binary message without a packet it belongs to")
        self._attachments.append(message)
        if len(self._attachments) < self._missing:
            return None
        packet, self._partial = self._partial, None
        data, self._attachments = _fill(packet.data, self._attachments), []
        return Packet(packet.type, packet.namespace, data, packet.id)

    def _feed_text(self, text: str) -> Packet | None:
        if self._partial is not None:
            raise DecodeError("text where an attachment was announced")
        packet, announced = _parse(text)
        if announced > self.max_attachments:
            raise DecodeError("too many attachments")
        if announced:
            self._partial, self._missing = packet, announced
            return None
        return packet


def _parse(text: str) -> tuple[Packet, int]:
    header = _HEADER.match(text)
    if header is None:
        raise DecodeError("unknown packet type")
    kind = PacketType(int(header["type"]))
    if (kind in _BINARY) != (header["attachments"] is not None):
        raise DecodeError("attachments are announced by binary packets, and by no others")
    namespace = header["namespace"] or MAIN_NAMESPACE
    if len(namespace) > MAX_NAMESPACE:
        raise DecodeError("namespace is too long")
    ack_id = None if header["id"] is None else int(header["id"])
    data = _parse_json(text[header.end() :])
    kind = _BINARY.get(kind, kind)
    if not _is_valid(kind, data, ack_id):
        raise DecodeError(f"invalid data for {kind.name}")
    return Packet(kind, namespace, data, ack_id), int(header["attachments"] or 0)


def _parse_json(text: str) -> Any:
    if not text:
        return None
    try:
        data = orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        raise DecodeError("invalid JSON") from None
    # Brackets inside strings count too, which costs a needless walk and nothing else.
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deeper_than(MAX_DEPTH, data):
        raise DecodeError("data is nested too deeply")
    return data


def _is_valid(kind: PacketType, data: Any, ack_id: int | None) -> bool:
    match kind:
        case PacketType.EVENT:
            return isinstance(data, list) and _starts_with_name(cast("list[Any]", data))
        case PacketType.ACK:
            return isinstance(data, list) and ack_id is not None
        case PacketType.CONNECT:
            return data is None or isinstance(data, dict)
        case PacketType.CONNECT_ERROR:
            return isinstance(data, dict | str)
        case _:
            return data is None


def _starts_with_name(data: list[Any]) -> bool:
    if not data:
        return False
    name = data[0]
    # The reference takes numbers for names, too.
    return (isinstance(name, str) and name not in RESERVED_EVENTS) or type(name) in (int, float)


def _is_deeper_than(limit: int, data: object) -> bool:
    level: list[Any] = [data]
    for _ in range(limit):
        level = [
            child
            for node in level
            for child in (cast("dict[str, Any]", node).values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def _fill(data: Any, attachments: Sequence[bytes]) -> Any:
    """The data with its placeholders replaced. Nesting is bounded by MAX_DEPTH."""
    if isinstance(data, list):
        return [_fill(item, attachments) for item in cast("list[Any]", data)]
    if not isinstance(data, dict):
        return data
    fields = cast("dict[str, Any]", data)
    if fields.get("_placeholder") is not True:
        return {key: _fill(value, attachments) for key, value in fields.items()}
    number = fields.get("num")
    if type(number) is not int or not 0 <= number < len(attachments):
        raise DecodeError("placeholder without its attachment")
    return attachments[number]
