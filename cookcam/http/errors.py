"""Converts failures to responses, for the edge, the app and the sockets.

Every error body is a superset of the formats that older clients read (docs/errors.md):

    {"error": <literal or code>, "message": <text>, "code": <CODE>, "statusCode": n,
     "requestId": <id>, "timestamp": <iso>, "path": "/...", "details"?: {...}, ...extra}

with `success: false` in front on flagged endpoints. In no environment does a response contain a
stack, the text of an unexpected exception, or a value the client sent: those go to the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import trio
from attrs import frozen
from werkzeug.exceptions import HTTPException

from cookcam.errors import (
    AppError,
    AuthenticationError,
    AuthorizationError,
    BadRequest,
    Conflict,
    DeadlineExceeded,
    InternalError,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    ServiceUnavailable,
    SwitchedOff,
    UnsupportedMediaType,
)
from cookcam.http.cors import VARY
from cookcam.http.request_info import REQUEST_ID_HEADER, RequestInfo, request_id
from cookcam.http.responses import RawResponse, json_response, now_text
from cookcam.http.route_options import Dialect
from cookcam.http.security_headers import SECURITY_HEADERS
from cookcam.lifecycle.groups import only_error
from cookcam.observability.logging import get_logger
from cookcam.observability.reports import ErrorReporter, NoReports, ReportedRequest

log = get_logger(__name__)

_BY_HTTP_STATUS: Mapping[int, type[AppError]] = {
    400: BadRequest,
    401: AuthenticationError,
    403: AuthorizationError,
    404: NotFound,
    405: NotFound,
    408: DeadlineExceeded,
    409: Conflict,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    429: RateLimited,
    503: ServiceUnavailable,
}


class ClientDisconnected(Exception):
    """The client disconnected before its request was complete; no response is possible."""


PLAIN = Dialect()


def as_app_error(exc: BaseException) -> AppError:
    """Convert an exception to the AppError a client may see: InternalError for an unexpected one.

    A group with one leaf counts as the leaf, a group of several as its most severe member. A
    `trio.TooSlowError` is DeadlineExceeded.
    """
    leaf = only_error(exc)
    if isinstance(leaf, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", leaf).exceptions
        return max((as_app_error(member) for member in members), key=_severity)
    if isinstance(leaf, AppError):
        return leaf
    if isinstance(leaf, trio.TooSlowError):
        return DeadlineExceeded()
    if isinstance(leaf, HTTPException):
        status = leaf.code or 500
        error_type = _BY_HTTP_STATUS.get(status)
        if error_type is not None:
            return error_type()
        return BadRequest() if 400 <= status < 500 else InternalError()
    return InternalError()


def error_body(
    error: AppError, request_info: RequestInfo, dialect: Dialect = PLAIN
) -> dict[str, Any]:
    """The JSON object of an error; see the module's description."""
    literal = error.error
    if literal is None and error.status == 500:
        literal = dialect.unexpected
    body: dict[str, Any] = {"success": False} if dialect.flagged else {}
    body |= {
        "error": literal or error.code,
        "message": error.message,
        "code": error.code,
        "statusCode": error.status,
        "requestId": request_info.request_id,
        "timestamp": now_text(),
        "path": request_info.path,
    }
    if error.details is not None:
        body["details"] = dict(error.details)
    for key, value in error.extra.items():
        body.setdefault(key, value)
    return body


def error_response(
    exc: BaseException, request_info: RequestInfo, dialect: Dialect = PLAIN
) -> RawResponse:
    """The response to a failure. Logs nothing."""
    error = as_app_error(exc)
    if dialect.page is not None:
        return dialect.page(error, request_info)
    return json_response(
        error_body(error, request_info, dialect), error.status, dict(error.headers)
    )


