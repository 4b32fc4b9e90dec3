"""The private names of Quart, Quart-Trio and Werkzeug that this server uses. No other module does.

Written for quart 0.22, quart-trio 0.12 and Werkzeug 3.1 (pyproject.toml and requirements/ pin
them); tests/http/test_quart_internals.py compares what is set here with what the libraries set.

Quart runs signals, hooks, sessions and two URL adapters for each request. The app uses none of
these, so its requests and contexts are created without them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, cast

import trio
from quart import Quart
from quart.ctx import AppContext, RequestContext
from quart.globals import (
    _cv_app,  # pyright: ignore[reportPrivateUsage]  # what `current_app` and `g` read
    _cv_request,  # pyright: ignore[reportPrivateUsage]  # what `request` reads
)
from quart.json.provider import JSONProvider
from quart.routing import QuartRule
from quart.sessions import SessionMixin
from quart.wrappers import Request, Response
from quart_trio.asgi import TrioASGIHTTPConnection
from quart_trio.wrappers import TrioRequest
from werkzeug.routing import Rule


class LeanRequestContext(RequestContext):
    """A request context without URL adapter and session; `url_for` is not available.

    It sets the attributes of Quart's own contexts, so that `quart.request` and
    `copy_current_request_context` work.
    """

    def __init__(self, app: Quart, request: Request, session: SessionMixin | None = None) -> None:
        self.app = app
        self.request_websocket = request
        self.url_adapter: Any = None
        self.session = session
        self.preserved = False
        self.flashes: Any = None
        self._cv_tokens = []
        self._after_request_functions = []


class request_context:  # noqa: N801 - used like a function, and twice as fast as a generator
    """Makes `request` and `app` those of `quart.request`, `quart.current_app` and `quart.g`."""

    __slots__ = ("_app", "_app_token", "_request", "_request_token")

    def __init__(self, app: Quart, request: Request) -> None:
        self._app = app
        self._request = request

    def __enter__(self) -> None:
        self._app_token = _cv_app.set(AppContext(self._app))
        self._request_token = _cv_request.set(LeanRequestContext(self._app, self._request))

    def __exit__(self, *_: object) -> None:
        _cv_request.reset(self._request_token)
        _cv_app.reset(self._app_token)


class LeanRequest(TrioRequest):
    """A request that sets the private attributes its base classes set, and computes none."""

    def __init__(self, scope: Any) -> None:
        self.scope = scope
        self._cached_json = {False: Ellipsis, True: Ellipsis}
        self._form = None
        self._files = None

    @cached_property
    def _parsing_lock(self) -> trio.Lock:
        return trio.Lock()


class MatchOnlyRule(QuartRule):
    """A rule that matches paths and builds no URLs.

    No `url_for` is used here, and compiling the URL builders is three quarters of the time in
    which an app is created.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _no_urls


class ParameterRule(MatchOnlyRule):
    """A rule that Werkzeug matches only if it has parameters: `Router` matches the others."""

    def compile(self) -> None:
        if "<" in self.rule:
            super().compile()
        else:
            self.build_only = True  # keeps it out of Werkzeug's matcher


def _no_urls(*_: object, **__: object) -> tuple[str, str]:
    raise RuntimeError("this app builds no URLs")


def convert_parameter(rule: Rule, name: str, text: str) -> Any:
    """The value of the path parameter `name` of a rule."""
    return cast("Any", rule)._converters[name].to_python(text)


class QuartConnection(TrioASGIHTTPConnection):
    """An ASGI HTTP connection with access to Quart's way of sending a response."""

    async def send_quart_response(self, send: Any, response: Response) -> None:
        await self._send_response(send, response)


class PublicJSONProvider(JSONProvider):
    """A JSON provider with access to the value that `jsonify`'s arguments mean."""

    def value_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self._prepare_response_obj(args, kwargs)
