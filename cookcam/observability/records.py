"""Log records: converts a logging call to one size-limited, redacted mapping, and that to a line.

JSON in staging and production: `{"timestamp", "level", "message", …context}`. In development
and tests `[timestamp] LEVEL: message key=value …` with the stack below it.
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
_UNQUOTED = re.compile(r"[\w.:/@+\-\[\]<>]+\Z")


def as_record(logger: object, method: str, event: MutableMapping[str, Any]) -> Record:
    """A structlog processor: the record of one call.

    `timestamp`, `level` and `message` are the record's own: context that uses those names gets
    an underscore behind them. An exception, in `exc_info` or as the value of `error`, becomes
    `error`, `error_type` and `stack`. Never raises.
    """
    fields: Record = {"message": event.pop("event", "")}
    if name := getattr(logger, "name", ""):
        fields["logger"] = name
    error = _exception_of(event)
    for context in (current_log_fields(), event):
        if _RESERVED.isdisjoint(context):
            fields.update(context)
        else:
            fields.update((f"{k}_" if k in _RESERVED else k, v) for k, v in context.items())
    if error is not None:
        fields.setdefault("error", _message_of(error))
        fields["error_type"] = type(error).__name__
        fields["stack"] = _stack_of(error)
    redacted = redact(fields, _LIMITS)
    return {
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
        "level": LEVELS.get(method, "INFO"),
        **(redacted if isinstance(redacted, dict) else {"message": redacted}),
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
    parts += [f"{key}={_format_value(value)}" for key, value in record.items()]
    lines = [" ".join(parts)]
    if stack:
        lines += (f"    | {line}" for line in str(stack).rstrip("\n").split("\n"))
    text = "".join(_CONTROL.sub(_escaped, line) + "\n" for line in lines)
    return text.encode(errors="backslashreplace")


def _format_value(value: object) -> str:
    if isinstance(value, str) and _UNQUOTED.match(value):
        return value
    return json.dumps(value, ensure_ascii=False, default=repr)


def _escaped(match: re.Match[str]) -> str:
    return f"\\u{ord(match[0]):04x}"


def _exception_of(event: MutableMapping[str, Any]) -> BaseException | None:
    raised = event.pop("exc_info", None)
    if raised is True:
        raised = sys.exc_info()
    if isinstance(raised, tuple):
        raised = cast("tuple[Any, ...]", raised)[1]
    if not isinstance(raised, BaseException):
        raised = event.get("error")
    if not isinstance(raised, BaseException):
        return None
    if event.get("error") is raised:
        del event["error"]
    return raised


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
