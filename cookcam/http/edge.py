"""The edge: ASGI middleware that every HTTP request passes before and after the app.

From outside to inside: request id, access line and metrics, route match, admission, trace, error
boundary, CORS preflight, blocklist, operating mode, body limit, general quota. Responses get the
request id, CORS, security and quota headers. The route is matched first: its options
(`cookcam.http.route_options`) decide about admission, mode, quota and body limit. A request that
matches no route gets the default options.

A websocket only gets its `RequestInfo`: sockets have their own limits and close codes. Closing
connections while the server drains is the listener's task (`cookcam.serving`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import trio
from attrs import define, field

from cookcam.config import Config
from cookcam.errors import AccessDenied, ServiceOverloaded
from cookcam.http.admission import Admission
from cookcam.http.app import CookCamApp
from cookcam.http.client_address import ClientAddresses, quota_key
from cookcam.http.cors import VARY, Cors, is_preflight
from cookcam.http.errors import (
    Failures,
    RecordRejection,
    error_response,
    failure_in,
    ignore_rejection,
    is_disconnect,
)
from cookcam.http.rate_limit import GLOBAL, LimitReached, RateLimits, quota_headers
from cookcam.http.request_info import REQUEST_ID_HEADER, STATE_KEY, RequestInfo, request_id
from cookcam.http.requests import Receive, limited_receive
from cookcam.http.responses import RawResponse
from cookcam.http.route_options import RouteOptions, Traffic
from cookcam.http.routing import Router, canonical
from cookcam.http.security_headers import PLAIN_SECURITY_HEADERS, SECURITY_HEADERS, Header
from cookcam.lifecycle.mode import OperatingMode
from cookcam.observability.context import log_context
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import UNTRACED, ErrorReporter, NoReports
from cookcam.observability.tracing import Kind, Span, span

Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]

_READS = frozenset({"GET", "HEAD", "OPTIONS"})

_DEFAULTS = RouteOptions()
_TRANSPORT = RouteOptions(traffic=Traffic.EXEMPT)

# A trace of a probe is useless, and isolating its breadcrumbs costs more than serving it.
_UNTRACED = nullcontext(UNTRACED)

_UNTRACED_SPAN = nullcontext[Span | None](None)

_OVER_TLS: tuple[Header, ...] = (VARY, *SECURITY_HEADERS)
_OVER_HTTP: tuple[Header, ...] = (VARY, *PLAIN_SECURITY_HEADERS)

log = get_logger(__name__)

CLIENT_CLOSED_REQUEST = 499
"""The status in the log of a request that was cancelled before its response."""

QuotaOfCaller = Callable[[bytes], tuple[str, str] | None]
"""The bucket of the general quota and the user id of the caller, by the Authorization header."""


def unknown_caller(_authorization: bytes) -> None:
    """Counts every request for its client address."""


def admit_all(_address: str) -> bool:
    """Denies access to no address."""
    return False


class Edge:
    """ASGI middleware around `app`.

    `router` matches the routes behind `app`; without one, those of `app` itself. `transport` is a
    path under which `app` serves another protocol over HTTP (Socket.IO): its requests are exempt
    from admission, quota and tracing, and are logged under that path. `quota_of_caller` returns
    None for a caller that is not known yet: the request is counted for its client address.
    `denies_address` is the operators' blocklist.
    """

    def __init__(
        self,
        app: AsgiApp,
        config: Config,
        *,
        limits: RateLimits,
        router: Router | None = None,
        transport: str | None = None,
        admission: Admission | None = None,
        mode: OperatingMode | None = None,
        reporter: ErrorReporter | None = None,
        metrics: Metrics | None = None,
        quota_of_caller: QuotaOfCaller = unknown_caller,
        record_rejection: RecordRejection = ignore_rejection,
        denies_address: Callable[[str], bool] = admit_all,
    ) -> None:
        if router is None and isinstance(app, CookCamApp):
            router = app.router
        self._app = app
        self._router = router
        self._transport = transport
        self._limits = limits
        self._quota_of_caller = quota_of_caller
        self._admission = admission or Admission()
        self._mode = mode or OperatingMode()
        self._reporter = reporter or NoReports()
        self._failures = Failures(self._reporter, metrics and metrics.count_error, record_rejection)
        self._denies_address = denies_address
        self._addresses = ClientAddresses(config.server.trusted_proxies)
        self._cors = Cors.of(config.server.cors_origins)
        self._log = AccessLog(trio.current_time, metrics)

    def __call__(self, scope: Any, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            return self._serve(scope, receive, send)
        if scope["type"] == "websocket":
            self._add_request_info(scope, dict(scope["headers"]))
        return self._app(scope, receive, send)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        info = self._add_request_info(scope, headers)
        options = self._match(info)
        response = _Response(
            send,
            [
                (REQUEST_ID_HEADER, info.request_id.encode()),
                *self._cors.headers(headers.get(b"origin")),
                *(_OVER_TLS if _is_over_tls(scope, headers) else _OVER_HTTP),
            ],
            info,
        )
        exempt = quiet = options.traffic is Traffic.EXEMPT
        self._log.started()
        with log_context(requestId=info.request_id, method=info.method, path=info.route):
            place = None
            try:
                if not exempt:
                    place = await self._admission.enter(webhook=options.traffic is Traffic.WEBHOOK)
                with (
                    _UNTRACED
                    if exempt
                    else self._reporter.request(info.method, canonical(info.path)) as trace
                ):
                    with _UNTRACED_SPAN if exempt else _request_span(info, headers) as current:
                        await self._respond(scope, receive, headers, options, info, response)
                        if current is not None:
                            _describe(current, info, response.status)
                    trace.finish(info.route, response.status)
            except ServiceOverloaded as overload:
                if place is not None:  # raised by the app, not by admission
                    raise
                quiet = True  # a log line for each rejection would add to the load
                await response.send_whole(error_response(overload, info))
            finally:
                if place is not None:
                    self._admission.leave(place)
                self._log.finished(info, response.status, response.size, quiet=quiet)

    def _add_request_info(self, scope: Any, headers: dict[bytes, bytes]) -> RequestInfo:
        """Create the request info and store it in the scope."""
        client = scope.get("client")
        forwarded = (
            [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if b"x-forwarded-for" in headers
            else ()
        )
        info = RequestInfo(
            request_id(headers.get(REQUEST_ID_HEADER)),
            self._addresses.of(client[0] if client else None, forwarded),
            scope.get("method", "GET"),
            scope["path"],
            trio.current_time(),
        )
        scope["state"] = {**(scope.get("state") or {}), STATE_KEY: info}
        return info

    def _match(self, info: RequestInfo) -> RouteOptions:
        """Match the route of a request and return its options."""
        if self._transport is not None:
            path = canonical(info.path)
            if path == self._transport or path.startswith(self._transport + "/"):
                info.route = self._transport
                return _TRANSPORT
        if self._router is not None:
            info.match = self._router.match(info.method, info.path)
        return _DEFAULTS if info.match is None else info.match.endpoint.options

    async def _respond(
        self,
        scope: Any,
        receive: Receive,
        headers: dict[bytes, bytes],
        options: RouteOptions,
        info: RequestInfo,
        response: _Response,
    ) -> None:
        """Pass the request to the app. A failure becomes a response unless one has begun."""
        try:
            if is_preflight(info.method, headers):
                allowed = self._cors.preflight(
                    headers.get(b"origin"), headers.get(b"access-control-request-headers")
                )
                await response.send_whole(RawResponse(204, allowed, b""))
                return
            if options.traffic is not Traffic.EXEMPT and self._denies_address(info.client_address):
                raise AccessDenied
            self._check_mode(info.method, options)
            receive = limited_receive(receive, options.max_body, headers, scope["http_version"])
            if options.traffic is Traffic.ORDINARY and options.general_quota:
                await self._count(info, headers)
            await self._app(scope, receive, response.send)
            return
        except Exception as exc:
            failure: BaseException = exc
        except BaseExceptionGroup as group:
            failures = failure_in(group)
            if failures is None:
                raise
            failure = failures
        if is_disconnect(failure):
            return
        error = self._failures.respond(failure, info, scope)
        if response.status:
            raise failure
        await response.send_whole(error)

    def _check_mode(self, method: str, options: RouteOptions) -> None:
        """Raise SwitchedOff for what maintenance and read-only mode exclude. Probes and webhooks
        pass: an event that cannot be stored gets a 503 from its route, and is delivered again."""
        if options.traffic is not Traffic.ORDINARY:
            return
        if not options.in_maintenance:
            self._mode.require_service()
        if method not in _READS and not options.in_read_only:
            self._mode.require_writes()

    async def _count(self, info: RequestInfo, headers: dict[bytes, bytes]) -> None:
        """Count one request in the general quota. Raises LimitReached."""
        authorization = headers.get(b"authorization")
        caller = None if authorization is None else self._quota_of_caller(authorization)
        bucket, key = caller or (GLOBAL, quota_key(info.client_address))
        try:
            verdict = await self._limits.spend(bucket, key)
        except LimitReached:
            info.limited_by = bucket
            raise
        if verdict is not None:
            info.quota = quota_headers(verdict)


def _request_span(
    info: RequestInfo, headers: dict[bytes, bytes]
) -> AbstractContextManager[Span | None]:
    parent = headers.get(b"traceparent")
    decoded = None if parent is None else parent.decode("latin-1")
    return span(info.method, Kind.SERVER, parent=decoded)


def _describe(current: Span, info: RequestInfo, status: int) -> None:
    """Set the name and the attributes of a request's span."""
    current.name = f"{info.method} {info.route}"
    current.attributes |= {
        "http.request.method": info.method,
        "http.route": info.route,
        "http.response.status_code": status,
        "cookcam.request_id": info.request_id,
    }
    if info.user_id is not None:
        current.attributes["enduser.id"] = info.user_id
    if status >= 500:
        current.error = str(status)


