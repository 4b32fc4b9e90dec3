"""Parses `application/x-www-form-urlencoded` bodies with nested keys, which older clients send:
`tags[]=a&tags[]=b&times[prep]=5`.
"""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import parse_qsl

from cookcam.errors import BadRequest

MAX_FIELDS = 1000
MAX_DEPTH = 5

_KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PART = re.compile(r"\[([^\[\]]*)\]")

Form = dict[str, Any]


def parse_form(body: bytes) -> Form:
    """The fields of a form. A repeated key, or one that ends in `[]`, is a list.

    Raises BadRequest for more than MAX_FIELDS fields, text that is not UTF-8, nesting deeper
    than MAX_DEPTH, and a key that is used both as a value and as an object.
    """
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError:
        raise BadRequest("The form could not be read") from None
    form: Form = {}
    for key, value in pairs:
        _put(form, _path(key), value)
    return form


def _path(key: str) -> list[str]:
    match = _KEY.fullmatch(key)
    if match is None:
        return [key]
    path = [match[1], *_PART.findall(match[2])]
    if len(path) > MAX_DEPTH:
        raise BadRequest("The form is nested too deeply")
    return path


def _put(form: Form, path: list[str], value: str) -> None:
    at = form
    for index, name in enumerate(path[:-1]):
        if path[index + 1] == "" and index + 2 == len(path):
            _append(at, name, value, as_list=True)
            return
        inner: Any = at.setdefault(name, {})
        if not isinstance(inner, dict):
            raise BadRequest("The form uses one name in two ways")
        at = cast("Form", inner)
    _append(at, path[-1], value, as_list=False)


def _append(at: Form, name: str, value: str, *, as_list: bool) -> None:
    if name not in at:
        at[name] = [value] if as_list else value
        return
    before = at[name]
    if isinstance(before, dict):
        raise BadRequest("The form uses one name in two ways")
    at[name] = [*cast("list[str]", before), value] if isinstance(before, list) else [before, value]
