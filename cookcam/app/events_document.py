"""docs/events.md: the payloads of socket events, from the types that the program declares.

python -m cookcam.app.events_document > docs/events.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import trio
from msgspec import NODEFAULT, UNSET, Struct, inspect

from cookcam.app import open_services
from cookcam.app.openapi_document import SETTINGS
from cookcam.app.server_events import SERVER_EVENTS
from cookcam.config import load
from cookcam.lifecycle.state import Lifecycle
from cookcam.realtime.events import Event

_INTRODUCTION: Final = """# Socket events

Generated from the declared types:
`python -m cookcam.app.events_document docs/events.md`.

Each event has one argument, a JSON object. Over Socket.IO it is the argument of the event; over a
plain WebSocket it is `data` of `{"event": …, "data": …}`. `GET /asyncapi.json` is the same as an
AsyncAPI 3 document, accessible like `/openapi.json`. How to connect, limits and close codes:
[realtime](realtime.md).
"""

_CLIENT: Final = """## From the client

Unknown fields are ignored; `null` for an optional field counts as absent. The response to an
invalid payload is `error`, whose `fields` name each invalid field and its rule. JSON may be nested
64 levels deep; half a surrogate pair in a text is read as U+FFFD.
"""

_SERVER: Final = """## From the server

Clients must ignore unknown fields. An optional field without a value is absent, not null.
"""


def events_page(events: Mapping[str, Event]) -> str:
    """The page, as Markdown."""
    parts = [_INTRODUCTION, _CLIENT]
    for name, event in events.items():
        parts.append(f"### `{name}`\n\n{_table(event.schema)}")
    parts.append(_SERVER)
    for name, entry in SERVER_EVENTS.items():
        parts.append(f"### `{name}`\n\nTo {entry.receivers}.\n\n{_table(entry.payload)}")
    return "\n".join(parts)


def _table(payload: type[Struct]) -> str:
    rows = "".join(
        f"| `{path}` | {value} | {presence} |\n" for path, value, presence in _rows(payload)
    )
    return f"| field | value | |\n|---|---|---|\n{rows}"


def _rows(payload: type[Struct], prefix: str = "") -> Iterator[tuple[str, str, str]]:
    info = inspect.type_info(payload)
    assert isinstance(info, inspect.StructType)  # noqa: S101 - of every Struct
    for field in info.fields:
        path = f"{prefix}{field.encode_name}"
        kind = field.type
        yield path, _describe(kind), _presence(field)
        item, suffix = (
            (kind.item_type, "[].") if isinstance(kind, inspect.ListType) else (kind, ".")
        )
        if isinstance(item, inspect.StructType):
            yield from _rows(item.cls, path + suffix)


def _presence(field: inspect.Field) -> str:
    if field.required:
        return "required"
    if field.default in (None, UNSET, NODEFAULT):
        return "optional"
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    return f"optional, else {default}"


def _describe(kind: inspect.Type) -> str:
    """Describes a type as the rules in `error` do."""
    match kind:
        case inspect.Metadata():
            return _describe(kind.type)
        case inspect.StrType():
            return f"text{_range(kind.min_length, kind.max_length, ' characters')}"
        case inspect.IntType():
            return f"whole number{_range(kind.ge, kind.le)}"
        case inspect.FloatType():
            return f"number{_range(kind.ge, kind.le)}"
        case inspect.ListType():
            limits = _range(kind.min_length, kind.max_length, " items")
            return f"list{limits}, each: {_describe(kind.item_type)}"
        case inspect.LiteralType():
            return "one of " + ", ".join(f"`{value}`" for value in kind.values)
        case inspect.UnionType():
            return " or ".join(_describe(member) for member in kind.types)
        case _:
            return _NAMES[type(kind)]


_NAMES: Final[Mapping[type[inspect.Type], str]] = {
    inspect.BoolType: "true or false",
    inspect.UUIDType: "UUID",
    inspect.DateTimeType: "time such as `2026-01-31T12:34:56.789Z`",
    inspect.NoneType: "null",
    inspect.DictType: "object",
    inspect.StructType: "object",
}


def _range(minimum: float | None, maximum: float | None, unit: str = "") -> str:
    if minimum is None and maximum is None:
        return ""
    if maximum is None:
        return f", at least {minimum}{unit}"
    if minimum is None:
        return f", at most {maximum}{unit}"
    return f", {minimum} to {maximum}{unit}"


async def events_document() -> str:
    """The page for the events of the whole program."""
    async with open_services(load(SETTINGS), Lifecycle()) as services:
        return events_page(services.realtime.events)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(trio.run(events_document))