def _is_over_tls(scope: Any, headers: dict[bytes, bytes]) -> bool:
    """Whether the client uses TLS, to this server or to a proxy that reports it."""
    return scope["scheme"] == "https" or headers.get(b"x-forwarded-proto") == b"https"


class _Response:
    """The response to one request: adds the edge's headers, records status and size."""

    __slots__ = ("_headers", "_info", "_send", "size", "status")

    def __init__(self, send: Send, headers: list[Header], info: RequestInfo) -> None:
        self._send = send
        self._headers = headers
        self._info = info
        self.status = 0
        self.size = 0

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self._headers]
            if self.status != 429:  # a 429 has the headers of the quota that is used up
                headers += self._info.quota
            message = {**message, "headers": headers}
        elif "body" in message:
            self.size += len(message["body"])
        await self._send(message)

    async def send_whole(self, response: RawResponse) -> None:
        await self.send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": response.headers,
            }
        )
        await self.send({"type": "http.response.body", "body": response.body, "more_body": False})


@define(eq=False)
class AccessLog:
    """The access log: one line and one measurement per request.

    The line has `statusCode`, `duration` (ms) and `bytes`; `requestId`, `method`, `path` (the route
    template, never the raw path) and `userId` come from the log context. Probes and the Socket.IO
    transport are logged at debug level. `clock` is the clock of `RequestInfo.started`.
    """

    clock: Callable[[], float]
    metrics: Metrics | None
    # Bound once: an unbound logger looks up its configuration for each line.
    _log: Any = field(factory=log.bind, eq=False)

    _in_flight: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        if self.metrics is not None:
            self.metrics.http_requests_in_flight.set_function(lambda: self._in_flight)

    def started(self) -> None:
        self._in_flight += 1

    def finished(self, request_info: RequestInfo, status: int, size: int, *, quiet: bool) -> None:
        """`status` is 0 when no response was begun; `size` is the bytes of the body."""
        self._in_flight -= 1
        seconds = self.clock() - request_info.started
        status = status or CLIENT_CLOSED_REQUEST
        if self.metrics is not None:
            self.metrics.record_response(request_info.route, request_info.method, status, seconds)
            if request_info.limited_by is not None:
                self.metrics.rate_limited_total.of(request_info.limited_by).inc()
        write = self._log.debug if quiet else self._log.info
        write("request", statusCode=status, duration=round(seconds * 1000, 1), bytes=size)
