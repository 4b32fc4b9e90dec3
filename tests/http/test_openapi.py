from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

import msgspec
import pytest
import trio

from cookcam.http import (
    DOCUMENTED_AS_REQUIRED,
    Routes,
    document_content,
    document_empty,
    document_failures,
    document_upload,
    hidden,
    openapi,
    query_integers,
    secured,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.http.error_codes import codes_of
from cookcam.http.openapi import openapi_document
from cookcam.http.openapi_schemas import NO_NUL
from tests.support.environments import PRODUCTION


class Ingredient(msgspec.Struct):
    name: str


class NewRecipe(msgspec.Struct):
    title: Annotated[str, msgspec.Meta(min_length=3, max_length=200)]
    ingredients: list[Ingredient] = []


class RecipeOut(msgspec.Struct):
    id: UUID
    title: str
    ingredients: list[Ingredient]


class Search(msgspec.Struct):
    search: str = ""


def routes() -> Routes:
    bp = Routes("recipes", __name__, legacy=True)

    @bp.get("/recipes")
    @query_integers(limit=20, offset=0)
    @validate_querystring(Search)
    @validate_response(list[RecipeOut])
    async def listing(**_: Any) -> Any:
        """Published recipes, newest first.

        Guests see them too.
        """

    @bp.post("/recipes")
    @secured
    @validate_request(NewRecipe)
    @validate_response(RecipeOut, 201)
    async def create(**_: Any) -> Any:
        """Keeps a recipe."""

    @bp.get("/recipes/<recipe_id>")
    @validate_response(RecipeOut)
    async def one(**_: Any) -> Any: ...

    @bp.delete("/recipes/<recipe_id>")
    @secured
    async def delete(**_: Any) -> Any: ...

    @bp.post("/auth/signin")
    @bp.post("/auth/login")
    async def login(**_: Any) -> Any: ...

    @bp.get("/inside")
    @hidden
    async def inside(**_: Any) -> Any: ...

    return bp


@pytest.fixture
def document(make_site: Any) -> Any:
    made = openapi_document(make_site(routes()).app, "1.2.3")
    return json.loads(json.dumps(made))


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "servers":
                yield method, path, operation


def test_the_head_of_the_document(document: Any) -> None:
    assert document["openapi"].startswith("3.1")
    assert document["info"] == {"title": "CookCam API", "version": "1.2.3"}
    assert all(server["url"].endswith("/api/v1") for server in document["servers"])
    assert document["components"]["securitySchemes"] == {
        "bearerAuth": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }


def test_each_route_is_there_once_and_relative_to_the_server(document: Any) -> None:
    found = {(method, path) for method, path, _ in operations(document)}
    assert found == {
        ("get", "/recipes"),
        ("post", "/recipes"),
        ("get", "/recipes/{recipe_id}"),
        ("delete", "/recipes/{recipe_id}"),
        ("post", "/auth/signin"),
        ("post", "/auth/login"),
    }


def test_every_reference_leads_somewhere(document: Any) -> None:
    found = set(references(document))
    assert "#/components/schemas/Ingredient" in found
    for reference in found:
        at = document
        for key in reference.removeprefix("#/").split("/"):
            at = at[key]


def test_operations_are_complete(document: Any) -> None:
    ids = [operation["operationId"] for *_, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for method, path, operation in operations(document):
        assert operation["tags"] == ["recipes"]
        assert operation["responses"]
        for response in operation["responses"].values():
            assert "$ref" in response or response["description"]
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), (method, path)
        assert all(p["required"] for p in operation["parameters"] if p["in"] == "path")
        places = [(p["in"], p["name"]) for p in operation["parameters"]]
        assert len(set(places)) == len(places)


def test_failures_are_documented_with_the_one_schema(document: Any) -> None:
    create = document["paths"]["/recipes"]["post"]["responses"]
    anywhere = {"400", "413", "429", "500", "502", "503", "504"}
    assert set(create) == {"201", "401", "403", "415", *anywhere}
    one = document["paths"]["/recipes/{recipe_id}"]["get"]["responses"]
    assert set(one) == {"200", "304", "404", *anywhere}
    for response in document["components"]["responses"].values():
        whole, narrowed = response["content"]["application/json"]["schema"]["allOf"]
        assert whole == {"$ref": "#/components/schemas/Error"}
        status = narrowed["properties"]["statusCode"]["const"]
        assert narrowed["properties"]["code"]["enum"] == codes_of(status)
    assert "VALIDATION_ERROR" in codes_of(400)


def test_models_docstrings_and_guards_are_in_the_document(document: Any) -> None:
    listing = document["paths"]["/recipes"]["get"]
    assert listing["summary"] == "Published recipes, newest first."
    assert listing["description"].strip() == "Guests see them too."
    assert "security" not in listing
    parameters = {p["name"]: p["schema"] for p in listing["parameters"]}
    assert parameters["limit"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert set(parameters) == {"limit", "offset", "search"}
    create = document["paths"]["/recipes"]["post"]
    assert create["security"] == [{"bearerAuth": []}]
    body = create["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/NewRecipe"}
    title = document["components"]["schemas"]["NewRecipe"]["properties"]["title"]
    assert (title["minLength"], title["maxLength"]) == (3, 200)


class Rated(msgspec.Struct):
    stars: Annotated[
        Any, msgspec.Meta(extra_json_schema={"type": "integer"}), DOCUMENTED_AS_REQUIRED
    ] = None
    words: str = ""
    mood: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["good", "bad"]})] | None = None


