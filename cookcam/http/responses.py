"""Responses that are ready to be sent, and the JSON encoding of this API.

JSON: UUIDs as text, times as `2026-01-31T12:34:56.789Z`, decimals as numbers, NaN and infinities
as null, msgspec's UNSET left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import msgspec
import orjson

from cookcam.http.security_headers import Header

S = TypeVar("S", bound=msgspec.Struct)

JSON_TYPE = b"application/json; charset=utf-8"
JSON_CONTENT_TYPE: Header = (b"content-type", JSON_TYPE)

EncodedJson = orjson.Fragment
"""`EncodedJson(text)`: a value that is JSON already, for instance a page that PostgreSQL built."""


class RawResponse(NamedTuple):
    """A whole response. Header names are lower case."""

    status: int
    headers: list[Header]
    body: bytes


def json_response(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> RawResponse:
    """`value` as a JSON response; TypeError when it has no JSON form.

    The body ends with a newline, so that a terminal shows it on a line of its own.
    """
    body = to_json(value) + b"\n"
    created: list[Header] = [JSON_CONTENT_TYPE, (b"content-length", b"%d" % len(body))]
    if headers:
        created += [
            (name.lower().encode("latin-1"), text.encode("latin-1"))
            for name, text in headers.items()
        ]
    return RawResponse(status, created, body)


def response_from(model: type[S], source: object, **values: Any) -> S:
    """A `model` with `values`, and with the attributes of `source` for its other fields."""
    others = (name for name in model.__struct_fields__ if name not in values)
    return model(**values, **{name: getattr(source, name) for name in others})


def to_json(value: Any) -> bytes:
    return orjson.dumps(value, default=_encode_other, option=orjson.OPT_PASSTHROUGH_DATETIME)


def now_text() -> str:
    """The current time as the API writes times."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def time_text(value: datetime) -> str:
    utc = value.astimezone(UTC) if value.tzinfo is not None else value
    return utc.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"


def _encode_other(value: Any) -> Any:
    """Convert a value that orjson cannot encode."""
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() else None
    return msgspec.to_builtins(value, builtin_types=(datetime, date, UUID, Decimal))
