"""Compares what `cookcam.http.quart_internals` sets with what Quart and Werkzeug set themselves."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import pytest
from quart import current_app, g, request
from quart.ctx import RequestContext
from quart_trio import QuartTrio
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.datastructures import Headers
from werkzeug.routing import Map

from cookcam.http import quart_internals as ours
from cookcam.http.requests import PulledBody, Request

SCOPE: dict[str, Any] = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/a",
    "query_string": b"x=1",
    "root_path": "",
    "headers": [(b"host", b"test"), (b"content-type", b"application/json")],
    "client": ("192.0.2.1", 1),
    "server": ("test", 80),
}


def app() -> QuartTrio:
    return QuartTrio("parity", static_folder=None, template_folder=None)


async def nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


def their_request() -> Any:
    scope: Any = SCOPE
    connection: Any = TrioASGIHTTPConnection(app(), scope)
    return connection._create_request_from_scope(None)


def test_the_versions_are_those_the_module_was_written_for() -> None:
    assert version("quart").startswith("0.22.")
    assert version("quart-trio").startswith("0.12.")
    assert version("werkzeug").startswith("3.1.")


async def test_a_request_context_has_the_attributes_of_quarts() -> None:
    theirs = RequestContext(app(), their_request())
    assert vars(ours.LeanRequestContext(app(), their_request())).keys() == vars(theirs).keys()


async def test_a_request_has_the_attributes_that_quart_sets() -> None:
    theirs, lean = their_request(), Request(SCOPE, PulledBody(nothing))
    unused = {"_send_push_promise"}  # HTTP/2 push, which clients have dropped
    optional = {name for name in vars(theirs) if not hasattr(lean, name)}
    assert optional - unused == set()
    for name in ("method", "scheme", "server", "root_path", "path", "query_string"):
        assert getattr(lean, name) == getattr(theirs, name)
    for name in ("http_version", "_cached_json", "_form", "_files"):
        assert getattr(lean, name) == getattr(theirs, name)
    assert Headers(lean.headers) == Headers(
        [(k, v) for k, v in theirs.headers if k != "Remote-Addr"]
    )
    assert await lean.get_json(silent=True, force=True) is None


async def test_the_proxies_of_quart_work_within_the_context_and_not_after() -> None:
    program, lean = app(), Request(SCOPE, PulledBody(nothing))
    with ours.request_context(program, lean):
        assert request.path == "/a"
        assert current_app.name == "parity"
        g.x = 1
    with pytest.raises(RuntimeError):
        _ = request.path
    with pytest.raises(RuntimeError):
        _ = current_app.name


def test_a_rule_converts_parameters_and_builds_no_urls() -> None:
    rule = ours.MatchOnlyRule("/users/<int:number>", endpoint="user")
    url_map = Map([rule])
    assert ours.convert_parameter(rule, "number", "007") == 7
    with pytest.raises(RuntimeError, match="no URLs"):
        url_map.bind("localhost").build("user", {"number": 7})


def test_the_arguments_of_jsonify_become_one_value() -> None:
    from cookcam.http.app import JsonProvider

    provider = JsonProvider(app())
    assert provider.value_of((), {"a": 1}) == {"a": 1}
    assert list(provider.value_of((1, 2), {})) == [1, 2]
