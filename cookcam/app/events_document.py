"""docs/events.md: the payloads of socket events, from the types that the program declares.

python -m cookcam.app.events_document > docs/events.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final
from uuid import UUID

import trio
from attrs import frozen
from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType, inspect

from cookcam.app import open_services
from cookcam.app.openapi_document import SETTINGS
from cookcam.config import load
from cookcam.features.billing.ledger.ledger import SubscriptionUpdated
from cookcam.features.messaging.notifications.sender import UserNotification
from cookcam.features.social.cooking import responses as cooking
from cookcam.features.social.feed import models as feed
from cookcam.features.social.presence.models import UserStatus
from cookcam.lifecycle.state import Lifecycle
from cookcam.realtime.events import Event


class Connected(Struct, rename="camel"):
    message: str
    user_id: UUID
    timestamp: datetime


class BrokenRule(Struct):
    field: str
    rule: str


class Error(Struct, rename="camel"):
    message: str
    code: str
    event: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    fields: list[BrokenRule] | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class Authenticated(Struct, rename="camel"):
    expires_at: datetime | None


class TokenExpiring(Struct, rename="camel"):
    expires_at: datetime
    closes_at: datetime


class ServerShutdown(Struct, rename="camel"):
    message: str
    timestamp: datetime
    reconnect_after_ms: Annotated[int, Meta(ge=1000, le=10_000)]


class GenerationProgress(Struct, rename="camel"):
    request_id: str
    operation: str
    stage: str
    characters: int
    items: int


@frozen
class SentEvent:
    """An event that the server sends: its payload and its receivers."""

    payload: type[Struct]
    receivers: str


SERVER_EVENTS: Final[Mapping[str, SentEvent]] = {
    "connected": SentEvent(Connected, "the client, once it is connected"),
    "error": SentEvent(Error, "the sender of an event that failed"),
    "authenticated": SentEvent(Authenticated, "the sender of `authenticate`"),
    "token_expiring": SentEvent(TokenExpiring, "the client, 60 s before its token expires"),
    "server_shutdown": SentEvent(ServerShutdown, "all users"),
    "cooking_session_created": SentEvent(cooking.SessionCreated, "the sender"),
    "cooking_session_joined": SentEvent(cooking.SessionJoined, "the sender"),
    "user_joined_session": SentEvent(cooking.UserJoined, "the room, except the sender"),
    "user_left_session": SentEvent(cooking.UserLeft, "the room"),
    "cooking_step_updated": SentEvent(cooking.StepUpdated, "the room"),
    "cooking_message": SentEvent(cooking.MessageSent, "the room"),
    "cooking_session_ended": SentEvent(cooking.SessionEnded, "the room"),
    "live_recipe_shared": SentEvent(feed.LiveRecipe, "all users"),
    "live_recipe_liked": SentEvent(feed.LiveRecipeLiked, "all users"),
    "live_recipe_commented": SentEvent(feed.LiveRecipeCommented, "all users"),
    "live_scan_shared": SentEvent(feed.LiveScan, "followers and the user"),
    "recipe_collab_request": SentEvent(feed.CollabRequest, "the target user"),
    "user_status_updated": SentEvent(
        UserStatus, "followers and participants of the same cooking sessions"
    ),
    "user_notification": SentEvent(
        UserNotification, "the user, for each new notification of the inbox (notifications.md)"
    ),
    "subscription_updated": SentEvent(SubscriptionUpdated, "the user"),
    "generation_progress": SentEvent(GenerationProgress, "the user, while a recipe is generated"),
}
"""In the order of the page."""

_INTRODUCTION: Final = """# Socket events

Generated from the declared types:
`python -m cookcam.app.events_document docs/events.md`.

Each event has one argument, a JSON object. Over Socket.IO it is the argument of the event; over a
plain WebSocket it is `data` of `{"event": …, "data": …}`. How to connect, limits and close codes:
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
