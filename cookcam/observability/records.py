"""Log records: from what a caller said to one bounded, redacted mapping, and from that to a line.

JSON in staging and production: `{"timestamp", "level", "message", …context}`. In development
and tests `[timestamp] LEVEL: message key=value …` with the stack below it. `spec/operations.md` §5.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import MutableMapping
from datetime import UTC, datetime
from itertools import islice
from traceback import TracebackException, format_tb
from typing import Any, cast

import orjson

from cookcam.observability.context import current_log_fields
from cookcam.observability.redaction import Limits, redact
from cookcam.observability.reports import chain

Record = dict[str, Any]

LEVELS = {
    "debug": "DEBUG",
    "info": "INFO",
    "warning": "WARN",
    "error": "ERROR",
    "critical": "ERROR",
}
_RESERVED = frozenset({"timestamp", "level", "message", "logger", "instance", "pid"})
_LIMITS = Limits(text=16384)  # a stack is the longest text of a record
_STACK_FRAMES = 40
_MAX_CHAIN_LENGTH = 20
# Characters that end a line somewhere, or steer a terminal.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_BARE_WORD = re.compile(r"[\w.:/@+\-\[\]<>]+\Z")


def as_record(logger: object, method: str, event: MutableMapping[str, Any]) -> Record:
    """A structlog processor: the record of one call.

    `timestamp`, `level` and `message` are the record's own: context that uses those names gets
    an underscore behind them. An exception, in `exc_info` or as the value of `error`, becomes
    `error`, `error_type` and `stack`. Never raises.
    """
    said: Record = {"message": event.pop("event", "")}
    if name := getattr(logger, "name", ""):
        said["logger"] = name
    error = _exception_of(event)
    for context in (current_log_fields(), event):
        if _RESERVED.isdisjoint(context):
            said.update(context)
        else:
            said.update((f"{k}_" if k in _RESERVED else k, v) for k, v in context.items())
    if error is not None:
        said.setdefault("error", _message_of(error))
        said["error_type"] = type(error).__name__
        said["stack"] = _stack_of(error)
    shown = redact(said, _LIMITS)
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": LEVELS.get(method, "INFO"),
        **(shown if isinstance(shown, dict) else {"message": shown}),
    }


def json_line(_logger: object, _method: str, record: MutableMapping[str, Any]) -> bytes:
    """A structlog renderer: one record as one line of JSON."""
    try:
        line = orjson.dumps(record)
    except TypeError:  # a lone surrogate, an integer of more than 64 bits
        line = json.dumps(record, default=repr).encode()
    if not line.isascii() and _CONTROL.search(text := line.decode()):
        line = _CONTROL.sub(_escaped, text).encode()
    return line + b"\n"


def readable_line(_logger: object, _method: str, record: MutableMapping[str, Any]) -> bytes:
    """A structlog renderer: one record for a person. Only a record's first line starts with `[`."""
    stack = record.pop("stack", None)
    parts = [f"[{record.pop('timestamp')}] {record.pop('level')}: {record.pop('message')}"]
    parts += [f"{key}={_shown(value)}" for key, value in record.items()]
    lines = [" ".join(parts)]
    if stack:
        lines += (f"    | {line}" for line in str(stack).rstrip("\n").split("\n"))
    text = "".join(_CONTROL.sub(_escaped, line) + "\n" for line in lines)
    return text.encode(errors="backslashreplace")


def _shown(value: object) -> str:
    if isinstance(value, str) and _BARE_WORD.match(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=repr)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _exception_of(event: MutableMapping[str, Any]) -> BaseException | None:
    given = event.pop("exc_info", None)
    if given is True:
        given = sys.exc_info()
    if isinstance(given, tuple):
        given = cast("tuple[Any, ...]", given)[1]
    if not isinstance(given, BaseException):
        given = event.get("error")
    if not isinstance(given, BaseException):
        return None
    if event.get("error") is given:
        del event["error"]
    return given


def _message_of(error: BaseException) -> str:
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__


def _stack_of(error: BaseException) -> str:
    """The traceback with its causes and, for a group, its members; no local variables.

    Of a long chain of them the first are shown, one below the other.
    """
    try:
        errors = list(islice(chain(error), _MAX_CHAIN_LENGTH + 1))
        if len(errors) > _MAX_CHAIN_LENGTH:
            return "".join(_own_stack_of(current) for current in errors[:_MAX_CHAIN_LENGTH])
        trace = TracebackException.from_exception(error, limit=-_STACK_FRAMES, compact=True)
        return "".join(trace.format())
    except Exception:
        return f"<no stack: {type(error).__name__} cannot be formatted>"


def _own_stack_of(error: BaseException) -> str:
    lines = format_tb(error.__traceback__, -_STACK_FRAMES)
    return "".join([*lines, f"{type(error).__name__}: {_message_of(error)}\n"])
