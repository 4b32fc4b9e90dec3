"""Spans along the task tree, and W3C Trace Context (https://www.w3.org/TR/trace-context/).

    with span("GET /recipes", Kind.SERVER, parent=traceparent) as current: ...

The current span is in a context variable, so a task and the tasks it starts have it without passing
it. Only an `activate`d program has spans: without, `span` returns an object that does nothing and
costs one read of a context variable.

Attributes are the names of routes, services and tasks, SQL without parameters, statuses and ids.
Never put a value of a client or a provider into one.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from enum import IntEnum
from typing import Final

from attrs import define, field, frozen

TRACEPARENT: Final = "traceparent"
"""The header of requests, both received and sent."""
_SYNTAX: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?"
)
MAX_STATEMENT: Final = 300
"""Characters of a statement in an attribute."""


class Kind(IntEnum):
    """The SpanKind of OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3


@define(eq=False)
class Span:
    """One operation. Times are nanoseconds since the epoch. An unsampled span is not exported."""

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: Kind
    sampled: bool
    started: int
    ended: int = 0
    attributes: dict[str, str | int] = field(factory=dict[str, str | int])
    error: str | None = None
    """The name of the error that ended the operation."""

    @property
    def traceparent(self) -> str:
        """The header that makes a request a child of this span."""
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


@frozen
class Tracer:
    """`export` gets each sampled span when it ends; it must not raise or wait. `ratio` is the share
    of the traces begun here that are sampled; a trace begun elsewhere is sampled if it is there."""

    export: Callable[[Span], None]
    ratio: float = 1.0


_tracer: ContextVar[Tracer | None] = ContextVar("cookcam_tracer", default=None)
_current: ContextVar[Span | None] = ContextVar("cookcam_span", default=None)
_OFF: Final = nullcontext[Span | None](None)


@contextmanager
def activate(tracer: Tracer) -> Generator[None]:
    """Trace this task and the tasks started within the block."""
    token = _tracer.set(tracer)
    try:
        yield
    finally:
        _tracer.reset(token)


def current_span() -> Span | None:
    """The innermost span of this task and those that started it."""
    return _current.get()


def span(
    name: str, kind: Kind = Kind.INTERNAL, *, parent: str | None = None
) -> AbstractContextManager[Span | None]:
    """A span that begins a trace, or continues that of the `parent` header. Enter and leave it in
    one task. Does nothing, and gives None, without a tracer."""
    tracer = _tracer.get()
    return _OFF if tracer is None else _root(tracer, name, kind, parent)


def child_span(name: str, kind: Kind = Kind.INTERNAL) -> AbstractContextManager[Span | None]:
    """A span within the current one. Does nothing, and gives None, if there is no sampled one."""
    parent = _current.get()
    tracer = _tracer.get()
    if parent is None or tracer is None or not parent.sampled:
        return _OFF
    return _record(tracer, _span(parent.trace_id, parent.span_id, name, kind, sampled=True))


def statement_span(operation: str, statement: str = "") -> AbstractContextManager[Span | None]:
    """A child span of a database operation. `statement` has no parameters in it."""
    if _current.get() is None:
        return _OFF
    return _statement(operation, statement)


@contextmanager
def _statement(operation: str, statement: str) -> Generator[Span | None]:
    with child_span(f"db.{operation}", Kind.CLIENT) as current:
        if current is not None:
            current.attributes["db.system.name"] = "postgresql"
            if statement:
                current.attributes["db.query.text"] = " ".join(statement.split())[:MAX_STATEMENT]
        yield current


def _root(
    tracer: Tracer, name: str, kind: Kind, header: str | None
) -> AbstractContextManager[Span | None]:
    parent = _SYNTAX.fullmatch(header) if header is not None else None
    # Version 00 has no further fields; a later version may (section 3.2.3).
    if parent is None or (parent[4] and header is not None and header.startswith("00")):
        sampled = random.random() < tracer.ratio  # noqa: S311 - sampling
        return _record(tracer, _span(_random_hex(128), None, name, kind, sampled=sampled))
    sampled = bool(int(parent[3], 16) & 1)
    return _record(tracer, _span(parent[1], parent[2], name, kind, sampled=sampled))


def _span(trace_id: str, parent_id: str | None, name: str, kind: Kind, *, sampled: bool) -> Span:
    return Span(trace_id, _random_hex(64), parent_id, name, kind, sampled, time.time_ns())


@contextmanager
def _record(tracer: Tracer, current: Span) -> Generator[Span]:
    token = _current.set(current)
    try:
        yield current
    except BaseException as error:
        current.error = current.error or type(error).__name__
        raise
    finally:
        _current.reset(token)
        if current.sampled:
            current.ended = time.time_ns()
            tracer.export(current)


def _random_hex(bits: int) -> str:
    # `or 1`: an id of zeros is invalid.
    return f"{random.getrandbits(bits) or 1:0{bits // 4}x}"
