"""The edge: what every HTTP request passes before and after everything else.

One ASGI callable in front of the dispatcher. From outside to inside (`spec/operations.md` §6):
request id, access line and metrics, admission, error boundary, CORS, security headers, client
address, body bound, limits. It looks through the headers once and wraps `send` once. Admission
control is not asked for probes, which stay alive under overload, nor for the Socket.IO transport,
whose polls are meant to wait.

It leaves websockets alone, save that their scope gets the same `RequestInfo`: the sockets have
their own limits and close codes. It does not close connections while draining: serving does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any

import trio

from cookcam.config import Config
from cookcam.errors import ServiceOverloaded
from cookcam.http.access_log import AccessLog
from cookcam.http.admission import Admission
from cookcam.http.body_limit import Receive, bounded
from cookcam.http.client_address import ClientAddresses, quota_key
from cookcam.http.cors import VARY, Cors, is_preflight
from cookcam.http.errors import Failures, error_response, failure_in, is_disconnect
from cookcam.http.paths import PROBES, SOCKET_IO, canonical, is_socket_transport, is_webhook
from cookcam.http.quotas import in_general_quota
from cookcam.http.rate_limit import GLOBAL, LimitReached, RateLimits
from cookcam.http.request_id import HEADER, request_id
from cookcam.http.request_info import STATE_KEY, RequestInfo
from cookcam.http.responses import RawResponse
from cookcam.http.security_headers import PLAIN_SECURITY_HEADERS, SECURITY_HEADERS, Header
from cookcam.observability.context import log_context
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import UNTRACED, ErrorReporter, NoReports

Send = Callable[[Any], Awaitable[None]]
AsgiApp = Callable[[Any, Receive, Send], Awaitable[None]]

# A trace of a probe says nothing, and to keep its notes apart costs more than to serve it.
_UNTRACED = nullcontext(UNTRACED)

_OVER_TLS: tuple[Header, ...] = (VARY, *SECURITY_HEADERS)
_OVER_HTTP: tuple[Header, ...] = (VARY, *PLAIN_SECURITY_HEADERS)


class Edge:
    """ASGI middleware around `app`. See the module's description for the order of its parts."""

    def __init__(
        self,
        app: AsgiApp,
        config: Config,
        *,
        limits: RateLimits,
        admission: Admission | None = None,
        reporter: ErrorReporter | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._app = app
        self._limits = limits
        self._admission = admission or Admission()
        self._reporter = reporter or NoReports()
        self._failures = Failures(self._reporter)
        self._addresses = ClientAddresses(config.server.trusted_proxies)
        self._cors = Cors.of(config.server.cors_origins)
        self._log = AccessLog(trio.current_time, metrics)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
            return
        if scope["type"] == "websocket":
            self._look_at(scope, dict(scope["headers"]))
        await self._app(scope, receive, send)

    async def _serve(self, scope: Any, receive: Receive, send: Send) -> None:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        request_info = self._look_at(scope, headers)
        path = canonical(request_info.path)
        quiet = path in PROBES
        if is_socket_transport(path):
            request_info.route, quiet = SOCKET_IO, True
        response = _Response(
            send,
            [
                (HEADER, request_info.request_id.encode()),
                *self._cors.headers(headers.get(b"origin")),
                *(_OVER_TLS if _is_over_tls(scope, headers) else _OVER_HTTP),
            ],
            request_info,
        )
        self._log.started()
        with log_context(
            requestId=request_info.request_id, method=request_info.method, path=request_info.route
        ):
            place = None
            try:
                if not quiet:
                    place = await self._admission.enter(webhook=is_webhook(path))
                with (
                    _UNTRACED
                    if quiet
                    else self._reporter.request(request_info.method, path) as trace
                ):
                    await self._answer(scope, receive, headers, path, request_info, response)
                    trace.finish(request_info.route, response.status)
            except ServiceOverloaded as overload:
                if place is not None:  # not of the admission
                    raise
                quiet = True  # a log line for each refusal would be load, too
                await response.answer(error_response(overload, request_info))
            finally:
                if place is not None:
                    self._admission.leave(place)
                self._log.finished(request_info, response.status, response.size, quiet=quiet)

    def _look_at(self, scope: Any, headers: dict[bytes, bytes]) -> RequestInfo:
        """Makes the facts of a request and leaves them in its scope."""
        client = scope.get("client")
        forwarded = (
            [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
            if b"x-forwarded-for" in headers
            else ()
        )
        request_info = RequestInfo(
            request_id(headers.get(HEADER)),
            self._addresses.of(client[0] if client else None, forwarded),
            scope.get("method", "GET"),
            scope["path"],
            trio.current_time(),
        )
        scope["state"] = {**(scope.get("state") or {}), STATE_KEY: request_info}
        return request_info

    async def _answer(
        self,
        scope: Any,
        receive: Receive,
        headers: dict[bytes, bytes],
        path: str,
        request_info: RequestInfo,
        response: _Response,
    ) -> None:
        """Passes the request on; a failure becomes an answer unless one has begun."""
        try:
            if is_preflight(request_info.method, headers):
                allowed = self._cors.preflight(
                    headers.get(b"origin"), headers.get(b"access-control-request-headers")
                )
                await response.answer(RawResponse(204, allowed, b""))
                return
            receive = bounded(receive, path, headers, scope["http_version"])
            self._count(request_info, path)
            await self._app(scope, receive, response.send)
            return
        except Exception as exc:
            failure: BaseException = exc
        except BaseExceptionGroup as group:
            failed = failure_in(group)
            if failed is None:
                raise
            failure = failed
        if is_disconnect(failure):
            return
        answer = self._failures.answer(failure, request_info, scope)
        if response.status:
            raise failure
        await response.answer(answer)

    def _count(self, request_info: RequestInfo, path: str) -> None:
        """Uses up one request of the general quota. Raises LimitReached."""
        if not in_general_quota(path):
            return
        try:
            verdict = self._limits.spend(GLOBAL, quota_key(request_info.client_address))
        except LimitReached:
            request_info.limited_by = GLOBAL
            raise
        if verdict is not None:
            request_info.quota = verdict.headers()


def _is_over_tls(scope: Any, headers: dict[bytes, bytes]) -> bool:
    """Whether the client speaks TLS, to this server or to a proxy that says so."""
    return scope["scheme"] == "https" or headers.get(b"x-forwarded-proto") == b"https"


class _Response:
    """What goes out: the headers of the edge are added, status and size are noted."""

    __slots__ = ("_facts", "_headers", "_send", "size", "status")

    def __init__(self, send: Send, headers: list[Header], request_info: RequestInfo) -> None:
        self._send = send
        self._headers = headers
        self._facts = request_info
        self.status = 0
        self.size = 0

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = [*message.get("headers", ()), *self._headers]
            if self.status != 429:  # a refusal tells of the quota that refused
                headers += self._facts.quota
            message = {**message, "headers": headers}
        elif "body" in message:
            self.size += len(message["body"])
        await self._send(message)

    async def answer(self, answer: RawResponse) -> None:
        await self.send(
            {"type": "http.response.start", "status": answer.status, "headers": answer.headers}
        )
        await self.send({"type": "http.response.body", "body": answer.body, "more_body": False})