def test_bodies_say_what_is_wanted_and_that_null_is_left_out(make_site: Any) -> None:
    bp = Routes("rated", __name__)

    @bp.post("/ratings")
    @document_failures(404, 409)
    @document_empty(204)
    @validate_request(Rated)
    async def rate(**_: Any) -> Any: ...

    @bp.post("/photos")
    @document_upload("image/png", field="photo")
    @document_content("application/zip")
    async def upload(**_: Any) -> Any: ...

    made = json.loads(json.dumps(openapi_document(make_site(bp).app, "1")))
    rated = made["components"]["schemas"]["Rated"]
    assert rated["required"] == ["stars"]
    assert rated["properties"]["stars"] == {"type": "integer"}
    assert rated["properties"]["words"] == {"type": ["string", "null"], "pattern": NO_NUL}
    assert {"type": "null"} in rated["properties"]["mood"]["anyOf"]
    operation = made["paths"]["/ratings"]["post"]
    assert operation["requestBody"]["required"]
    assert {"204", "404", "409"} <= operation["responses"].keys()
    assert "200" not in operation["responses"]
    photos = made["paths"]["/photos"]["post"]
    assert set(photos["requestBody"]["content"]) == {"image/png", "multipart/form-data"}
    assert set(photos["responses"]["200"]["content"]) == {"application/zip"}


async def test_the_document_and_its_page_are_served(make_site: Any) -> None:
    client = make_site(routes()).client()
    served = await client.get("/openapi.json")
    assert served.headers["content-type"] == "application/json; charset=utf-8"
    assert served.json()["info"]["title"] == "CookCam API"
    assert (await client.get("/openapi.json")).body == served.body
    page = await client.get("/api-docs/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for address in re.findall(r'(?:src|href)="(/[^"]*)"', page.body.decode()):
        assert (await client.get(address)).status == 200, address


async def test_the_document_is_created_once_for_requests_at_the_same_time(
    make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes a second of processor time: sixty first requests kept /health waiting for 20 s."""
    created: list[str] = []

    def create(app: Any, version: str) -> dict[str, Any]:
        created.append(version)
        return {}

    monkeypatch.setattr(openapi, "openapi_document", create)
    client = make_site(routes()).client()
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(client.get, "/openapi.json")
    assert len(created) == 1


@pytest.mark.parametrize("path", ["/api-docs", "/api-docs/events"])
async def test_pages_keep_to_the_policy_and_need_no_network(make_site: Any, path: str) -> None:
    client = make_site().client()
    page = (await client.get(path)).body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"\son\w+=", page)
    files = ["/api-docs/docs.css", "/api-docs/docs.js"]
    files += re.findall(r'<script src="([^"]+)"', page)
    for text in [page, *[(await client.get(file)).body.decode() for file in files]]:
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text
        assert "eval(" not in text


@pytest.mark.parametrize(
    "path", ["/openapi.json", "/api-docs", "/api-docs/events", "/api-docs/docs.js"]
)
async def test_in_production_they_are_for_insiders(make_site: Any, path: str) -> None:
    site = make_site(environment={**PRODUCTION, "INTERNAL_API_KEY": "k" * 32})
    outside = await site.client().get(path)
    assert (outside.status, outside.json()["message"]) == (404, f"Cannot GET {path}")
    proxied = site.client(peer="127.0.0.1", headers={"x-forwarded-for": "127.0.0.1"})
    assert (await proxied.get(path)).status == 404
    assert (await site.client(peer="127.0.0.1").get(path)).status == 200
    assert (await site.client().get(path, x_api_key="k" * 32)).status == 200
    assert (await site.client(peer="127.0.0.1").get(path, x_api_key="wrong")).status == 404
