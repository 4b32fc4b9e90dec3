"""Parses request bodies into one Python value.

| content type                        | value                                             |
|---|---|
| none, and any type with no bytes    | `{}`                                              |
| `application/json`, `…+json`        | the object or array                               |
| `application/x-www-form-urlencoded` | an object of strings, nested keys resolved        |
| anything else                       | UnsupportedMediaType (415)                        |
"""

from __future__ import annotations

from typing import Any, cast

from cookcam import json_parsing
from cookcam.errors import InvalidJson, UnsupportedMediaType, ValidationError
from cookcam.http.forms import parse_form
from cookcam.http.requests import Request

FORM = "application/x-www-form-urlencoded"


async def read_body(request: Request) -> tuple[Any, bool]:
    """The body's value, and whether its scalars are typed (JSON) or all text (a form).

    Raises InvalidJson for a body that is not JSON or not an object or array,
    UnsupportedMediaType, BadRequest for a broken form, ValidationError for NUL characters,
    PayloadTooLarge from the edge.
    """
    body = bytes(await request.body)
    if not body:
        return {}, True
    kind = request.mimetype
    if kind == FORM:
        value: Any = parse_form(body)
        typed = False
    elif kind == "application/json" or kind.endswith("+json"):
        value = _parse_json(body)
        typed = True
    else:
        raise UnsupportedMediaType()
    if (b"\\u0000" in body or b"%00" in body) and has_nul(value):
        # PostgreSQL's text cannot hold NUL, and a client's text is not changed silently.
        raise ValidationError("The request must not contain NUL characters")
    return value, typed


def parse_json(text: str | bytes) -> Any:
    """The value of JSON that a client sent. Raises InvalidJson, also for text that is nested too
    deeply."""
    try:
        return json_parsing.parse_json(text)
    except json_parsing.JsonTooDeep as error:
        raise InvalidJson(str(error)) from None
    except json_parsing.JsonError:
        raise InvalidJson() from None


def _parse_json(body: bytes) -> Any:
    value = parse_json(body)
    if not isinstance(value, dict | list):
        raise InvalidJson("The request body must be a JSON object or array")
    return cast("Any", value)


def has_nul(value: Any) -> bool:
    """Whether a text anywhere in parsed JSON holds U+0000."""
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, str):
            if "\0" in item:
                return True
        elif isinstance(item, dict):
            pending += cast("dict[str, Any]", item).keys()
            pending += cast("dict[str, Any]", item).values()
        elif isinstance(item, list):
            pending += cast("list[Any]", item)
    return False
