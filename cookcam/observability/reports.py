"""The interface for error reports, independent of Sentry.

HTTP, realtime and background code gets an `ErrorReporter`; `cookcam.observability.sentry` opens
one.
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
    """The request of an error, for the report, which redacts it.

    `path` is the route template if a route matched. `headers` is a mapping or pairs. `body` is the
    client's body, raw or parsed.
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
        """Sets the route template as the trace's name, and the response's status."""
        ...


class ErrorReporter(Protocol):
    """Reports errors. No method raises or waits."""

    def capture_exception(
        self, error: BaseException, request: ReportedRequest | None = None
    ) -> str | None:
        """Reports an error. Returns the id of the report, or None if it is not `reportable`."""
        ...

    def add_breadcrumb(
        self, category: str, message: str, data: Mapping[str, object] | None = None
    ) -> None:
        """Adds a breadcrumb for later reports of the same request."""
        ...

    def request(self, method: str, path: str) -> AbstractContextManager[RequestTrace]:
        """Isolates the breadcrumbs of one request, and traces a sample of requests.

        Enter and leave it in the task that serves the request.
        """
        ...


@frozen
class _Untraced:
    def finish(self, route: str | None, status: int) -> None: ...


UNTRACED: RequestTrace = _Untraced()


@frozen
class NoReports:
    """The reporter of a server without a DSN."""

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
    """The part of `error` to report, or None.

    Errors of a client (status below 500) and cancellation are not reported; they are removed from
    an exception group.
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
