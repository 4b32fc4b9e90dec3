"""Builds, scrubs and groups the events that are sent to Sentry, within size limits.

They contain no text of clients: of local variables and bodies only types and sizes, of headers and
queries only those listed here. The rest is redacted like log lines (`redaction`).

The functions that read an error's frames and variables are slow: call them in a thread.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from itertools import islice
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qsl
from uuid import UUID

import orjson

from cookcam.observability.redaction import REDACTED, Limits, redact
from cookcam.observability.redaction.text import QUERY_SECRETS
from cookcam.observability.reports import ReportedRequest, chain

Event = dict[str, Any]

_LIMITS = Limits(depth=24, entries=20_000)
MAX_EXCEPTIONS = 10
"""Maximum exceptions of a report: the error, its causes and the members of groups."""
MAX_FIRST_FRAMES, MAX_LAST_FRAMES = 10, 40
"""Frames at each end of a traceback that are reported. A recursion repeats those in between."""
MAX_FRAMES_WITH_VARIABLES = 20
MAX_VARIABLES = 30
MAX_MESSAGE_LENGTH = 2048
MAX_EVENT_SIZE = 128 * 1024
"""Bytes of an event as JSON. Sentry rejects events above 1 MB."""

HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "accept-language", "content-encoding", "content-length"),
        *("content-type", "host", "origin", "upgrade", "user-agent", "x-request-id"),
    }
)
"""Headers that are reported; others may contain any data."""

QUERY = frozenset({"limit", "offset", "order", "page", "sort", "EIO", "transport"})
"""Query parameters that are reported if the value is a word or a number."""

_TOKEN = re.compile(r"[\w.\-]{1,40}")
# Errors of Python whose message quotes their input.
_QUOTING = (ValueError, LookupError)
_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""", re.DOTALL)
_PRINTED = (UUID, datetime, date, time, timedelta, Decimal)
_SIZED = (str, bytes, bytearray, dict, list, tuple, set, frozenset, deque)
_STATE = re.compile(r"[0-9A-Z]{5}|PGRST\d+")


def exception_section(error: BaseException, frame_of: Callable[..., Event]) -> Event:
    """The `exception` of an event: at most `MAX_EXCEPTIONS`, causes first.

    `frame_of(frame, tb_lineno=…)` is `sentry_sdk.utils.serialize_frame`.
    https://develop.sentry.dev/sdk/data-model/event-payloads/exception/
    """
    values = [
        {
            "type": type(current).__name__,
            "module": type(current).__module__,
            "value": message_of(current),
            "mechanism": {"type": "generic" if current is error else "chained", "handled": True},
            "stacktrace": {"frames": _frames_of(current.__traceback__, frame_of)},
        }
        for current in islice(chain(error), MAX_EXCEPTIONS)
    ]
    return {"values": values[::-1]}


def message_of(error: BaseException) -> str:
    """The message of an error with its notes, without input that errors of Python quote."""
    try:
        text = "\n".join([str(error), *getattr(error, "__notes__", ())])
    except Exception:  # a __str__ or a note of the application raised
        return f"<{type(error).__name__}>"
    text = text[: 2 * MAX_MESSAGE_LENGTH]
    if isinstance(error, _QUOTING):
        text = _QUOTED.sub(f"'{REDACTED}'", text)
    return text[:MAX_MESSAGE_LENGTH]


def outline(value: object) -> object:
    """A value's type and size: contains no text of the value, and runs none of its code."""
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        return value if abs(cast(int, value)) < 10**15 else "int"
    if isinstance(value, Enum):
        return f"{kind.__name__}.{value.name}"
    if kind in _PRINTED:
        return str(value)
    if kind in _SIZED:
        return f"{kind.__name__} of {len(cast('Collection[object]', value))}"
    return kind.__name__


def _frames_of(trace: TracebackType | None, frame_of: Callable[..., Event]) -> list[Event]:
    first: list[TracebackType] = []
    last: deque[TracebackType] = deque(maxlen=MAX_LAST_FRAMES)
    for entry in _entries(trace):
        (first if len(first) < MAX_FIRST_FRAMES else last).append(entry)
    entries = [*first, *last]
    frames: list[Event] = []
    for number, entry in enumerate(entries, 1):
        frame = frame_of(
            entry.tb_frame,
            tb_lineno=entry.tb_lineno,
            include_local_variables=False,
            max_value_length=256,
        )
        if number > len(entries) - MAX_FRAMES_WITH_VARIABLES:
            frame["vars"] = _variables(entry)
        frames.append(frame)
    return frames


def _entries(trace: TracebackType | None) -> Iterator[TracebackType]:
    while trace is not None:
        yield trace
        trace = trace.tb_next


