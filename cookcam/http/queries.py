"""Parses the page parameters `limit` (1 to 100), `offset` (>= 0) and `page` (>= 1).

Any other value is a 400 with a fixed literal, in the dialect of the endpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any
from uuid import UUID

from attrs import frozen
from quart import request

from cookcam.errors import NotFound, ValidationError
from cookcam.http.route_options import route_options_of, set_route_options

View = Callable[..., Awaitable[Any]]

_DIGITS = 9
"""More digits than any page has; keeps the numbers within PostgreSQL's integer."""


@frozen
class _Integer:
    lowest: int
    highest: int | None
    literal: str


_PARAMETERS = {
    "limit": _Integer(1, 100, "Invalid limit parameter (1-100)"),
    "offset": _Integer(0, None, "Invalid offset parameter"),
    "page": _Integer(1, None, "Invalid page parameter"),
}


def query_integers(**defaults: int) -> Callable[[View], View]:
    """Parses the named parameters and passes them as keywords: `@query_integers(limit=20, page=1)`.

    The names are `limit`, `offset` and `page`; the values are their defaults.
    """
    rules = {name: (_PARAMETERS[name], default) for name, default in defaults.items()}

    def decorate(view: View) -> View:
        @wraps(view)
        async def parsed(*args: Any, **kwargs: Any) -> Any:
            for name, (rule, default) in rules.items():
                kwargs[name] = _parse(name, rule, default)
            return await view(*args, **kwargs)

        documented = tuple(_document(name, rule, d) for name, (rule, d) in rules.items())
        return set_route_options(parsed, query=(*route_options_of(view).query, *documented))

    return decorate


def parse_uuid(text: str, otherwise: NotFound) -> UUID:
    """A path id as a UUID; raises `otherwise`, the endpoint's own 404, for anything else."""
    if len(text) != 36:
        raise otherwise
    try:
        return UUID(text)
    except ValueError:
        raise otherwise from None


def _parse(name: str, rule: _Integer, default: int) -> int:
    texts = request.args.getlist(name)
    if not texts:
        return default
    text = texts[0]
    if len(texts) == 1 and text.isascii() and text.isdigit() and len(text) <= _DIGITS:
        value = int(text)
        if rule.lowest <= value and (rule.highest is None or value <= rule.highest):
            return value
    raise ValidationError(rule.literal, error=rule.literal, details={"field": name})


def _document(name: str, rule: _Integer, default: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "integer", "minimum": rule.lowest, "default": default}
    schema["maximum"] = rule.highest or 10**_DIGITS - 1
    return {"name": name, "in": "query", "required": False, "schema": schema}
