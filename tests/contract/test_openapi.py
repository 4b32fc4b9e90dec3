"""The OpenAPI document of the whole program: valid, complete, and the same from every side."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from cookcam.app import open_services
from cookcam.app.openapi_document import SETTINGS, openapi_document
from cookcam.config import load
from cookcam.http.app import CookCamApp
from cookcam.http.route_options import MEBIBYTE, Traffic, route_options_of
from cookcam.http.routing import CANONICAL, template_of
from cookcam.lifecycle.state import Lifecycle
from tests.contract.server import ContractServer

UNDOCUMENTED = {
    ("GET", "/openapi.json"),
    ("GET", "/asyncapi.json"),
    ("GET", "/api-docs"),
    *(
        ("GET", f"/api-docs/{name}")
        for name in ("events", "api-docs.js", "events.js", "docs.js", "docs.css")
    ),
    ("GET", "/metrics"),
    ("GET", "/status"),
    *(
        ("GET", f"/ops{page}")
        for page in (
            *("", "/tasks", "/webhooks", "/reports", "/reports/upheld", "/reports/dismissed"),
            *("/process", "/sign-in", "/console.css", "/console.js"),
        )
    ),
    *(
        ("POST", f"/ops{action}")
        for action in (
            *("/sign-in", "/sign-out", "/webhooks/retry", "/reports/{report_id}/decision"),
            *("/drain", "/notifications/retry", "/switches/{name}"),
        )
    ),
    ("POST", "/subscription/webhook/stripe"),
    ("POST", "/subscription/webhook/stripe-connect"),
    ("GET", "/subscription/creator/stripe/return/{page}"),
}
"""Pages, the operations console, the text for Prometheus, and what Stripe calls with a signature
over the bytes."""


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(trio.run(openapi_document))


async def program_app() -> CookCamApp:
    async with open_services(load(SETTINGS), Lifecycle()) as services:
        edge: Any = services.app
        assert edge._router is edge._app.app.router
        return edge._app.app


@pytest.fixture(scope="module")
def app() -> CookCamApp:
    return trio.run(program_app)


def test_the_edge_applies_the_options_that_routes_declare(app: CookCamApp):
    """Body limits, webhooks and probes of the assembled program."""
    limits: dict[int, set[str]] = {}
    traffic: dict[Traffic, set[str]] = {}
    for rule in app.url_map.iter_rules():
        match = app.router.match(next(iter(rule.methods or ())), rule.rule)
        assert match is not None
        options, path = match.endpoint.options, rule.rule.removeprefix(CANONICAL)
        if path.startswith("/api/"):
            continue
        limits.setdefault(options.max_body // MEBIBYTE, set()).add(path)
        traffic.setdefault(options.traffic, set()).add(path)
    del limits[1], traffic[Traffic.ORDINARY]
    assert limits == {
        10: {"/scan/ingredients"},
        11: {"/auth/profile/photo"},
        15: {"/scan/analyze", "/recipes/<recipe_id>/upload-completion-photo"},
    }
    assert traffic == {
        Traffic.WEBHOOK: {
            f"/subscription/webhook/{name}"
            for name in ("stripe", "stripe-connect", "apple", "google")
        },
        Traffic.EXEMPT: {
            *("/health", "/health/live", "/health/ready", "/health/detailed", "/health/db"),
            *("/health/cache", "/health/metrics", "/health/security", "/metrics"),
        },
    }


def operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method != "servers"
    }


def test_it_is_valid(document: dict[str, Any]):
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_of_the_program_is_in_it_with_every_status_it_can_answer(
    document: dict[str, Any], app: CookCamApp
):
    """What a route says of itself, and what the edge and the guards in front of it answer."""
    listed = operations(document)
    found: set[tuple[str, str]] = set()
    for rule in app.url_map.iter_rules():
        if "@" in rule.endpoint:  # the same route under another prefix
            continue
        path, view = (
            template_of(rule.rule).removeprefix(CANONICAL),
            app.view_functions[rule.endpoint],
        )
        marks = route_options_of(view)
        for method in set(rule.methods or ()) - {"HEAD", "OPTIONS"}:
            found.add((method, path))
            if marks.hidden:
                continue
            expected = {400, 413, 500, 502, 503, 504, *marks.responses, *marks.failures}
            expected |= set() if marks.traffic is Traffic.EXEMPT else {429}
            expected |= {404} if "{" in path else set()
            expected |= {401, 403} if marks.authentication == "required" else set()
            stated = {int(status) for status in listed[method, path]["responses"]}
            assert stated >= expected, (method, path, expected - stated)
            assert any(status < 300 for status in stated) or 501 in stated, (method, path)
    assert found - listed.keys() == UNDOCUMENTED
    assert listed.keys() <= found


def test_every_answer_has_a_shape(document: dict[str, Any]):
    """But for the 204 that Google's push wants."""
    shapeless = [
        (method, path, status)
        for (method, path), operation in operations(document).items()
        for status, response in operation["responses"].items()
        if "$ref" not in response and not response.get("content")
    ]
    assert [place for place in shapeless if place[2] not in ("204", "304")] == []