def malformed_request(status: int) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of the response to a request that got no ASGI scope: it broke the protocol
    (4xx, 505), was too slow (408, 504), or hit a fault of the server (500)."""
    request_info = RequestInfo(request_id(None), "", "", "", 0.0)
    error: AppError = BadRequest()
    if status == 500:
        error = InternalError()
    elif status in (408, 504):
        error = DeadlineExceeded()
    response = json_response(error_body(error, request_info) | {"statusCode": status}, status)
    own = (REQUEST_ID_HEADER, request_info.request_id.encode())
    return [*response.headers, own, VARY, *SECURITY_HEADERS], response.body


def socket_error(exc: BaseException) -> dict[str, Any]:
    """The same failure for a socket event: `{"message", "code"}`, and `details` if it has any."""
    error = as_app_error(exc)
    body: dict[str, Any] = {"message": error.message, "code": error.code}
    if error.details is not None:
        body["details"] = dict(error.details)
    return body


RecordRejection = Callable[[AppError, RequestInfo, str | None], None]
"""Records a 401, 403 or 429 with the request and its user agent, for the security log."""


def ignore_rejection(_error: AppError, _info: RequestInfo, _user_agent: str | None) -> None:
    """For a program without a security log."""


@frozen
class Failures:
    """Responds to failures; logs and reports those that are faults of the server."""

    reporter: ErrorReporter = NoReports()
    count: Callable[[str, int, str, str], None] | None = None
    """Called with code, status, method and route, and request id of each error, for the metrics."""
    record_rejection: RecordRejection = ignore_rejection

    def respond(
        self, exc: BaseException, request_info: RequestInfo, scope: Any, dialect: Dialect = PLAIN
    ) -> RawResponse:
        """`error_response`, after `note`."""
        self.note(exc, request_info, scope)
        return error_response(exc, request_info, dialect)

    def note(self, exc: BaseException, request_info: RequestInfo, scope: Any) -> None:
        """Count a failure; log it unless it is expected: caused by the client or by an operator's
        switch, or a 501.

        A fault (500, 502) is logged with its stack and reported. A 503 and a 504 are one line
        without a stack: an outage causes very many of them.
        """
        if is_disconnect(exc):
            return
        error = as_app_error(exc)
        if self.count is not None:
            where = f"{request_info.method} {request_info.route}"
            self.count(error.code, error.status, where, request_info.request_id)
        if error.status in (401, 403, 429):
            self.record_rejection(error, request_info, _user_agent(scope))
        if error.status < 500 or error.status == 501 or error.of_the_client:
            return
        if isinstance(error, SwitchedOff):
            return
        if error.status in (503, 504):
            log.warning("request failed", code=error.code, cause=_cause(exc))
            return
        log.error("request failed", code=error.code, exc_info=exc)
        self.reporter.capture_exception(exc, _reported(request_info, scope))


def failure_in(group: BaseException) -> ExceptionGroup[Exception] | None:
    """The part of a group that needs an error response; None for cancellation or an exit only."""
    _, failed = cast("BaseExceptionGroup[BaseException]", group).split(trio.Cancelled)
    return cast("Any", failed) if isinstance(failed, ExceptionGroup) else None


def is_disconnect(exc: BaseException) -> bool:
    """Whether the only failure is that the client disconnected."""
    return isinstance(only_error(exc), ClientDisconnected)


def _reported(request_info: RequestInfo, scope: Any) -> ReportedRequest:
    return ReportedRequest(
        method=request_info.method,
        path=request_info.route,
        query=scope.get("query_string", b"").decode("latin-1"),
        headers=[(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope.get("headers", ())],
        request_id=request_info.request_id or None,
        user_id=request_info.user_id,
    )


def _user_agent(scope: Any) -> str | None:
    headers = scope.get("headers", ())
    return next((v.decode("latin-1") for name, v in headers if name == b"user-agent"), None)


def _severity(error: AppError) -> tuple[bool, int]:
    return isinstance(error, InternalError), error.status


def _cause(exc: BaseException) -> str | None:
    cause = only_error(exc).__cause__
    return type(cause).__name__ if cause is not None else None
