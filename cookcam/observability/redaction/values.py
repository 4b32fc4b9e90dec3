"""Redaction of whole values: mappings, sequences, exceptions, objects.

The result is a copy as plain JSON (`dict`, `list`, `str`, `int`, `float`, `bool`, `None`), with
limited depth and size.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping, Set
from datetime import date, datetime, time
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import islice
from pathlib import PurePath
from typing import Any, TypeAlias, TypeVar, cast
from uuid import UUID

from attrs import define, field, frozen

from cookcam.observability.redaction.names import (
    FIELD_KEYS,
    VALUE_KEYS,
    Sensitivity,
    is_secret,
    sensitivity,
)
from cookcam.observability.redaction.text import REDACTED, TEXT_LIMIT, is_card_number, redact_text

T = TypeVar("T")
Json: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None

UNREADABLE = "[UNREADABLE]"
OMITTED = "[OMITTED]"


@frozen
class Limits:
    """How much of a value is kept: nesting, entries in all, characters of one string."""

    depth: int = 8
    entries: int = 1000
    text: int = TEXT_LIMIT


LIMITS = Limits()

_MAX_KEY_LENGTH = 64
_MIN_MASKED_LENGTH = 6
_MAX_MASKED = 50

_PLAIN = frozenset({int, float, bool, type(None)})


def redact(value: object, limits: Limits = LIMITS, *, also: Collection[str] = ()) -> Json:
    """A copy of `value` as plain JSON, without its secrets. Never raises.

    - The value of a secret key becomes `[REDACTED]`. Booleans stay. Numbers stay unless values of
      that key consist of digits, as a PIN does (`names.DIGITS`).
    - In a list of two, the first item is treated as the key of the second: headers and argument
      pairs are stored like that.
    - Strings are searched for the shapes of secrets (`text`). Dates become ISO 8601, bytes text or
      their length, exceptions `Type: text`, other objects their `repr`; these are searched too.
    - A secret found by its key is then removed from all other strings of `value`: the password in
      a request body may also be in the message of an exception.

    `also` are further secrets to remove.
    """
    try:
        walk = _Walk(limits, limits.entries, {*also})
        result = walk.any(value, limits.depth)
        return _masked(result, _worth_masking(walk.secret_parts)) if walk.secret_parts else result
    except Exception:  # a hostile __iter__, a mapping changed by another thread
        return UNREADABLE


@define
class _Walk:
    limits: Limits
    left: int
    secret_parts: set[str] = field(factory=set[str])

    def any(self, value: Any, depth: int) -> Json:
        if type(value) is str:
            return redact_text(value, self.limits.text, self.secret_parts)
        if type(value) in _PLAIN:
            if type(value) is int and value > 10**12 and is_card_number(str(value)):
                return REDACTED
            return value
        if isinstance(value, Mapping):
            return self.mapping(cast("Mapping[object, object]", value), depth)
        if isinstance(value, list | tuple | Set | deque):
            return self.sequence(cast("Collection[object]", value), depth)
        return self.text(value)

    def mapping(self, mapping: Mapping[object, object], depth: int) -> Json:
        if depth <= 0:
            return OMITTED
        result: dict[str, Json] = {}
        names: list[tuple[str, object]] = []
        person = False
        for key, value in self.allowed(mapping.items()):
            key_text, level = _key_and_level(key if type(key) is str else _key_text(key))
            if key_text in result:
                key_text = f"{key_text} ({len(result)})"
            if level is Sensitivity.PLAIN:
                result[key_text] = self.any(value, depth - 1)
            elif level is Sensitivity.NAME:
                names.append((key_text, value))
                result[key_text] = self.any(value, depth - 1)
            else:
                person = True
                result[key_text] = self.secret(value, level)
        if person:
            for key_text, value in names:
                result[key_text] = self.secret(value, Sensitivity.TEXT)
        if "value" in result or "input" in result:
            self.hide_reported_value(mapping, result)
        if len(result) < len(mapping):
            result["..."] = f"{len(mapping) - len(result)} more"
        return result

    def allowed(self, entries: Collection[T]) -> Iterable[T]:
        """The first entries, up to the number that is left of the limit on entries."""
        left = self.left
        self.left = max(0, left - len(entries))
        return entries if len(entries) <= left else islice(entries, left)

    def hide_reported_value(
        self, mapping: Mapping[object, object], result: dict[str, Json]
    ) -> None:
        """Hides the value in `{"name": "password", "value": …}` and other reports of one field."""
        for key in FIELD_KEYS & mapping.keys():
            name = mapping[key]
            if isinstance(name, str) and is_secret(name):
                for key_text in VALUE_KEYS & result.keys():
                    result[key_text] = self.secret(mapping.get(key_text), sensitivity(name))

    def sequence(self, values: Collection[object], depth: int) -> Json:
        if depth <= 0:
            return OMITTED
        result = [self.any(value, depth - 1) for value in self.allowed(values)]
        if len(result) == 2 and isinstance(values, list | tuple):
            pair = cast("list[object] | tuple[object, object]", values)
            if isinstance(pair[0], str | bytes):
                name = _key_text(pair[0])
                if is_secret(name):
                    result[1] = self.secret(pair[1], sensitivity(name))
        if len(result) < len(values):
            result.append(OMITTED)
        return result

    def secret(self, value: object, level: Sensitivity) -> Json:
        if value is None or isinstance(value, bool):
            return value
        if level is Sensitivity.TEXT and isinstance(value, int | float):
            return value
        for part in _parts(value):
            if isinstance(part, str):
                self.secret_parts.add(part)
            elif isinstance(part, bytes):
                self.secret_parts.add(part.decode(errors="replace"))
        return REDACTED

    def text(self, value: Any) -> Json:
        match value:
            case str():
                plain = str(value)
            case bool() | int() | float():
                return value
            case datetime() | date() | time():
                return value.isoformat()
            case UUID() | Decimal() | PurePath():
                plain = str(value)
            case Enum():
                return self.any(value.value, 1)
            case bytes() | bytearray():
                return self.octets(bytes(value))
            case BaseException():
                plain = f"{type(value).__name__}: {_safely(str, value)}"
            case _:
                plain = _safely(repr, value)
        return redact_text(plain, self.limits.text, self.secret_parts)

    def octets(self, value: bytes) -> str:
        if b"\0" in value[: self.limits.text]:
            return f"[{len(value)} bytes]"
        try:
            return redact_text(value.decode(), self.limits.text, self.secret_parts)
        except UnicodeDecodeError:
            return f"[{len(value)} bytes]"


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return cast("Mapping[object, object]", value).values()
    if isinstance(value, list | tuple | Set):
        return cast("Collection[object]", value)
    return (value,)


def _worth_masking(secret_parts: set[str]) -> list[str]:
    """The values to look for in other strings, longest first, without short ones, which may be
    ordinary words."""
    bare = {value.strip("\"' ") for value in secret_parts}
    return sorted((v for v in bare if len(v) >= _MIN_MASKED_LENGTH and v != REDACTED), key=len)[
        : -_MAX_MASKED - 1 : -1
    ]


def _masked(value: Json, secrets: list[str]) -> Json:
    """Replaces the secrets in all strings but keys: a password may equal the name of a field."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, REDACTED)
        return value
    if isinstance(value, dict):
        return {key: _masked(entry, secrets) for key, entry in value.items()}
    if isinstance(value, list):
        return [_masked(entry, secrets) for entry in value]
    return value


def _key_and_level(key: str) -> tuple[str, Sensitivity]:
    """The key with secrets redacted (clients choose keys too), and its value's sensitivity."""
    if len(key) > _MAX_KEY_LENGTH:  # long keys are data of clients and would fill the cache
        return redact_text(key, _MAX_KEY_LENGTH), sensitivity(key)
    return _short_key_and_level(key)


@lru_cache(maxsize=1024)
def _short_key_and_level(key: str) -> tuple[str, Sensitivity]:
    return redact_text(key), sensitivity(key)


def _key_text(key: object) -> str:
    return key.decode("latin-1") if isinstance(key, bytes) else str(key)


def _safely(convert: Any, value: object) -> str:
    try:
        return convert(value)
    except Exception:
        return f"<{type(value).__name__}>"
