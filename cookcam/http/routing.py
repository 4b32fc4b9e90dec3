"""Blueprints with their prefixes, and the router that matches a request to a view.

Paths match ignoring case and one trailing slash; parameters keep their spelling. HEAD is routed
like GET. An unknown path, and a known one with another method, are the same 404. Paths without
parameters are found by one dictionary lookup, the others by Werkzeug.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

from attrs import frozen
from quart import Blueprint
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

from cookcam.errors import NotFound
from cookcam.http.quart_internals import convert_parameter
from cookcam.http.route_options import RouteOptions, route_options_of

CANONICAL, LEGACY, ROOT = "/api/v1", "/api", ""
"""Prefixes of routes."""

View = Callable[..., Awaitable[Any]]
V = TypeVar("V", bound=View)

_PARAMETER = re.compile(r"<(?:[^<>:]+:)?([^<>]+)>")


class Routes(Blueprint):
    """A feature's blueprint; its paths are relative to `/api/v1`.

    With `legacy` the same views are served under `/api` too. `prefixes` replaces `/api/v1`, for
    instance by `""` for the root. The first prefix is the documented one.
    """

    def __init__(
        self,
        name: str,
        import_name: str,
        *,
        legacy: bool = False,
        prefixes: tuple[str, ...] = (CANONICAL,),
    ) -> None:
        super().__init__(name, import_name)
        self.prefixes = (*prefixes, LEGACY) if legacy else prefixes

    # Replaces Quart's decorators, whose types only accept the results that Quart converts.

    def get(self, rule: str, **options: Any) -> Callable[[V], V]:
        return self._method("GET", rule, options)

    def post(self, rule: str, **options: Any) -> Callable[[V], V]:
        return self._method("POST", rule, options)

    def put(self, rule: str, **options: Any) -> Callable[[V], V]:
        return self._method("PUT", rule, options)

    def patch(self, rule: str, **options: Any) -> Callable[[V], V]:
        return self._method("PATCH", rule, options)

    def delete(self, rule: str, **options: Any) -> Callable[[V], V]:
        return self._method("DELETE", rule, options)

    def _method(self, method: str, rule: str, options: dict[str, Any]) -> Callable[[V], V]:
        def register(view: V) -> V:
            self.add_url_rule(rule, None, cast("Any", view), methods=[method], **options)
            return view

        return register


@frozen
class Endpoint:
    """A view with its options. `template` is its path in logs and metrics."""

    view: View
    template: str
    options: RouteOptions


class Match(NamedTuple):
    endpoint: Endpoint
    parameters: dict[str, Any]


@frozen
class Router:
    """Matches a method and a path to an endpoint."""

    _fixed: Mapping[tuple[str, str], Endpoint]
    _by_rule: Mapping[tuple[str, str], Endpoint]
    _adapter: MapAdapter

    @classmethod
    def of(cls, url_map: Map, views: Mapping[str, View]) -> Router:
        fixed: dict[tuple[str, str], Endpoint] = {}
        by_rule: dict[tuple[str, str], Endpoint] = {}
        for rule in url_map.iter_rules():
            view = views[rule.endpoint]
            endpoint = Endpoint(view, template_of(rule.rule), route_options_of(view))
            by_rule[rule.rule, rule.endpoint] = endpoint
            if "{" not in endpoint.template:
                for method in rule.methods or ():
                    fixed[method, rule.rule] = endpoint
        return cls(fixed, by_rule, url_map.bind("localhost"))  # no host takes part

    def match(self, method: str, path: str) -> Match | None:
        """The endpoint of a request and its path parameters, or None."""
        compared = canonical(path)
        endpoint = self._fixed.get((method, compared))
        if endpoint is not None:
            return Match(endpoint, {})
        if compared.startswith("//"):  # Werkzeug would ignore the second slash
            return None
        try:
            result = self._adapter.match(compared, method, return_rule=True)
        except HTTPException:
            return None
        rule, parameters = cast("tuple[Rule, dict[str, Any]]", result)
        if compared != path:
            parameters = _as_spelled(rule, path)
        return Match(self._by_rule[rule.rule, rule.endpoint], parameters)


def canonical(path: str) -> str:
    """The form in which paths are compared. Path parameters keep the client's spelling."""
    lowered = path.lower()
    return lowered[:-1] if lowered.endswith("/") and len(lowered) > 1 else lowered


def not_found(method: str, path: str) -> NotFound:
    return NotFound(f"Cannot {method} {path}")


def template_of(rule: str) -> str:
    """`/recipes/<string:id>` as `/recipes/{id}`."""
    return _PARAMETER.sub(r"{\1}", rule)


def normal_rule(rule: str) -> str:
    """A rule in the form in which paths are compared: fixed parts in lower case."""
    parts = [part if part.startswith("<") else part.lower() for part in rule.split("/")]
    joined = "/".join(parts)
    return joined[:-1] if joined.endswith("/") and len(joined) > 1 else joined


def _as_spelled(rule: Rule, path: str) -> dict[str, Any]:
    """The parameters in the client's spelling, of a path that was matched in lower case."""
    parameters: dict[str, Any] = {}
    for pattern, text in zip(rule.rule.split("/"), path.split("/"), strict=False):
        if parameter := _PARAMETER.fullmatch(pattern):
            parameters[parameter[1]] = convert_parameter(rule, parameter[1], text)
    return parameters
