"""Rewrites msgspec's validation errors for users, without the rejected value.

The app shows messages as they are, so "Expected `str` of
length >= 3" becomes "must have at least 3 characters".
"""

from __future__ import annotations

import re
from collections.abc import Callable

_NAMES = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
    "uuid": "a UUID",
    "datetime": "a moment such as 2026-01-31T12:34:56Z",
    "date": "a date such as 2026-01-31",
}
_BOUNDS = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_PARTS = {"str": "characters", "array": "items", "object": "entries", "bytes": "bytes"}

_Describe = Callable[[re.Match[str]], str]

_RULES: tuple[tuple[re.Pattern[str], _Describe], ...] = (
    (
        re.compile(r"Expected `([^`]+)`, got .*", re.S),
        lambda m: "must be " + " or ".join(_NAMES.get(t, t) for t in m[1].split(" | ")),
    ),
    (
        re.compile(r"Expected `(str|array|object|bytes)` of length (>=|<=) (\d+)"),
        lambda m: f"must have {_BOUNDS[m[2]]} {m[3]} {_PARTS[m[1]]}",
    ),
    (
        re.compile(r"Expected `(?:int|float)` (>=|<=|>|<) ([-+.\de]+)"),
        lambda m: f"must be {_BOUNDS[m[1]]} {m[2]}",
    ),
    (
        re.compile(r"Object missing required field `.*", re.S),
        lambda _: "is required",
    ),
    (
        re.compile(r"Invalid (?:enum )?value .*", re.S),
        lambda _: "must be one of the allowed values",
    ),
    (re.compile(r"Invalid UUID"), lambda _: "must be a UUID"),
)


def describe_rule(message: str) -> str:
    """The rule that follows the name of a field: "must …", "is …"."""
    for pattern, describe in _RULES:
        match = pattern.fullmatch(message)
        if match:
            return describe(match)
    return "is not acceptable"
