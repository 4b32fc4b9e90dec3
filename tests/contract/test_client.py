"""The app and the website against the whole program: `spec/client-contract.md` §14.

The tests of features hold the rest of its table; docs/contract.md says which.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import httpx

from tests.contract.app_calls import CALLS, CLIENTS, Call, found, unlike
from tests.contract.house import House, open_house
from tests.features.conftest import Answer, Client, Person

PASSWORD = "Correct<horse>9"
FORBIDDEN_WORDS = ("subscription", "billing", "payment")
"""The app takes a refusal with one of these for a success (row A2)."""
LONGEST_STATUS = 2000
"""Bytes: the app keeps the body of E2 in a keychain item."""


def is_error(answer: httpx.Response) -> str | None:
    """What is wrong with an error as the app reads it (R1, R3, R4), or None."""
    if not answer.headers.get("content-type", "").startswith("application/json"):
        return f"the type is {answer.headers.get('content-type')}"
    try:
        body = answer.json()
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


async def made(call: Call, people: Mapping[str, Client], kept: Mapping[str, Any]) -> Answer:
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


def problems(call: Call, answer: Answer) -> list[str]:
    if call.later:
        there = [] if answer.status_code == 404 else [f"is there ({answer.status_code})"]
        return [*there, *filter(None, [is_error(answer)])]
    if answer.status_code not in call.status:
        return [f"is answered {answer.status_code}: {answer.text:.200}"]
    if not answer.headers["content-type"].startswith("application/json"):
        return ["is not answered with JSON"]
    wrong = unlike(answer.json(), call.reads)
    if call.row.startswith("A2") and answer.status_code == 403:
        error = answer.json()["error"].lower()
        wrong += [f"`error` says {word}" for word in FORBIDDEN_WORDS if word in error]
    if call.row == "E2" and len(answer.content) >= LONGEST_STATUS:
        wrong.append(f"has {len(answer.content)} bytes")
    return wrong


async def test_everything_the_clients_call_has_what_they_read(house: House):
    ann, cora = await house.person("Ann"), await house.person("Cora")
    zoe = await house.person("Zoe", password=PASSWORD)
    await house.subscribe(cora, "creator")
    people = {"ann": ann, "cora": cora, "zoe": zoe, "guest": house.guest}
    food, published = f"quorn{uuid4().hex[:8]}", f"Goulash{uuid4().hex[:8]}"
    await house.ingredient(food)
    await house.recipe(cora, title=published)
    kept: dict[str, Any] = {
        "food": food,
        "published": published,
        "chef": f"CHEF_{cora.id[-8:].upper()}",
        "password": PASSWORD,
    }
    wrong: list[str] = []
    for call in CALLS:
        answer = await made(call, people, kept)
        wrong += [f"{call.row} {call.method} {call.path}: {it}" for it in problems(call, answer)]
        for name, path in call.keep.items():
            try:
                kept[name] = found(answer.json(), path)[0]
            except (KeyError, ValueError, TypeError, IndexError):
                wrong.append(f"{call.row}: there is no {path} to go on with")
    assert not wrong, "\n" + "\n".join(wrong)
    assert (await zoe.get("/users/profile")).status_code in (401, 404)


async def operations(house: House) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and description of every route, its parameters filled with an unknown id."""
    document = (await house.http.get("/openapi.json")).json()
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
    async def test_errors_are_what_the_app_can_read(self, house: House):
        """Without a token, with a bad one, as a wrong method, with broken and with useless
        bodies."""
        ann = await house.person()
        wrong: list[str] = []

        async def ask(expected: set[int], method: str, path: str, **sent: Any) -> None:
            answer = await house.http.request(method, path, **sent)
            problem = is_error(answer) if answer.status_code >= 400 else None
            if answer.status_code not in expected:
                problem = f"{answer.status_code}, expected {expected}: {answer.text:.120}"
            if problem:
                wrong.append(f"{method} {path}: {problem}")

        signed_in = {"Authorization": f"Bearer {ann.token}"}
        for method, path, operation in await operations(house):
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

    async def test_no_body_is_no_broken_body(self, house: House):
        """R5: the type of JSON and no byte of it."""
        ann = await house.person()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {ann.token}"}
        wrong: list[str] = []
        for method, path, _ in await operations(house):
            if method == "GET":
                continue
            answer = await house.http.request(method, path, headers=headers)
            code = answer.json().get("code")
            if code in ("INVALID_JSON", "UNSUPPORTED_MEDIA_TYPE") or answer.status_code == 415:
                wrong.append(f"{method} {path}: {answer.status_code} {answer.text:.120}")
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


async def test_what_no_route_answers_is_json_too(house: House):
    for method, path, content, status, code in NOBODYS:
        answer = await house.http.request(
            method, path, headers={"Content-Type": "application/json"}, content=content
        )
        assert (answer.status_code, is_error(answer)) == (status, None), answer.text
        assert answer.json()["code"] == code


async def test_too_many_requests_are_told_in_json_with_the_time_to_wait(
    database_url: str, tmp_path: Any
):
    limited = {"ENABLE_RATE_LIMITING": "true", "RATE_LIMIT_MAX_REQUESTS": "3"}
    async with open_house(database_url, tmp_path, CORS_ORIGIN="https://cookcam.ai", **limited) as h:
        origin = {"Origin": "https://cookcam.ai"}
        for _ in range(3):
            assert (await h.http.get("/api/v1/recipes")).status_code == 200
        answer = await h.http.get("/api/v1/recipes", headers=origin)
        assert (answer.status_code, is_error(answer)) == (429, None)
        assert answer.json()["retryAfter"] == int(answer.headers["retry-after"])
        assert answer.headers["access-control-allow-origin"] == "https://cookcam.ai"


async def test_a_missing_profile_says_not_found(house: House):
    """T4: the app makes a profile on these words."""
    ann: Person = await house.person()
    await house.sql("delete from auth.users where id = %(id)s", id=ann.id)
    answer = await ann.get("/users/profile")
    assert answer.status_code == 404
    assert "not found" in answer.json()["error"]
