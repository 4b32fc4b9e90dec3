"""The log fields of a request or a socket: `requestId`, `userId`, `method`, `path`.

The fields are in a context variable, so that the task and the tasks it starts have them without
passing them. All of these share one mapping: fields that a handler adds (the caller, the matched
route) are also on the access line, which an outer task writes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import Context, ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_fields: ContextVar[dict[str, object] | None] = ContextVar("cookcam_log_fields", default=None)


@contextmanager
def log_context(**fields: object) -> Generator[None, None, None]:
    """Adds fields to every log line until the block ends, to those of an outer block.

    Enter and leave it in the same task. The names are
    `requestId`, `userId` (only the id of the user), `method`, `path` (route template).
    """
    token = _fields.set({**current_log_fields(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


def add_log_fields(**fields: object) -> None:
    """Adds fields to the innermost `log_context`; outside of one it does nothing."""
    current = _fields.get()
    if current is not None:
        current.update(fields)


def log_fields_of(context: Context) -> Mapping[str, object]:
    """The fields of the innermost `log_context` of another task. Do not change it."""
    return context.get(_fields) or _NOTHING


def current_log_fields() -> Mapping[str, object]:
    """The fields of the innermost `log_context`, with those of outer ones. Do not change it."""
    current = _fields.get()
    return _NOTHING if current is None else current
