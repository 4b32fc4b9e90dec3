"""Error reports as the program sees them: what is reported, and with which request.

`ErrorReporter` is what web, realtime and background code is given; `cookcam.observability.sentry`
opens one. Nothing here knows Sentry.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol, cast
from uuid import UUID

import trio
from attrs import frozen

from cookcam.errors import AppError

_MAX_CHAIN_LENGTH = 50


@frozen
class ReportedRequest:
    """The request an error happened in, as far as a report may need it; it is redacted later.

    `path` is the route template where one matched. `headers` may be a mapping or pairs. `body` is
    what the client sent, raw or parsed.
    """

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    body: object = None
    request_id: str | None = None
    user_id: UUID | str | None = None


class RequestTrace(Protocol):
    """The trace of one request, sampled or not."""

    def finish(self, route: str | None, status: int) -> None:
        """Names the trace after the route template and gives it the status of the answer."""
        ...


class ErrorReporter(Protocol):
    """Where errors are reported. No method raises or waits."""

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        """Reports an error; the id of the report, or None when it is none (`reportable`)."""
        ...

    def add_breadcrumb(
        self, category: str, message: str, data: Mapping[str, object] | None = None
    ) -> None:
        """Notes an event that a later report of the same request will mention."""
        ...

    def request(self, method: str, path: str) -> AbstractContextManager[RequestTrace]:
        """Keeps the notes of one request apart from those of others, and traces a sample.

        Enter and leave it in the task that serves the request.
        """
        ...


@frozen
class _Untraced:
    def finish(self, route: str | None, status: int) -> None: ...


UNTRACED: RequestTrace = _Untraced()


@frozen
class NoReports:
    """The reporter of a server without an address to report to."""

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        return None

    def add_breadcrumb(
        self, category: str, message: str, data: Mapping[str, object] | None = None
    ) -> None: ...

    def request(self, method: str, path: str) -> AbstractContextManager[RequestTrace]:
        return nullcontext(UNTRACED)


def reportable(error: BaseException) -> BaseException | None:
    """What of `error` is a fault: not a client's own error (status below 500), not cancellation.

    Of an exception group the rest, None where there is none.
    """
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.split(_is_expected)[1]
    return None if _is_expected(error) else error


def _is_expected(error: BaseException) -> bool:
    if isinstance(error, AppError):
        return error.status < 500
    return isinstance(error, trio.Cancelled)


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes, and the members of groups among them; each once."""
    pending: list[BaseException] = [error]
    visited: set[int] = set()
    while pending and len(visited) < _MAX_CHAIN_LENGTH:
        current = pending.pop(0)
        if id(current) in visited:
            continue
        visited.add(id(current))
        yield current
        if isinstance(current, BaseExceptionGroup):
            pending += cast("BaseExceptionGroup[BaseException]", current).exceptions
        before = current.__cause__ or (
            None if current.__suppress_context__ else current.__context__
        )
        if before is not None:
            pending.append(before)
