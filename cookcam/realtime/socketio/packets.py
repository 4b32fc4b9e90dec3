"""Socket.IO packets: a pure codec, protocol revision 5.

    <type>[<attachments>-][<namespace>,][<acknowledgement id>][<JSON>]

followed by one binary message for each attachment (socket.io protocol, "Packet encoding").
Bytes anywhere in the data travel as attachments; in the JSON a placeholder stands for each.

The codec of python-socketio is not used, for the reason given in `engineio.packets`. It also limits
neither attachments nor nesting nor ids, and does not declare what it raises.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any, Final, cast

import orjson
from attrs import define, field, frozen

from cookcam.json_parsing import JsonError, JsonNotFinite, JsonTooDeep, parse_json
from cookcam.realtime.engineio import is_larger_than

MAX_ATTACHMENTS: Final = 10
MAX_SIZE: Final = 1_000_000
"""Bytes of a packet's text, and of each of its attachments."""
MAX_NAMESPACE: Final = 256
MAIN_NAMESPACE: Final = "/"

RESERVED_EVENTS: Final = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Event names that a client may not send: its library emits them locally."""

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
    """The input is not a Socket.IO packet; the session cannot continue."""


@frozen
class Packet:
    """A complete packet. `type` is never a binary type: bytes in `data` imply that.

    `data` is a list for EVENT (name first) and ACK, an object or None for CONNECT, an object or
    text for CONNECT_ERROR, None for DISCONNECT.
    """

    type: PacketType
    namespace: str = MAIN_NAMESPACE
    data: Any = None
    id: int | None = None

    def encode(self) -> list[str | bytes]:
        """The text, then the attachments. Raises TypeError for data that is not JSON or bytes."""
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


@define(eq=False, slots=False)
class PacketOverLimit(Exception):
    """A packet over a limit was dropped. Later packets can still be decoded.

    `packet` has no data if the limit was exceeded before the data was parsed.
    """

    reason: str
    packet: Packet


@define(eq=False, slots=False)
class RejectedJson(PacketOverLimit):
    """The JSON of a packet is nested too deeply, or has a number that is not finite."""


@define(eq=False)
class Decoder:
    """Assembles packets from the messages of one session, in order."""

    max_size: int = MAX_SIZE
    max_attachments: int = MAX_ATTACHMENTS
    _partial: Packet | None = field(default=None, init=False)
    _missing: int = field(default=0, init=False)
    _attachments: list[bytes] = field(factory=list[bytes], init=False)
    _dropping: int = field(default=0, init=False)
    """The number of attachments still to come of a dropped packet."""

    def feed(self, message: str | bytes) -> Packet | None:
        """Returns a complete packet, or None while attachments are missing.

        Raises DecodeError, after which the session must end, and PacketOverLimit.
        """
        if isinstance(message, str):
            return self._feed_text(message)
        if self._dropping:
            self._dropping -= 1
            return None
        if self._partial is None:
            raise DecodeError("binary message without a packet it belongs to")
        self._attachments.append(message)
        if len(message) > self.max_size:
            packet, self._partial = self._partial, None
            self._dropping = self._missing - len(self._attachments)
            self._attachments = []
            raise PacketOverLimit(f"Attachment is larger than {self.max_size} bytes", packet)
        if len(self._attachments) < self._missing:
            return None
        packet, self._partial = self._partial, None
        data, self._attachments = _fill(packet.data, self._attachments), []
        return Packet(packet.type, packet.namespace, data, packet.id)

    def _feed_text(self, text: str) -> Packet | None:
        if self._partial is not None or self._dropping:
            raise DecodeError("text where an attachment was announced")
        envelope, announced, body = _parse_header(text)
        try:
            packet = self._parse(envelope, announced, text, body)
        except PacketOverLimit:
            self._dropping = announced
            raise
        if announced:
            self._partial, self._missing = packet, announced
            return None
        return packet

    def _parse(self, envelope: Packet, announced: int, text: str, body: str) -> Packet:
        if is_larger_than(self.max_size, text):
            raise PacketOverLimit(f"Packet is larger than {self.max_size} bytes", envelope)
        try:
            data = parse_json(body) if body else None
        except (JsonTooDeep, JsonNotFinite) as error:
            raise RejectedJson(str(error), envelope) from None
        except JsonError:
            raise DecodeError("invalid JSON") from None
        if not _is_valid(envelope.type, data, envelope.id):
            raise DecodeError(f"invalid data for {envelope.type.name}")
        packet = Packet(envelope.type, envelope.namespace, data, envelope.id)
        if announced > self.max_attachments:
            raise PacketOverLimit(
                f"Packet has more than {self.max_attachments} attachments", packet
            )
        return packet


def _parse_header(text: str) -> tuple[Packet, int, str]:
    """The packet without its data, its number of attachments, and its data as JSON text."""
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
    packet = Packet(_BINARY.get(kind, kind), namespace, id=ack_id)
    return packet, int(header["attachments"] or 0), text[header.end() :]


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
    # The reference server also accepts numbers as names.
    return (isinstance(name, str) and name not in RESERVED_EVENTS) or type(name) in (int, float)


def _fill(data: Any, attachments: Sequence[bytes]) -> Any:
    """The data with its placeholders replaced. `parse_json` limits nesting."""
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
