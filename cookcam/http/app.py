"""The app: Quart-Trio with the features' routes and its own request handling.

`CookCamApp.respond` replaces Quart's dispatch, which runs signals, hooks, sessions and two URL
adapters for each request: it runs the view of the matched route within its deadline and turns the
result or the failure into a response.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from hashlib import sha256
from typing import Any, cast

import trio
from quart import Blueprint
from quart.wrappers import Response
from quart_trio import QuartTrio
from quart_trio.wrappers.request import TrioBody

from cookcam.config import Config
from cookcam.errors import BadRequest, DeadlineExceeded
from cookcam.http.bodies import parse_json
from cookcam.http.client_address import quota_key
from cookcam.http.errors import (
    PLAIN,
    ClientDisconnected,
    Failures,
    RecordRejection,
    failure_in,
    ignore_rejection,
)
from cookcam.http.openapi import openapi_routes
from cookcam.http.quart_internals import (
    ParameterRule,
    PublicJSONProvider,
    QuartConnection,
    request_context,
)
from cookcam.http.quotas import spend
from cookcam.http.rate_limit import RateLimits, quota_headers
from cookcam.http.requests import PulledBody, Request
from cookcam.http.responses import JSON_TYPE, RawResponse, json_response, to_json
from cookcam.http.routing import CANONICAL, Match, Router, Routes, View, normal_rule, not_found
from cookcam.observability.context import add_log_fields
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import ErrorReporter, NoReports

CANCELS_ON_DISCONNECT = "cookcam.cancel_on_disconnect"
"""ASGI extension: the server cancels a request when its client disconnects."""


class HttpConnection(QuartConnection):
    """Runs one ASGI HTTP request in the app, under our own server and under any other.

    Our server cancels a request when its client disconnects, and announces this in the scope's
    extensions. The handler then runs without a nursery and without a task that waits for the
    disconnect, and receives its body itself. Under any other server Quart-Trio's two tasks are
    used.
    """

    app: CookCamApp

    async def __call__(self, receive: Any, send: Any) -> None:
        extensions = cast("Any", self.scope).get("extensions")
        if extensions and CANCELS_ON_DISCONNECT in extensions:
            await self._run(Request(self.scope, PulledBody(receive)), send)
            return
        request = Request(self.scope, TrioBody(None, None))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.handle_messages, nursery, request, receive)
            await self._run(request, send)
            nursery.cancel_scope.cancel()

    async def _run(self, request: Request, send: Any) -> None:
        response = await self.app.respond(request)
        if not isinstance(response, RawResponse):
            await self.send_quart_response(send, response)
            return
        await send(
            {
                "type": "http.response.start",
                "status": response.status,
                "headers": response.headers,
            }
        )
        body = b"" if request.method == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body, "more_body": False})


class JsonProvider(PublicJSONProvider):
    """The provider behind `quart.json`: the same JSON as that of other responses."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return to_json(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return parse_json(s)

    def response(self, *args: Any, **kwargs: Any) -> Any:
        body = to_json(self.value_of(args, kwargs))
        return Response(body, content_type=JSON_TYPE.decode())


