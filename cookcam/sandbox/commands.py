"""What is sent to a store's stand-in as `POST /_sandbox/<command>`, and mistakes in it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeAlias, cast

import orjson
from quart import Response

Words: TypeAlias = Mapping[str, type]
"""What a command may be given: the names, and what each has to be."""

MAX_TIME_SHIFT = timedelta(days=3660)

_NAMES = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}


class Mistake(Exception):
    """A command that cannot be carried out; its text is for whoever sent it."""


def words_of(body: str | bytes, allowed: Words, *required: str) -> dict[str, Any]:
    """The command's words. Raises Mistake for what is no JSON object of `allowed` ones."""
    try:
        given: object = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError:
        raise Mistake("the body is not JSON") from None
    if not isinstance(given, dict):
        raise Mistake("the body is not a JSON object")
    words = cast("dict[str, Any]", given)
    for name, value in words.items():
        wanted = allowed.get(name)
        if wanted is None:
            known = ", ".join(allowed) or "nothing"
            raise Mistake(f"{name} is not known here, but {known}")
        if not _is(value, wanted):
            raise Mistake(f"{name} has to be {_NAMES[wanted]}")
    for name in required:
        if name not in words:
            raise Mistake(f"{name} is missing")
    if not 1 <= words.get("percent", 100) <= 100:
        raise Mistake("percent has to be from 1 to 100")
    return words


def span_of(body: str | bytes) -> timedelta:
    """How far to move a stand-in's time. Raises Mistake."""
    by = words_of(body, {"seconds": float, "minutes": float, "hours": float, "days": float})
    try:
        span = timedelta(**by)
    except OverflowError:
        span = MAX_TIME_SHIFT * 2
    if abs(span) > MAX_TIME_SHIFT:
        raise Mistake(f"{MAX_TIME_SHIFT.days} days is as far as time is moved")
    return span


def told(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status=status, content_type="application/json")


async def mistaken(mistake: Mistake) -> Response:
    return told({"error": str(mistake)}, 400)


def _is(value: object, wanted: type) -> bool:
    if wanted is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return type(value) is wanted
