"""What every log line of one request or one socket says: `requestId`, `userId`, `method`, `path`.

The fields live in a context variable, so that they follow the task, and the tasks it starts,
without being passed. All of them share one mapping: what a handler adds (who the caller turned
out to be, which route matched) is there for the access line that an outer task writes.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_NOTHING: Mapping[str, object] = MappingProxyType({})
_fields: ContextVar[dict[str, object] | None] = ContextVar("cookcam_log_fields", default=None)


@contextmanager
def log_context(**fields: object) -> Generator[None, None, None]:
    """Adds fields to every log line until the block ends; the fields around it stay.

    Enter and leave it in the same task. The names are
    `requestId`, `userId` (the id, nothing else of the user), `method`, `path` (route template).
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


def current_log_fields() -> Mapping[str, object]:
    """The fields of the innermost `log_context`, those around it included. Not to be changed."""
    current = _fields.get()
    return _NOTHING if current is None else current