class CookCamApp(QuartTrio):
    """A Quart-Trio app that handles requests with `respond`. Create it with `create_app`."""

    asgi_http_class = HttpConnection
    json_provider_class = JsonProvider
    url_rule_class = ParameterRule
    failures: Failures
    request_timeout: float
    router: Router

    def add_url_rule(self, rule: str, *args: Any, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().add_url_rule(normal_rule(rule), *args, **kwargs)

    async def respond(self, request: Request) -> RawResponse | Response:
        """Handle one request. Every failure becomes a response, except cancellation."""
        dialect = PLAIN
        info = request.request_info
        with request_context(self, request):
            try:
                match = self._match(request)
                dialect = match.endpoint.options.dialect
                return await self._run(match, request)
            except ClientDisconnected:
                raise
            except Exception as exc:
                return self.failures.respond(exc, info, request.scope, dialect)
            except BaseExceptionGroup as group:
                failure = failure_in(group)
                if failure is None:
                    raise
                return self.failures.respond(failure, info, request.scope, dialect)

    def _match(self, request: Request) -> Match:
        """The route of the request: the one the edge has matched. Raises NotFound, BadRequest."""
        if b"%00" in request.query_string or "\0" in request.path:
            # PostgreSQL's text cannot hold NUL, so no parameter may.
            raise BadRequest("The address must not contain NUL characters")
        if not request.query_string.isascii():
            raise BadRequest("The query must be percent-encoded")
        info = request.request_info
        match = info.match or self.router.match(request.method, request.path)
        if match is None:
            raise not_found(request.method, request.path)
        info.route = match.endpoint.template
        add_log_fields(path=info.route)
        return match

    async def _run(self, match: Match, request: Request) -> RawResponse | Response:
        endpoint, parameters = match
        options, info = endpoint.options, request.request_info
        if options.rate_limit is not None:
            verdict = await spend(options.rate_limit, quota_key(info.client_address))
            if verdict is not None:
                info.quota = quota_headers(verdict)
        seconds = options.seconds or self.request_timeout
        if seconds == math.inf:
            result = await endpoint.view(**parameters)
        else:
            result = None
            with trio.move_on_after(seconds) as scope:
                result = await endpoint.view(**parameters)
            if scope.cancelled_caught:
                raise DeadlineExceeded()
        if isinstance(result, RawResponse | Response):
            return result
        if result is None:
            raise TypeError(f"the view of {endpoint.template} returned nothing")
        response = json_response(*cast("Any", result if isinstance(result, tuple) else (result,)))
        return with_etag(response, request) if options.conditional else response


def create_app(
    config: Config,
    routes: Iterable[Blueprint],
    *,
    authenticator: object = None,
    limits: RateLimits | None = None,
    reporter: ErrorReporter | None = None,
    metrics: Metrics | None = None,
    record_rejection: RecordRejection = ignore_rejection,
) -> CookCamApp:
    """Create the app with the routes of all features.

    A `Routes` blueprint has its own prefixes; a plain one is served under `/api/v1`. The identity
    guards read `authenticator` from `app.extensions`. `reporter` gets every fault, `metrics` counts
    every error. Raises
    RuntimeError for a blueprint with hooks: they would not run.
    """
    app = CookCamApp("cookcam", static_folder=None, template_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.request_timeout = config.server.request_timeout
    app.failures = Failures(
        reporter or NoReports(), metrics and metrics.count_error, record_rejection
    )
    app.extensions["authenticator"] = authenticator
    app.extensions["rate_limits"] = limits or RateLimits({})
    for blueprint in [*routes, openapi_routes(app, config)]:
        _register(app, blueprint)
    _reject_hooks(app)
    app.router = Router.of(app.url_map, cast("dict[str, View]", app.view_functions))
    return app


def _register(app: CookCamApp, blueprint: Blueprint) -> None:
    prefixes = blueprint.prefixes if isinstance(blueprint, Routes) else (CANONICAL,)
    for number, prefix in enumerate(prefixes):
        name = blueprint.name if number == 0 else f"{blueprint.name}@{prefix}"
        app.register_blueprint(blueprint, name=name, url_prefix=prefix or None)


def _reject_hooks(app: CookCamApp) -> None:
    hooks = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
        app.error_handler_spec,
    )
    if any(functions for kind in hooks for functions in kind.values()):
        raise RuntimeError("this app runs no request hooks: use a decorator on the view")


def with_etag(response: RawResponse, request: Request) -> RawResponse:
    """Add a weak ETag to a 200 of a GET; return a 304 when the client has that version.

    The tag is a digest of the response body: it saves bandwidth, not the work of the response.
    Processors have instructions for SHA-256: 1 µs per kB, a quarter of the time of BLAKE2.
    """
    if response.status != 200 or request.method not in ("GET", "HEAD"):
        return response
    digest = sha256(response.body, usedforsecurity=False).hexdigest()[:24]
    tag = f'W/"{len(response.body):x}-{digest}"'
    header = (b"etag", tag.encode())
    offered = request.headers.get("If-None-Match")
    if offered is not None and _matches(offered, tag):
        return RawResponse(304, [header], b"")
    return RawResponse(200, [*response.headers, header], response.body)


def _matches(offered: str, tag: str) -> bool:
    """Weak comparison: whether `tag` is in the list of tags, or the list is `*`."""
    candidates = [candidate.strip() for candidate in offered.split(",")]
    return "*" in candidates or tag in candidates or tag.removeprefix("W/") in candidates
