"""JSON from clients: one rule for request bodies and socket messages.

RFC 8259 leaves two things to the parser: section 9 lets it limit nesting, and section 8.2 leaves
open what an escaped surrogate without its other half means. JavaScript sends one when it cuts a
text inside an emoji (`"🍕".slice(0, 1)`); it is read as U+FFFD, as a TextDecoder does.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, cast

import orjson

MAX_DEPTH: Final = 64
"""Levels of objects and lists, the outermost included."""

_ORJSON_TOO_DEEP: Final = "depth limit exceeded"
"""How orjson says that a text is nested deeper than its own limit, which is 1,024."""

_ESCAPES: Final = re.compile(
    r"(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"  # a surrogate pair
    r"|\\(?!u[dD][89a-fA-F][0-9a-fA-F]{2}).)"  # an escape that is no surrogate
    r"|\\u....",  # a surrogate without its other half
    re.DOTALL,
)


class JsonError(ValueError):
    """The text is not JSON. The message never quotes the text."""


class JsonTooDeep(JsonError):
    """The text has more than MAX_DEPTH levels."""

    def __init__(self) -> None:
        super().__init__(f"The JSON is nested more than {MAX_DEPTH} levels deep")


class JsonNotFinite(JsonError):
    """A number is not finite: NaN or Infinity, as Python's encoder writes them, or beyond 64 bits
    of floating point, such as 1e999."""

    def __init__(self) -> None:
        super().__init__("The JSON has a number that is not finite")


def parse_json(text: str | bytes) -> Any:
    """Parses a JSON text; bytes are UTF-8. No string of the result holds a surrogate.

    Raises JsonTooDeep, JsonNotFinite, and JsonError for what is not JSON.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if error.msg.startswith(_ORJSON_TOO_DEEP):
            raise JsonTooDeep from None
        value = _parse_with_lone_surrogates(text)
    if _brackets(text) > MAX_DEPTH and _is_too_deep(value):
        raise JsonTooDeep
    return value


def _parse_with_lone_surrogates(text: str | bytes) -> Any:
    try:
        if isinstance(text, bytes):
            text = text.decode()
        return orjson.loads(_ESCAPES.sub(lambda escape: escape[1] or "\\ufffd", text))
    except orjson.JSONDecodeError as error:
        if error.msg.startswith(_ORJSON_TOO_DEEP):
            raise JsonTooDeep from None
        if _is_json_but_for_numbers(text):
            raise JsonNotFinite from None
        raise JsonError("not valid JSON") from None
    except UnicodeDecodeError:
        raise JsonError("not UTF-8") from None


def _is_json_but_for_numbers(text: str | bytes) -> bool:
    """Whether only a number is invalid: Python's parser accepts NaN, Infinity and any size."""
    try:
        json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return False
    return True


def _brackets(text: str | bytes) -> int:
    """An upper limit of the depth: the number of opening brackets, also of those inside strings."""
    if isinstance(text, bytes):
        return text.count(b"[") + text.count(b"{")
    return text.count("[") + text.count("{")


def _is_too_deep(value: Any) -> bool:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (cast("dict[str, Any]", node).values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True
