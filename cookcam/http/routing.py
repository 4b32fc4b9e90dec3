"""Where a request goes: blueprints under their prefixes, and the path that finds a view.

Source: `spec/http-api-core.md` §2. Paths match ignoring case and one trailing slash; parameters
keep their spelling. HEAD goes where GET goes. An unknown path, and a known one with another
method, are the same 404. Paths without parameters are found by one lookup, the rest by Werkzeug.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar, cast

from attrs import frozen
from quart import Blueprint
from quart.routing import QuartRule
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, MapAdapter, Rule

from cookcam.errors import NotFound
from cookcam.http.paths import CANONICAL, LEGACY, canonical
from cookcam.http.route_options import RouteOptions, route_options_of

View = Callable[..., Awaitable[Any]]
V = TypeVar("V", bound=View)

_PARAMETER = re.compile(r"<(?:[^<>:]+:)?([^<>]+)>")


class Routes(Blueprint):
    """A feature's blueprint; its paths are relative to `/api/v1`.

    With `legacy` the same handlers answer under `/api` too. Other `prefixes` are for routes that
    live elsewhere, such as `""` for the root. The first prefix is the documented one.
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

    # Quart's own decorators know the types that Quart turns into responses; ours are others.

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


class MatchedRule(QuartRule):
    """A rule that finds views and builds no addresses: nothing here asks for `url_for`, and
    compiling what builds them takes three quarters of the time in which an app is made.
    """

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        return _builds_nothing


def _builds_nothing(*_: object, **__: object) -> tuple[str, str]:
    raise RuntimeError("this app builds no addresses")


@frozen
class Endpoint:
    """One view as the dispatcher sees it. `template` is its path for logs and metrics."""

    view: View
    template: str
    options: RouteOptions


@frozen
class Router:
    """Finds the endpoint of a method and a path."""

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

    def find(self, method: str, path: str) -> tuple[Endpoint, dict[str, Any]]:
        """The endpoint and its path parameters. Raises NotFound."""
        asked = canonical(path)
        endpoint = self._fixed.get((method, asked))
        if endpoint is not None:
            return endpoint, {}
        # Werkzeug would overlook a second leading slash; the limits of the edge would not match.
        if asked.startswith("//"):
            raise not_found(method, path)
        try:
            found = self._adapter.match(asked, method, return_rule=True)
        except HTTPException:
            raise not_found(method, path) from None
        rule, parameters = cast("tuple[Rule, dict[str, Any]]", found)
        if asked != path:
            parameters = _as_spelled(rule, path)
        return self._by_rule[rule.rule, rule.endpoint], parameters


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
    """The parameters of a path that was matched in lower case, as the client wrote them."""
    parameters: dict[str, Any] = {}
    for pattern, text in zip(rule.rule.split("/"), path.split("/"), strict=False):
        found = _PARAMETER.fullmatch(pattern)
        if found:
            name = found[1]
            parameters[name] = cast("Any", rule)._converters[name].to_python(text)
    return parameters
