"""The access line, the metrics, the facts of a request, and what the edge does not touch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import trio

from cookcam.http import Routes, current_request_info
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.http.request_info import RequestInfo
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics
from cookcam.observability.reports import UNTRACED
from tests.http.client import Client
from tests.http.conftest import configured


def routes() -> Routes:
    bp = Routes("recipes", __name__)

    @bp.get("/recipes/<recipe_id>")
    async def recipe(recipe_id: str) -> Any:
        current_request_info().user_id = "user-1"
        get_logger("cookcam.recipes").info("inside")
        await trio.sleep(0.25)
        return {"id": recipe_id}

    return bp


async def test_one_line_per_request_with_the_template_and_no_id(
    make_site: Any, logged: Any, autojump_clock: Any
) -> None:
    client = make_site(routes()).client()
    reply = await client.get("/api/v1/Recipes/42?token=x", x_request_id="r-1")
    [line] = logged.of("request")
    assert line["level"] == "INFO"
    assert line["requestId"] == "r-1"
    assert (line["method"], line["path"]) == ("GET", "/api/v1/recipes/{recipe_id}")
    assert (line["statusCode"], line["bytes"]) == (200, len(reply.body))
    assert line["duration"] == 250.0
    assert "42" not in str({k: v for k, v in line.items() if k != "timestamp"})


async def test_every_line_inside_a_request_has_its_id(make_site: Any, logged: Any) -> None:
    client = make_site(routes()).client()
    await client.get("/api/v1/recipes/42", x_request_id="r-1")
    [line] = logged.of("inside")
    assert (line["requestId"], line["path"]) == ("r-1", "/api/v1/recipes/{recipe_id}")


async def test_an_unknown_path_is_not_in_the_log(make_site: Any, logged: Any) -> None:
    client = make_site().client()
    await client.get("/secret/in/the/path")
    [line] = logged.of("request")
    assert (line["statusCode"], line["path"]) == (404, "unmatched")


@pytest.mark.parametrize("path", ["/health", "/api/v1/health/ready", "/metrics", "/socket.io/?x=1"])
async def test_probes_are_logged_at_debug_level(make_site: Any, logged: Any, path: str) -> None:
    await make_site().client().get(path)
    [line] = logged.of("request")
    assert line["level"] == "DEBUG"


async def test_ordinary_requests_are_traced_and_probes_are_not(
    make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(routes())
    traced: list[str] = []

    def request(_: Any, method: str, path: str) -> Any:
        traced.append(f"{method} {path}")
        return nullcontext(UNTRACED)

    monkeypatch.setattr(type(site.reports), "request", request)
    for path in ("/health", "/api/v1/health/ready", "/metrics", "/socket.io/", "/api/v1/recipes/7"):
        await site.client().get(path)
    assert traced == ["GET /api/v1/recipes/7"]


async def test_a_cancelled_request_is_logged_as_closed_by_the_client(
    make_site: Any, logged: Any, autojump_clock: Any
) -> None:
    client = make_site(routes()).client()
    with trio.move_on_after(0.1):
        await client.get("/api/v1/recipes/42")
    [line] = logged.of("request")
    assert (line["statusCode"], line["bytes"]) == (499, 0)


async def test_a_503_is_one_line_and_a_500_has_its_stack(make_site: Any, logged: Any) -> None:
    bp = Routes("broken", __name__)

    @bp.get("/bug")
    async def bug() -> Any:
        raise KeyError("the cause")

    @bp.get("/down")
    async def down() -> Any:
        from cookcam.errors import ServiceUnavailable

        raise ServiceUnavailable from OSError("refused")

    client = make_site(bp).client()
    await client.get("/api/v1/bug", x_request_id="r-1")
    [line] = logged.of("request failed")
    assert (line["level"], line["code"], line["requestId"]) == ("ERROR", "INTERNAL_ERROR", "r-1")
    assert "KeyError" in line["stack"]
    await client.get("/api/v1/down")
    line = logged.of("request failed")[1]
    assert (line["level"], line["code"]) == ("WARN", "SERVICE_UNAVAILABLE")
    assert line["cause"] == "OSError"
    assert "stack" not in line


async def test_requests_are_counted_by_template(make_site: Any) -> None:
    config = configured(RATE_LIMIT_MAX_REQUESTS="2")
    metrics = Metrics()
    site = make_site(routes())
    edge = Edge(site.app, config, limits=RateLimits.of(config.limits), metrics=metrics)
    client = Client(edge)
    await client.get("/api/v1/recipes/1")
    await client.request("BREW", "/nowhere")
    await client.get("/api/v1/recipes/2")
    text = metrics.render().decode()
    counted = 'http_requests_total{method="%s",route="%s",status="%s"} 1.0'
    assert counted % ("GET", "/api/v1/recipes/{recipe_id}", "200") in text
    assert counted % ("other", "unmatched", "404") in text
    assert counted % ("GET", "unmatched", "429") in text
    assert 'rate_limited_total{bucket="global"} 1.0' in text
    assert "http_requests_in_flight 0.0" in text


async def test_websocket_only_gets_its_request_info(make_site: Any) -> None:
    site = make_site(TRUSTED_PROXIES="10.0.0.1/32")
    seen: list[Any] = []

    async def sockets(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    site.edge._app = sockets

    async def receive() -> Any: ...

    async def send(message: Any) -> None: ...

    headers = [(b"x-forwarded-for", b"198.51.100.7"), (b"x-request-id", b"r-1")]
    scope = {"type": "websocket", "path": "/api/v1/realtime", "headers": headers}
    await site.edge({**scope, "client": ("10.0.0.1", 1), "state": {"shared": 1}}, receive, send)
    [(given, *ends)] = seen
    found = given["state"]["cookcam"]
    assert isinstance(found, RequestInfo)
    assert (found.request_id, found.client_address) == ("r-1", "198.51.100.7")
    assert given["state"]["shared"] == 1
    assert ends == [receive, send]


async def test_requests_of_one_connection_do_not_share_their_state(make_site: Any) -> None:
    site = make_site()
    shared: dict[str, Any] = {}
    scopes: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def with_shared_state(scope: Any, receive: Any, send: Any) -> None:
        await site.edge({**scope, "state": shared}, receive, send)

    site.edge._app = app
    client = Client(with_shared_state)
    await client.get("/a")
    await client.get("/b")
    assert shared == {}
    assert [scope["state"]["cookcam"].path for scope in scopes] == ["/a", "/b"]


async def test_the_lifespan_passes_through(make_site: Any) -> None:
    site = make_site()
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)

    site.edge._app = app
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}}
    await site.edge(scope, None, None)
    assert seen == [scope]


async def test_a_peer_without_an_address_is_served(make_site: Any) -> None:
    client = make_site(routes()).client(peer=None)
    assert (await client.get("/api/v1/recipes/1")).status == 200
