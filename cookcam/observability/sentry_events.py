"""What leaves for Sentry: events reduced, scrubbed and grouped, as plain data in, plain data out.

The scrubber is the one of the logs (`redaction`), over the whole event. `spec/operations.md` §4.
"""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson

from cookcam.observability.redaction import Limits, redact
from cookcam.observability.redaction.text import QUERY_SECRETS
from cookcam.observability.reports import ReportedRequest, chain

Event = dict[str, Any]

_LIMITS = Limits(depth=24, entries=20_000)
_LONGEST_BODY = 65_536
_PROBE = re.compile(r"(?:[A-Z]+ )?(?:/api(?:/v\d+)?)?/(?:health|metrics)(?:/|$)")
_STATE = re.compile(r"[0-9A-Z]{5}|PGRST\d+")


def is_probe(path: str) -> bool:
    """Whether a path, or the name of a trace, belongs to health checks or metrics."""
    return _PROBE.match(path) is not None


def scrubbed(event: Event, environment: str) -> Event:
    """The event as it may be sent.

    Local variables stay in frames of this program only (a library's frames hold the same values
    under names that say nothing), the user is the id, everything is redacted.
    """
    for frame in _frames(event):
        if not frame.get("in_app"):
            frame.pop("vars", None)
    event.pop("_meta", None)  # says what was trimmed, in the shape of what was trimmed
    user = _as_mapping(event.pop("user", None))
    query = cast("list[tuple[str, str]]", _as_mapping(event.get("request")).get("query_string"))
    given = [value for name, value in query or () if name in QUERY_SECRETS]
    safe = redact(event, _LIMITS, also=given)
    if not isinstance(safe, dict):
        safe = {key: event[key] for key in ("event_id", "timestamp", "level") if key in event}
    if "id" in user:
        safe["user"] = {"id": str(user["id"])}
    safe["tags"] = {**_as_mapping(safe.get("tags")), "node_env": environment}
    return safe


def request_section(request: ReportedRequest) -> Event:
    """The `request` of an event."""
    return {
        "method": request.method,
        "url": request.path,
        "query_string": parse_qsl(request.query, keep_blank_values=True),
        "headers": {name.title(): value for name, value in dict(request.headers).items()},
        "data": _parsed(request.body),
    }


def fingerprint(error: BaseException) -> list[str] | None:
    """How events are grouped; the first rule that fits wins: payment, database, validation.

    A rule also fits a cause of the error, since providers and database layers translate theirs.
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
    words = str(error).casefold()
    return ["validation-error"] if "validation" in words or "invalid" in words else None


def kept_breadcrumb(crumb: Event) -> Event | None:
    """The breadcrumb, redacted; None for one of a health check or a static file."""
    data = _as_mapping(crumb.get("data"))
    place = f"{crumb.get('message') or ''} {data.get('url') or ''}"
    if crumb.get("category") == "http" and ("/static/" in place or "/health" in place):
        return None
    moment = crumb.get("timestamp")  # compared with others before it is sent
    safe = redact({key: value for key, value in crumb.items() if key != "timestamp"})
    if not isinstance(safe, dict):
        return None
    return safe if moment is None else {**safe, "timestamp": moment}


def _frames(event: Event) -> list[Event]:
    exceptions = cast("list[Event]", _as_mapping(event.get("exception")).get("values") or [])
    return [
        frame
        for exception in exceptions
        for frame in cast("list[Event]", _as_mapping(exception.get("stacktrace")).get("frames", []))
    ]


def _as_mapping(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _parsed(body: object) -> object:
    """A body by its structure, so that it is redacted by its keys and not only by shapes."""
    if not isinstance(body, bytes | str) or not body:
        return body
    if len(body) > _LONGEST_BODY:
        return f"[{len(body)} bytes]"
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
