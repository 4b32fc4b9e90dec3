from __future__ import annotations

from typing import Any

import pytest
from quart import Blueprint, current_app, g, request

from cookcam.http import Routes, current_request_info
from cookcam.http.app import create_app
from cookcam.http.routing import normal_rule, template_of
from tests.http.client import Client
from tests.http.conftest import configured


def routes() -> Routes:
    bp = Routes("recipes", __name__, legacy=True)

    @bp.get("/recipes")
    async def all_of_them() -> Any:
        return {"route": current_request_info().route}

    @bp.get("/recipes/saved/My")
    async def saved() -> Any:
        return {"route": current_request_info().route}

    @bp.get("/recipes/<recipe_id>")
    async def one(recipe_id: str) -> Any:
        return {"id": recipe_id, "route": current_request_info().route}

    @bp.put("/recipes/<recipe_id>")
    async def change(recipe_id: str) -> Any:
        return {"changed": recipe_id}

    @bp.get("/users/<int:number>/Followers/<name>")
    async def followers(number: int, name: str) -> Any:
        return {"number": number, "name": name}

    return bp


@pytest.fixture
def client(make_site: Any) -> Client:
    other = Blueprint("plain", __name__)

    @other.route("/only-versioned")
    async def only() -> Any:
        return {"seen": [request.method, request.path, request.args.get("q"), request.host]}

    return make_site(routes(), other).client()


@pytest.mark.parametrize(
    "path", ["/api/v1/recipes", "/api/recipes", "/API/V1/Recipes", "/api/v1/recipes/"]
)
async def test_paths_match_ignoring_case_prefix_and_one_slash(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 200


@pytest.mark.parametrize(
    "path",
    ["/recipes", "/api/v1/recipes//", "//api/v1/recipes", "/api//v1/recipes", "/api/v2/recipes"],
)
async def test_other_paths_do_not_match(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


async def test_a_fixed_path_wins_over_a_parameter_in_any_spelling(client: Client) -> None:
    for path in ("/api/v1/recipes/saved/my", "/api/v1/Recipes/Saved/MY/"):
        reply = await client.get(path)
        assert reply.json() == {"route": "/api/v1/recipes/saved/my"}


async def test_parameters_keep_their_spelling(client: Client) -> None:
    reply = await client.get("/API/v1/Recipes/AbC-Ünï")
    assert reply.json() == {"id": "AbC-Ünï", "route": "/api/v1/recipes/{recipe_id}"}
    reply = await client.get("/api/Users/007/FOLLOWERS/Ann/")
    assert reply.json() == {"number": 7, "name": "Ann"}


async def test_the_alias_has_its_own_template(client: Client) -> None:
    assert (await client.get("/api/recipes")).json() == {"route": "/api/recipes"}


async def test_methods_of_one_path_go_to_their_views(client: Client) -> None:
    assert (await client.request("PUT", "/api/v1/recipes/7")).json() == {"changed": "7"}


async def test_head_is_get_without_the_body(client: Client) -> None:
    got = await client.get("/api/v1/recipes")
    head = await client.request("HEAD", "/api/v1/recipes")
    assert (head.status, head.body) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == got.headers[name]
    assert (await client.request("HEAD", "/nowhere")).status == 404


async def test_a_plain_blueprint_is_versioned_and_has_no_alias(client: Client) -> None:
    reply = await client.get("/api/v1/only-versioned?q=a%20b")
    assert reply.json() == {"seen": ["GET", "/api/v1/only-versioned", "a b", "testserver"]}
    assert (await client.get("/api/only-versioned")).status == 404


@pytest.mark.parametrize("hook", ["before_request", "after_request", "teardown_request"])
def test_hooks_are_rejected_since_they_would_not_run(hook: str) -> None:
    bp = Routes("hooked", __name__)

    async def run(*_: Any) -> None: ...

    getattr(bp, hook)(run)
    with pytest.raises(RuntimeError, match="hooks"):
        create_app(configured(), [bp])


async def test_each_request_has_its_own_g_and_the_app(make_site: Any) -> None:
    bp = Routes("g", __name__)

    @bp.get("/g")
    async def count() -> Any:
        g.count = getattr(g, "count", 0) + 1
        return {"count": g.count, "app": current_app.name}

    client = make_site(bp).client()
    assert [(await client.get("/api/v1/g")).json()["count"] for _ in range(2)] == [1, 1]


def test_the_authenticator_is_where_the_guards_look() -> None:
    marker = object()
    assert create_app(configured(), [], authenticator=marker).extensions["authenticator"] is marker


def test_rules_and_templates() -> None:
    assert normal_rule("/mysteryBox/<string:UserId>/Open/") == "/mysterybox/<string:UserId>/open"
    assert normal_rule("/") == "/"
    assert template_of("/recipes/<uuid:id>/<name>") == "/recipes/{id}/{name}"