def schemas(node: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema below a node, examples left out."""
    if isinstance(node, dict):
        yield place, node
        for key, value in node.items():
            if key not in ("example", "examples", "default", "const", "enum"):
                yield from schemas(value, f"{place}/{key}")
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from schemas(value, f"{place}/{index}")


def test_no_schema_is_a_bare_object(document: dict[str, Any]):
    said = {"properties", "additionalProperties", "anyOf", "oneOf", "allOf"}
    bare = [
        place
        for place, schema in schemas(document["components"]["schemas"])
        if schema.get("type") == "object" and not said & schema.keys()
    ]
    assert bare == []


def test_names_of_schemas_say_what_they_are(document: dict[str, Any]):
    """A class name that two modules have would be qualified with dots."""
    components = document["components"]["schemas"]
    assert [name for name in components if not re.fullmatch(r"[A-Z][A-Za-z]+", name)] == []
    wrong: list[str] = []
    for place, content in json_contents(document):
        name = content["schema"].get("$ref", "").rpartition("/")[2]
        ending = "Request" if place.endswith("request") else "Response"
        if name and name != "Profile" and not name.endswith(ending):
            wrong.append(f"{place}: {name}")
    assert wrong == []


def json_contents(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every JSON body of a request and of a successful response, with its place."""
    for (method, path), operation in operations(document).items():
        contents = [("request", operation.get("requestBody", {}).get("content", {}))]
        contents += [
            (status, response.get("content", {}))
            for status, response in operation["responses"].items()
            if status.startswith("2")
        ]
        for name, content in contents:
            if "application/json" in content:
                yield f"{method} {path} {name}", content["application/json"]


def test_every_json_body_has_an_example_that_its_schema_allows(document: dict[str, Any]):
    wrong: list[str] = []
    failures = document["components"]["responses"].items()
    bodies = [*json_contents(document)]
    bodies += [(name, response["content"]["application/json"]) for name, response in failures]
    for place, content in bodies:
        if "example" not in content:
            wrong.append(f"{place}: no example")
            continue
        whole = {**content["schema"], "components": document["components"]}
        errors = Draft202012Validator(whole).iter_errors(content["example"])
        wrong += [f"{place}: {error.json_path} {error.message:.120}" for error in errors]
    assert not wrong, "\n".join(wrong)


def test_event_streams_are_documented_under_the_status_they_have(document: dict[str, Any]):
    streams = [
        (path, status)
        for (_, path), operation in operations(document).items()
        for status, response in operation["responses"].items()
        if "text/event-stream" in response.get("content", {})
    ]
    assert len(streams) == 6
    assert {status for _, status in streams} == {"200"}


def test_headers_of_responses_are_documented(document: dict[str, Any]):
    for (method, path), operation in operations(document).items():
        for status, given in operation["responses"].items():
            name = given.get("$ref", "").rpartition("/")[2]
            response = document["components"]["responses"][name] if name else given
            assert "X-Request-Id" in response["headers"], (method, path, status)
            if status in ("429", "503") and name:
                assert "Retry-After" in response["headers"]
    listing = operations(document)["GET", "/recipes"]["responses"]["200"]["headers"]
    assert {"ETag", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"} <= listing.keys()
    generation = operations(document)["POST", "/recipes/generate"]["responses"]["201"]["headers"]
    assert "Idempotency-Replayed" in generation
    export = operations(document)["GET", "/auth/account/export"]["responses"]["200"]["headers"]
    assert "Content-Disposition" in export


def test_every_parameter_of_a_path_is_described(document: dict[str, Any]):
    for (method, path), operation in operations(document).items():
        named = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path)), (method, path)


def test_the_command_prints_the_same_document(document: dict[str, Any]):
    done = subprocess.run(
        [sys.executable, "-m", "cookcam", "openapi"], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == document


async def test_the_running_program_serves_the_same_document(
    server: ContractServer, document: dict[str, Any]
):
    served = (await server.http.get("/openapi.json")).json()
    assert {**served, "info": None} == {**document, "info": None}
    assert served["info"]["title"] == document["info"]["title"] == "CookCam API"
