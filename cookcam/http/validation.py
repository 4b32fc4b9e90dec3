"""Typed requests and responses: decorators that validate with msgspec and document in OpenAPI.

Models are msgspec Structs or attrs classes. The decorators have the names and arguments of
Quart-Schema's, which convert text to numbers in JSON, quote the client's values in messages, and
import pydantic at start (0.15 s); only its OpenAPI side is used (`cookcam.http.openapi`).

An empty body is `{}`, unknown keys are ignored, an optional field may be null.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import cache, wraps
from typing import Any, TypeVar, cast

import attrs
import msgspec
from msgspec import inspect
from quart import request

from cookcam.errors import ValidationError
from cookcam.http.bodies import read_body
from cookcam.http.requests import Request
from cookcam.http.responses import RawResponse
from cookcam.http.route_options import route_options_of, set_route_options

T = TypeVar("T")
View = Callable[..., Awaitable[Any]]

_EXACT = 2.0**53
"""Above this a float is no exact whole number."""

_PLACE = re.compile(r" - at `(?:key` in `)?\$([^`]*)`$")
_MISSING = re.compile(r"Object missing required field `([^`]+)`")

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


def validate_request(
    model: type[Any], *, no_field_message: str | None = None
) -> Callable[[View], View]:
    """Reads the body into `model` and passes it as `data`.

    With `no_field_message`, a body without any field of `model` is rejected with that text: an
    update would otherwise succeed without changing anything. Raises ValidationError with
    `details` `{"field", "rule"}`, or what `read_body` raises.
    """
    _require_model(model)

    def decorate(view: View) -> View:
        @wraps(view)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            value, typed = await read_body(cast("Request", request))
            data = to_model(value, model, strict=typed)
            if no_field_message is not None and not _field_names(model) & value.keys():
                raise ValidationError(no_field_message, error=no_field_message)
            return await view(*args, data=data, **kwargs)

        return set_route_options(checked, body=model, needs_one_field=no_field_message is not None)

    return decorate


def validate_querystring(model: type[Any]) -> Callable[[View], View]:
    """Reads the query into `model` and passes it as `query_args`; repeated keys are lists."""
    _require_model(model)

    def decorate(view: View) -> View:
        @wraps(view)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            given: dict[str, Any] = {
                key: values[0] if len(values) == 1 else values
                for key, values in request.args.lists()
            }
            query_args = to_model(given, model, strict=False)
            return await view(*args, query_args=query_args, **kwargs)

        return set_route_options(checked, query_model=model)

    return decorate


def validate_response(model: type[Any], status: int = 200) -> Callable[[View], View]:
    """Document `model` as the response with `status`, and validate what the view returns.

    What the view returns with that status is converted to `model` unless it already is one; a
    mismatch is a bug and becomes a 500.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        async def checked(*args: Any, **kwargs: Any) -> Any:
            result = await view(*args, **kwargs)
            if isinstance(result, RawResponse):
                return result
            value, given, *headers = (
                cast("tuple[Any, ...]", result) if isinstance(result, tuple) else (result, 200)
            )
            if given != status or type(value) is model:
                return cast("Any", result)
            return (msgspec.convert(value, model, from_attributes=True), given, *headers)

        return set_route_options(
            checked, responses={**route_options_of(view).responses, status: model}
        )

    return decorate


def to_model(value: Any, model: type[T], *, strict: bool) -> T:
    """`value` as `model`. Raises ValidationError, which never quotes the value."""
    droppable = _never_null(model)
    if droppable and isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        value = {k: v for k, v in items.items() if v is not None or k not in droppable}
    try:
        return msgspec.convert(value, model, strict=strict)
    except msgspec.ValidationError as exc:
        error = exc
    try:  # JSON has one kind of number: 2.0 is a whole one
        return msgspec.convert(_with_whole_numbers(value), model, strict=strict)
    except msgspec.ValidationError:
        raise _as_app_error(error) from None


def invalid_fields(value: dict[str, Any], model: type[msgspec.Struct]) -> list[dict[str, str]]:
    """The invalid fields of a value that is not a `model`: `{"field", "rule"}`, with the place
    within the field where there is one. Never quotes the value."""
    droppable, mistakes = _never_null(model), list[dict[str, str]]()
    for part in msgspec.structs.fields(model):
        name = part.encode_name
        if name not in value or (value[name] is None and name in droppable):
            if part.required:
                mistakes.append({"field": name, "rule": "is required"})
            continue
        try:
            msgspec.convert(_with_whole_numbers(value[name]), part.type, strict=True)
        except msgspec.ValidationError as error:
            place, rule = _place_and_rule(error)
            separator = "." if place and not place.startswith("[") else ""
            mistakes.append({"field": f"{name}{separator}{place}", "rule": rule})
    return mistakes


def _with_whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    if isinstance(value, dict):
        entries = cast("dict[str, Any]", value)
        return {key: _with_whole_numbers(entry) for key, entry in entries.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(item) for item in cast("list[Any]", value)]
    return value


def _as_app_error(exc: msgspec.ValidationError) -> ValidationError:
    if exc.__cause__ is not None:
        # A validator's message may contain the rejected value.
        return ValidationError("The request holds a value that is not acceptable")
    field, rule = _place_and_rule(exc)
    return ValidationError.of(field or "body", rule)


def _place_and_rule(exc: msgspec.ValidationError) -> tuple[str, str]:
    """The field and the rule as text."""
    text = str(exc)
    place = _PLACE.search(text)
    field = place[1].lstrip(".") if place else ""
    rule = text[: place.start()] if place else text
    missing = _MISSING.fullmatch(rule)
    if missing:
        field = f"{field}.{missing[1]}" if field else missing[1]
    return field, _describe_rule(rule)


def _require_model(model: type[Any]) -> None:
    if not (issubclass(model, msgspec.Struct) or attrs.has(model)):
        raise TypeError(f"{model.__name__} must be a msgspec Struct or an attrs class")


@cache
def _field_names(model: type[Any]) -> frozenset[str]:
    """The keys of a body that `model` reads."""
    info = cast("inspect.StructType | inspect.DataclassType", inspect.type_info(model))
    return frozenset(field.encode_name for field in info.fields)


@cache
def _never_null(model: type[Any]) -> frozenset[str]:
    """Fields that may be left out and whose type has no null: a null for them means left out.

    Computed on first use: for all models together it would take 5% of the start-up time.
    """
    info = cast("inspect.StructType | inspect.DataclassType", inspect.type_info(model))
    return frozenset(
        field.encode_name
        for field in info.fields
        if not field.required and not _takes_null(field.type)
    )


def _takes_null(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.UnionType):
        return any(_takes_null(member) for member in kind.types)
    return isinstance(kind, inspect.NoneType | inspect.AnyType)


def _describe_rule(message: str) -> str:
    """msgspec's message for users, without the rejected value: "must …", "is …".

    The app shows messages as they are, so "Expected `str` of length >= 3" becomes "must have at
    least 3 characters".
    """
    for pattern, describe in _RULES:
        match = pattern.fullmatch(message)
        if match:
            return describe(match)
    return "is not acceptable"
