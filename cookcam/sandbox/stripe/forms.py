"""Stripe's form encoding: `items[0][price]=p` is the first of a list of objects."""

from __future__ import annotations

import re
from typing import Any, TypeAlias, cast
from urllib.parse import parse_qsl

from cookcam.sandbox.stripe.faults import invalid

Form: TypeAlias = dict[str, Any]

_KEY = re.compile(r"[^\[\]]+|\[[^\[\]]*\]")


def read_form(text: str) -> Form:
    """Nested objects, lists and texts. Raises ApiFault."""
    root: Form = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        parts = [part.strip("[]") for part in _KEY.findall(name)]
        if "".join(_KEY.findall(name)) != name or not parts:
            raise invalid(f"Invalid parameter name: {name}", name)
        _put(root, parts, value)
    return cast("Form", _with_lists(root))


def _put(node: Form, parts: list[str], value: str) -> None:
    for part in parts[:-1]:
        inner = node.setdefault(part or str(len(node)), {})
        if not isinstance(inner, dict):
            raise invalid(f"Invalid object: {part}", part)
        node = cast("Form", inner)
    node[parts[-1] or str(len(node))] = value


def _with_lists(node: Any) -> Any:
    """Objects whose keys are 0, 1, 2, ... as lists."""
    if not isinstance(node, dict):
        return node
    given = cast("Form", node)
    values = {key: _with_lists(value) for key, value in given.items()}
    if values and list(values) == [str(index) for index in range(len(values))]:
        return list(values.values())
    return values


def boolean(form: Form, name: str) -> bool | None:
    value = form.get(name)
    if value is None:
        return None
    if value not in ("true", "false"):
        raise invalid(f"Invalid boolean: {value}", name)
    return value == "true"


def integer(form: Form, name: str) -> int | None:
    value = form.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"-?\d{1,15}", str(value)):
        raise invalid(f"Invalid integer: {value}", name)
    return int(value)


def required(form: Form, name: str) -> Any:
    if form.get(name) in (None, ""):
        raise invalid(f"Missing required param: {name}.", name, "parameter_missing")
    return form[name]


def required_integer(form: Form, name: str) -> int:
    required(form, name)
    return cast("int", integer(form, name))


def choice(form: Form, name: str, allowed: tuple[str, ...], default: str) -> str:
    value = form.get(name, default)
    if value not in allowed:
        raise invalid(f"Invalid {name}: must be one of {', '.join(allowed)}", name)
    return str(value)


def metadata(form: Form, current: dict[str, str] | None = None) -> dict[str, str]:
    """The current metadata with the given keys replaced; an empty text removes a key."""
    given: object = form.get("metadata") or {}
    if not isinstance(given, dict):
        raise invalid("Invalid object", "metadata")
    texts = {str(key): str(value) for key, value in cast("Form", given).items()}
    merged = {**(current or {}), **texts}
    return {key: value for key, value in merged.items() if value != ""}


def parts(form: Form, name: str) -> list[Form]:
    """A list of objects. Raises ApiFault."""
    given: object = form.get(name) or []
    if not isinstance(given, list) or not all(
        isinstance(part, dict) for part in cast("list[object]", given)
    ):
        raise invalid(f"Invalid array: {name}", name)
    return cast("list[Form]", given)


def part(form: Form, name: str) -> Form:
    given: object = form.get(name) or {}
    if not isinstance(given, dict):
        raise invalid(f"Invalid object: {name}", name)
    return cast("Form", given)
