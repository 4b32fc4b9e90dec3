"""Frames of the plain WebSocket protocol: a pure codec.

client: {"event":"join_cooking_session","data":{"sessionId":"session_x"},"id":"7"}
server: {"event":"cooking_session_joined","data":{...},"replyTo":"7"}
"""

from __future__ import annotations

from typing import Any, Final, cast

import orjson
from attrs import define, frozen

from cookcam.json_parsing import JsonError, JsonTooDeep, parse_json
from cookcam.realtime.engineio import is_larger_than

MAX_FRAME: Final = 64 * 1024
"""Bytes of a frame from a client."""
MAX_ID: Final = 64
MAX_EVENT: Final = 128

RequestId = str | int


class MalformedFrame(Exception):
    """The frame is not a JSON object."""


@define(eq=False, slots=False)
class InvalidFrame(Exception):
    """The frame is an object whose `field` is invalid."""

    field: str
    rule: str
    id: RequestId | None = None


@frozen
class Frame:
    """A frame of a client. `data` is any JSON, None if absent."""

    event: str
    data: Any = None
    id: RequestId | None = None
    """Set by clients that want a response, which repeats it as `replyTo`."""


def decode_frame(text: str) -> Frame:
    """Raises only MalformedFrame, InvalidFrame and JsonTooDeep."""
    try:
        content: object = parse_json(text)
    except JsonTooDeep:
        raise
    except JsonError:
        raise MalformedFrame from None
    if not isinstance(content, dict):
        raise MalformedFrame
    fields = cast("dict[str, Any]", content)
    request_id = fields.get("id")
    if request_id is not None and not _is_id(request_id):
        raise InvalidFrame("id", f"must be a whole number, or text of at most {MAX_ID} characters")
    event = fields.get("event")
    if not isinstance(event, str) or not 0 < len(event) <= MAX_EVENT:
        raise InvalidFrame("event", f"must be text of 1 to {MAX_EVENT} characters", request_id)
    return Frame(event, fields.get("data"), request_id)


def encode_frame(event: str, data: object, reply_to: RequestId | None = None) -> str:
    """`data` is what orjson can encode, an `orjson.Fragment` included."""
    frame = {"event": event, "data": data}
    if reply_to is not None:
        frame["replyTo"] = reply_to
    return orjson.dumps(frame).decode()


def is_too_large(text: str) -> bool:
    """Whether a frame is over MAX_FRAME."""
    return is_larger_than(MAX_FRAME, text)


def _is_id(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_ID
    # A bool is an int in Python. orjson cannot encode larger integers.
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**64
