"""The app and the website against the whole program.

docs/contract.md lists all requirements of the clients, and the tests of those not checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from tests.contract.app_calls import CALLS, CLIENTS, Call, found, unlike
from tests.contract.server import ContractServer, open_contract_server
from tests.features.conftest import ApiUser, Client, Response

PASSWORD = "Correct<horse>9"
FORBIDDEN_WORDS = ("subscription", "billing", "payment")
"""The app treats an error with one of these words as a success, and switches to creator mode."""
MAX_STATUS_LENGTH = 2000
"""Bytes: the app stores the subscription status in a keychain item."""


def is_error(response: httpx.Response) -> str | None:
    """Why the app cannot read an error, or None."""
    if not response.headers.get("content-type", "").startswith("application/json"):
        return f"the type is {response.headers.get('content-type')}"
    try:
        body = response.json()
    except ValueError:
        return "the body is no JSON"
    if not isinstance(body, dict) or not isinstance(body.get("error"), str) or not body["error"]:
        return f"`error` is no text in {body!r:.80}"
    if not isinstance(body.get("message"), str) or not body["message"]:
        return f"`message` is no text in {body!r:.80}"
    return None


def filled(value: Any, kept: Mapping[str, Any]) -> Any:
    """`value` with what was kept in the places of the names in braces."""
    if isinstance(value, dict):
        return {key: filled(entry, kept) for key, entry in value.items()}
    if isinstance(value, list):
        return [filled(item, kept) for item in value]
    if not isinstance(value, str):
        return value
    for name, there in kept.items():
        if value == f"{{{name}}}":
            return there
        if isinstance(there, str):
            value = value.replace(f"{{{name}}}", there)
    return value


async def made(call: Call, people: Mapping[str, Client], kept: Mapping[str, Any]) -> Response:
    """The answer to a call, which is made with nothing but what the client sends."""
    client = people[call.who]
    headers = {**CLIENTS[call.client], **filled(dict(call.headers), kept)}
    if client.token is not None:
        headers["Authorization"] = f"Bearer {client.token}"
    path, body = filled(call.path, kept), filled(call.body, kept)
    if isinstance(body, str):
        content = body.encode()
        return await client.http.request(call.method, path, headers=headers, content=content)
    if body is None:
        return await client.http.request(call.method, path, headers=headers)
    return await client.http.request(call.method, path, headers=headers, json=body)


def problems(call: Call, response: Response) -> list[str]:
    if call.later:
        there = [] if response.status_code == 404 else [f"is there ({response.status_code})"]
        return [*there, *filter(None, [is_error(response)])]
    if response.status_code not in call.status:
        return [f"is answered {response.status_code}: {response.text:.200}"]
    if not response.headers["content-type"].startswith("application/json"):
        return ["is not answered with JSON"]
    wrong = unlike(response.json(), call.reads)
    if call.row.startswith("A2") and response.status_code == 403:
        error = response.json()["error"].lower()
        wrong += [f"`error` says {word}" for word in FORBIDDEN_WORDS if word in error]
    if call.row == "E2" and len(response.content) >= MAX_STATUS_LENGTH:
        wrong.append(f"has {len(response.content)} bytes")
    return wrong


async def test_everything_the_clients_call_has_what_they_read(server: ContractServer):
    ann, cora = await server.person("Ann"), await server.person("Cora")
    zoe = await server.person("Zoe", password=PASSWORD)
    await server.subscribe(cora, "creator")
    people = {"ann": ann, "cora": cora, "zoe": zoe, "guest": server.guest}
    food, published = f"quorn{uuid4().hex[:8]}", f"Goulash{uuid4().hex[:8]}"
    await server.ingredient(food)
    await server.recipe(cora, title=published)
    kept: dict[str, Any] = {
        "food": food,
        "published": published,
        "chef": f"CHEF_{cora.id[-8:].upper()}",
        "password": PASSWORD,
    }
    wrong: list[str] = []
    for call in CALLS:
        response = await made(call, people, kept)
        wrong += [f"{call.row} {call.method} {call.path}: {it}" for it in problems(call, response)]
        for name, path in call.keep.items():
            try:
                kept[name] = found(response.json(), path)[0]
            except (KeyError, ValueError, TypeError, IndexError):
                wrong.append(f"{call.row}: there is no {path} to go on with")
    assert not wrong, "\n" + "\n".join(wrong)
    assert (await zoe.get("/users/profile")).status_code in (401, 404)


async def operations(server: ContractServer) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every route, its parameters filled with an unknown id."""
    document = (await server.http.get("/openapi.json")).json()
    prefix = document["servers"][0]["url"]
    listed: list[tuple[str, str, dict[str, Any]]] = []
    for path, item in document["paths"].items():
        root = "" if "servers" in item else prefix
        for method, operation in item.items():
            if method != "servers":
                known = {p["name"]: str(uuid4()) for p in operation["parameters"]}
                listed.append((method.upper(), root + path.format_map(known), operation))
    return listed