def _variables(entry: TracebackType) -> Event:
    variables: Event = {}
    with suppress(RuntimeError):  # the event loop runs this frame and has changed its variables
        for name, value in islice(entry.tb_frame.f_locals.items(), MAX_VARIABLES):
            variables[name] = outline(value)
    return variables


def limit_size(event: Event) -> Event:
    """The event within `MAX_EVENT_SIZE`: the least important parts are removed first."""
    for reduce in (_drop_variables, _drop_source, _drop_breadcrumbs, _drop_most_frames):
        if _size_of(event) <= MAX_EVENT_SIZE:
            return event
        reduce(event)
    if _size_of(event) <= MAX_EVENT_SIZE:
        return event
    names = ("event_id", "timestamp", "level", "platform", "release", "environment", "tags")
    return {key: event[key] for key in names if key in event}


def _size_of(event: Event) -> int:
    try:
        return len(orjson.dumps(event, default=str))
    except TypeError:  # a lone surrogate, an integer of more than 64 bits
        return len(repr(event))


def _drop_variables(event: Event) -> None:
    for frame in _frames(event):
        frame.pop("vars", None)


def _drop_source(event: Event) -> None:
    for frame in _frames(event):
        for name in ("pre_context", "context_line", "post_context"):
            frame.pop(name, None)


def _drop_breadcrumbs(event: Event) -> None:
    for name in ("breadcrumbs", "extra", "request"):
        event.pop(name, None)


def _drop_most_frames(event: Event) -> None:
    for exception in _exceptions(event):
        exception["value"] = str(exception.get("value"))[:256]
        trace = _as_mapping(exception.get("stacktrace"))
        trace["frames"] = cast("list[Event]", trace.get("frames", []))[-5:]


def scrubbed(event: Event, environment: str) -> Event:
    """The event without private data, ready to be sent.

    Local variables are kept only in frames of this program (a library's frames hold the same values
    under names that are not recognised), the user is only the id, everything is redacted.
    """
    for frame in _frames(event):
        if not frame.get("in_app"):
            frame.pop("vars", None)
    event.pop("_meta", None)  # metadata of trimmed values, in the same structure
    user = _as_mapping(event.pop("user", None))
    query = cast("list[tuple[str, str]]", _as_mapping(event.get("request")).get("query_string"))
    secrets = [value for name, value in query or () if name in QUERY_SECRETS]
    safe = redact(event, _LIMITS, also=secrets)
    if not isinstance(safe, dict):
        safe = {key: event[key] for key in ("event_id", "timestamp", "level") if key in event}
    if "id" in user:
        safe["user"] = {"id": str(user["id"])}
    safe["tags"] = {**_as_mapping(safe.get("tags")), "node_env": environment}
    return safe


def request_section(request: ReportedRequest) -> Event:
    """The `request` of an event: the listed headers and query parameters, and the body's size."""
    query = parse_qsl(request.query[:4096], keep_blank_values=True)
    headers = dict(request.headers)
    section: Event = {
        "method": request.method,
        "url": request.path,
        "query_string": [(n, v) for n, v in query if n in QUERY and _TOKEN.fullmatch(v)],
        "headers": {n.title(): v[:256] for n, v in headers.items() if n.lower() in HEADERS},
    }
    if request.body is not None:
        section["data"] = outline(request.body)
    return section


def fingerprint(error: BaseException) -> list[str] | None:
    """The group of an event, by the first matching rule: payment, database, validation.

    A rule also matches causes of the error, since other layers translate their errors.
    """
    for cause in chain(error):
        kind = type(cause)
        if "stripe" in kind.__name__.lower() or kind.__module__.partition(".")[0] == "stripe":
            return ["stripe-error", kind.__name__]
    for cause in chain(error):
        for name in ("sqlstate", "code"):
            code = getattr(cause, name, None)
            if isinstance(code, str) and _STATE.fullmatch(code):
                return ["database-error", code]
    message = str(error).casefold()
    return ["validation-error"] if "validation" in message or "invalid" in message else None


def scrub_breadcrumb(crumb: Event) -> Event | None:
    """The redacted breadcrumb; None if it must not be sent."""
    moment = crumb.get("timestamp")  # a time that is compared with others before it is sent
    safe = redact({key: value for key, value in crumb.items() if key != "timestamp"})
    if not isinstance(safe, dict):
        return None
    return safe if moment is None else {**safe, "timestamp": moment}


def _exceptions(event: Event) -> list[Event]:
    return cast("list[Event]", _as_mapping(event.get("exception")).get("values") or [])


def _frames(event: Event) -> list[Event]:
    return [
        frame
        for exception in _exceptions(event)
        for frame in cast("list[Event]", _as_mapping(exception.get("stacktrace")).get("frames", []))
    ]


def _as_mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}
