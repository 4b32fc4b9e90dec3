"""Commands to a fake app store, `POST /_sandbox/<command>` with a JSON object of fields."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeAlias, cast

import orjson
from quart import Response

from cookcam.sandbox.serving import json_response

Fields: TypeAlias = Mapping[str, type]
"""The fields that a command accepts and their types."""

MAX_TIME_SHIFT = timedelta(days=3660)

_TYPE_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


class InvalidCommand(Exception):
    """A command that cannot be carried out; the text is the response's `error`."""


def read_command(body: str | bytes, accepted: Fields, *required: str) -> dict[str, Any]:
    """The fields of a command. Raises InvalidCommand unless it is a JSON object of `accepted`."""
    try:
        parsed: object = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise InvalidCommand("the body is not JSON") from None
    if not isinstance(parsed, dict):
        raise InvalidCommand("the body is not a JSON object")
    fields = cast("dict[str, Any]", parsed)
    for name, value in fields.items():
        wanted = accepted.get(name)
        if wanted is None:
            names = ", ".join(accepted) or "nothing"
            raise InvalidCommand(f"{name} is not known here, but {names}")
        if not _is(value, wanted):
            raise InvalidCommand(f"{name} has to be {_TYPE_NAMES[wanted]}")
    for name in required:
        if name not in fields:
            raise InvalidCommand(f"{name} is missing")
    if not 1 <= fields.get("percent", 100) <= 100:
        raise InvalidCommand("percent has to be from 1 to 100")
    return fields


def read_duration(body: str | bytes) -> timedelta:
    """How far to move a clock. Raises InvalidCommand."""
    units: Fields = dict.fromkeys(("seconds", "minutes", "hours", "days"), float)
    fields = read_command(body, units)
    try:
        duration = timedelta(**fields)
    except OverflowError:
        duration = MAX_TIME_SHIFT * 2
    if abs(duration) > MAX_TIME_SHIFT:
        raise InvalidCommand(f"{MAX_TIME_SHIFT.days} days is as far as time is moved")
    return duration


async def invalid_command(error: InvalidCommand) -> Response:
    return json_response({"error": str(error)}, 400)


def _is(value: object, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is wanted
