"""The app: Quart-Trio with the feature's routes, and one way from a request to an answer.

Quart's own way runs signals, hooks, sessions and two URL adapters for each request. Nothing here
uses them, so `CookCamApp.answer` goes straight: find the route, run the view within its deadline,
turn the result or the failure into an answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, cast

import trio
from quart import Blueprint
from quart.ctx import AppContext
from quart.globals import (
    _cv_app,  # pyright: ignore[reportPrivateUsage]  # what `current_app` and `g` read
    _cv_request,  # pyright: ignore[reportPrivateUsage]  # what `request` reads
)
from quart.wrappers import Response
from quart_trio import QuartTrio

from cookcam.config import Config
from cookcam.errors import BadRequest, DeadlineExceeded
from cookcam.http.client_address import quota_key
from cookcam.http.conditional import with_etag
from cookcam.http.connection import HttpConnection
from cookcam.http.context import LeanRequestContext
from cookcam.http.errors import PLAIN, ClientDisconnected, Failures, failure_in
from cookcam.http.json import JsonProvider
from cookcam.http.openapi import openapi_routes
from cookcam.http.paths import CANONICAL
from cookcam.http.quotas import spend
from cookcam.http.rate_limit import RateLimits
from cookcam.http.requests import Request
from cookcam.http.responses import RawResponse, json_response
from cookcam.http.routing import Endpoint, MatchedRule, Router, Routes, View, normal_rule
from cookcam.observability.context import add_log_fields
from cookcam.observability.reports import ErrorReporter, NoReports


class CookCamApp(QuartTrio):
    """A Quart-Trio app whose requests go through `answer`. Made by `create_app`."""

    asgi_http_class = HttpConnection
    json_provider_class = JsonProvider
    url_rule_class = MatchedRule
    failures: Failures
    request_timeout: float
    router: Router

    def add_url_rule(self, rule: str, *args: Any, **kwargs: Any) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        super().add_url_rule(normal_rule(rule), *args, **kwargs)

    async def answer(self, request: Request) -> RawResponse | Response:
        """Handles one request. Whatever goes wrong becomes an answer, except cancellation."""
        dialect = PLAIN
        context = AppContext(self)
        app_token = _cv_app.set(context)
        request_token = _cv_request.set(LeanRequestContext(self, request))
        try:
            endpoint, parameters = self._route(request)
            dialect = endpoint.options.dialect
            return await self._run(endpoint, parameters, request)
        except ClientDisconnected:
            raise
        except Exception as exc:
            return self.failures.answer(exc, request.request_info, request.scope, dialect)
        except BaseExceptionGroup as group:
            failed = failure_in(group)
            if failed is None:
                raise
            return self.failures.answer(failed, request.request_info, request.scope, dialect)
        finally:
            _cv_request.reset(request_token)
            _cv_app.reset(app_token)

    def _route(self, request: Request) -> tuple[Endpoint, dict[str, Any]]:
        if b"%00" in request.query_string or "\0" in request.path:
            # PostgreSQL has no NUL in text: no parameter may bring one.
            raise BadRequest("The address must not contain NUL characters")
        if not request.query_string.isascii():
            raise BadRequest("The query must be percent-encoded")
        endpoint, parameters = self.router.find(request.method, request.path)
        request.request_info.route = endpoint.template
        add_log_fields(path=endpoint.template)
        return endpoint, parameters

    async def _run(
        self, endpoint: Endpoint, parameters: dict[str, Any], request: Request
    ) -> RawResponse | Response:
        if endpoint.options.address_limit is not None:
            verdict = spend(
                endpoint.options.address_limit, quota_key(request.request_info.client_address)
            )
            if verdict is not None:
                request.request_info.quota = verdict.headers()
        seconds = endpoint.options.seconds or self.request_timeout
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
        answer = json_response(*cast("Any", result if isinstance(result, tuple) else (result,)))
        return with_etag(answer, request) if endpoint.options.conditional else answer


def create_app(
    config: Config,
    routes: Iterable[Blueprint],
    *,
    authenticator: object = None,
    limits: RateLimits | None = None,
    reporter: ErrorReporter | None = None,
) -> CookCamApp:
    """The app with the routes of all features.

    A `Routes` blueprint says under which prefixes it lives; a plain one lives under `/api/v1`.
    `authenticator` is what the identity guards ask, found by them in `app.extensions`. `reporter`
    hears of every fault. Raises RuntimeError for a blueprint with hooks: they would not be run.
    """
    app = CookCamApp("cookcam", static_folder=None, template_folder=None)
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.request_timeout = config.server.request_timeout
    app.failures = Failures(reporter or NoReports())
    app.extensions["authenticator"] = authenticator
    app.extensions["rate_limits"] = limits or RateLimits({})
    for blueprint in [*routes, openapi_routes(app, config)]:
        _register(app, blueprint)
    _refuse_hooks(app)
    app.router = Router.of(app.url_map, cast("dict[str, View]", app.view_functions))
    return app


def _register(app: CookCamApp, blueprint: Blueprint) -> None:
    prefixes = blueprint.prefixes if isinstance(blueprint, Routes) else (CANONICAL,)
    for number, prefix in enumerate(prefixes):
        name = blueprint.name if number == 0 else f"{blueprint.name}@{prefix}"
        app.register_blueprint(blueprint, name=name, url_prefix=prefix or None)


def _refuse_hooks(app: CookCamApp) -> None:
    hooks = (
        app.before_request_funcs,
        app.after_request_funcs,
        app.teardown_request_funcs,
        app.url_value_preprocessors,
        app.error_handler_spec,
    )
    if any(functions for kind in hooks for functions in kind.values()):
        raise RuntimeError("this app runs no request hooks: use a decorator on the view")