class TestEveryRoute:
    async def test_errors_are_what_the_app_can_read(self, server: ContractServer):
        """Without a token, with a bad one, as a wrong method, with broken and with useless
        bodies."""
        ann = await server.person()
        wrong: list[str] = []

        async def ask(expected: set[int], method: str, path: str, **sent: Any) -> None:
            response = await server.http.request(method, path, **sent)
            problem = is_error(response) if response.status_code >= 400 else None
            if response.status_code not in expected:
                problem = f"{response.status_code}, expected {expected}: {response.text:.120}"
            if problem:
                wrong.append(f"{method} {path}: {problem}")

        signed_in = {"Authorization": f"Bearer {ann.token}"}
        for method, path, operation in await operations(server):
            await ask({404}, "PATCH", path, headers=signed_in)
            if operation.get("security") == [{"bearerAuth": []}]:
                await ask({401}, method, path, headers={"Content-Type": "application/json"})
                await ask({401}, method, path, headers={"Authorization": "Bearer x.y.z"})
            taken = set(operation.get("requestBody", {}).get("content", ()))
            if "application/json" in taken:
                broken = {"headers": {**signed_in, "Content-Type": "application/json"}}
                await ask({400, 403, 404, 503}, method, path, content=b'{"a":', **broken)
                await ask({400, 403, 404, 503}, method, path, content=b'"text"', **broken)
                useless = {"headers": {**signed_in, "Content-Type": "text/plain"}}
                await ask({400, 403, 404, 415, 503}, method, path, content=b"hello", **useless)
        assert not wrong, "\n" + "\n".join(wrong)

    async def test_no_body_is_no_broken_body(self, server: ContractServer):
        """A JSON content type with an empty body."""
        ann = await server.person()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ann.token}"}
        wrong: list[str] = []
        for method, path, _ in await operations(server):
            if method == "GET":
                continue
            response = await server.http.request(method, path, headers=headers)
            code = response.json().get("code")
            if code in ("INVALID_JSON", "UNSUPPORTED_MEDIA_TYPE") or response.status_code == 415:
                wrong.append(f"{method} {path}: {response.status_code} {response.text:.120}")
        assert not wrong, "\n" + "\n".join(wrong)


NOBODYS: tuple[tuple[str, str, bytes, int, str], ...] = (
    ("GET", "/api/v1/nowhere", b"", 404, "NOT_FOUND"),
    ("GET", "/nowhere", b"", 404, "NOT_FOUND"),
    ("DELETE", "/api/v1/recipes", b"", 404, "NOT_FOUND"),
    ("POST", "/api/v1/auth/login", b"{", 400, "INVALID_JSON"),
    ("POST", "/api/v1/auth/login", b"a" * 2_000_000, 413, "PAYLOAD_TOO_LARGE"),
    ("POST", "/api/v1/scan/analyze", b"a" * 16_000_000, 413, "PAYLOAD_TOO_LARGE"),
    ("GET", "/api/v1/recipes?search=%00", b"", 400, "BAD_REQUEST"),
)


async def test_what_no_route_answers_is_json_too(server: ContractServer):
    for method, path, content, status, code in NOBODYS:
        response = await server.http.request(
            method, path, headers={"Content-Type": "application/json"}, content=content
        )
        assert (response.status_code, is_error(response)) == (status, None), response.text
        assert response.json()["code"] == code


async def test_too_many_requests_are_reported_in_json_with_the_time_to_wait(
    database_url: str, tmp_path: Any
):
    limited = {"ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_MAX_REQUESTS": "3"}
    async with open_contract_server(
        database_url, tmp_path, CORS_ORIGIN="https://cookcam.ai", **limited
    ) as h:
        origin = {"Origin": "https://cookcam.ai"}
        for _ in range(3):
            assert (await h.http.get("/api/v1/recipes")).status_code == 200
        response = await h.http.get("/api/v1/recipes", headers=origin)
        assert (response.status_code, is_error(response)) == (429, None)
        assert response.json()["retryAfter"] == int(response.headers["retry-after"])
        assert response.headers["access-control-allow-origin"] == "https://cookcam.ai"


async def test_a_missing_profile_says_not_found(server: ContractServer):
    """The app compares these words, and then creates a profile."""
    ann: ApiUser = await server.person()
    await server.sql("delete from auth.users where id = %(id)s", id=ann.id)
    response = await ann.get("/users/profile")
    assert response.status_code == 404
    assert "not found" in response.json()["error"]
