"""The fake OpenAI on the wire: shapes of responses, errors, recorded requests."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jsonschema
import pytest

from cookcam.integrations.openai.json_schema import schema_of
from cookcam.sandbox.openai import Behaviour, FakeOpenAI, open_openai
from tests.integrations.openai_shapes import Suggestions
from tests.sandbox.conftest import bare_http

COMPLETIONS = "/chat/completions"


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with open_openai() as opened:
        yield opened


@pytest.fixture
async def http(fake: FakeOpenAI) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {fake.key}"}
    async with bare_http(base_url=fake.url, headers=headers) as made:
        yield made


def request_body(**changes: Any) -> dict[str, Any]:
    schema = {"name": "suggestions", "strict": True, "schema": schema_of(Suggestions)}
    return {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "Tomatoes, eggs and spinach, please."}],
        "response_format": {"type": "json_schema", "json_schema": schema},
    } | changes


async def test_a_completion(http: httpx.AsyncClient):
    response = await http.post(COMPLETIONS, json=request_body())
    assert response.status_code == 200
    completion = response.json()
    assert completion["object"] == "chat.completion"
    (choice,) = completion["choices"]
    assert choice["finish_reason"] == "stop"
    content = json.loads(choice["message"]["content"])
    jsonschema.validate(content, schema_of(Suggestions))
    usage = completion["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 100
    assert (await http.post(COMPLETIONS, json=request_body())).json() == completion


async def test_a_stream_is_the_completion_in_pieces(http: httpx.AsyncClient):
    whole = (await http.post(COMPLETIONS, json=request_body())).json()
    options = {"stream": True, "stream_options": {"include_usage": True}}
    response = await http.post(COMPLETIONS, json=request_body(**options))
    assert response.headers["content-type"] == "text/event-stream"
    *events, done, rest = response.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    *pieces, last, usage = chunks
    text = "".join(chunk["choices"][0]["delta"]["content"] for chunk in pieces)
    assert text == whole["choices"][0]["message"]["content"]
    assert last["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert usage["choices"] == []
    assert usage["usage"] == whole["usage"]


async def test_content_is_cut_at_max_completion_tokens(http: httpx.AsyncClient):
    response = await http.post(COMPLETIONS, json=request_body(max_completion_tokens=20))
    completion = response.json()
    assert completion["choices"][0]["finish_reason"] == "length"
    assert completion["usage"]["completion_tokens"] == 20


async def test_the_models(http: httpx.AsyncClient):
    listed = (await http.get("/models")).json()
    assert listed["object"] == "list"
    assert "gpt-4o-mini" in {model["id"] for model in listed["data"]}


def with_schema(schema: object, **more: Any) -> dict[str, Any]:
    named = {"name": "a", "strict": True, "schema": schema} | more
    return {"type": "json_schema", "json_schema": named}


LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
PARTIAL = {**LOOSE, "additionalProperties": False, "required": []}
UNTYPED = {**LOOSE, "additionalProperties": False, "properties": {"a": {}}}


@pytest.mark.parametrize(
    "changes",
    [
        {"model": None},
        {"messages": []},
        {"messages": "hello"},
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "sound"}]}]},
        {"response_format": {"type": "json_object"}},
        {"response_format": with_schema(LOOSE)},
        {"response_format": with_schema(PARTIAL)},
        {"response_format": with_schema(UNTYPED)},
        {"response_format": with_schema({"type": "array", "items": LOOSE})},
        {"response_format": with_schema(schema_of(Suggestions), name="no spaces")},
        {"response_format": with_schema(schema_of(Suggestions), strict=False)},
    ],
)
async def test_invalid_requests_are_rejected_as_by_openai(
    http: httpx.AsyncClient, changes: dict[str, Any]
):
    response = await http.post(COMPLETIONS, json=request_body(**changes))
    assert response.status_code == 400
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"


async def test_invalid_bodies_and_unknown_paths(http: httpx.AsyncClient):
    assert (await http.post(COMPLETIONS, content=b"{")).status_code == 400
    assert (await http.post(COMPLETIONS, content=b"[]")).status_code == 400
    assert (await http.get("/nowhere")).status_code == 404


async def test_keys():
    async with (
        open_openai(key="sk-right") as fake,
        bare_http(base_url=fake.url) as http,
    ):
        for key, status in (("Bearer sk-right", 200), ("Bearer sk-wrong", 401), ("", 401)):
            response = await http.get("/models", headers={"Authorization": key})
            assert response.status_code == status
        assert response.json()["error"]["type"] == "invalid_request_error"


async def test_behaviour_changes_while_it_runs(http: httpx.AsyncClient, fake: FakeOpenAI):
    fault = {"kind": "status", "status": 429, "retry_after": 3, "times": 1}
    changed = await http.put("/sandbox/behaviour", json={"fault": fault})
    assert changed.json()["fault"]["status"] == 429
    rejected = await http.post(COMPLETIONS, json=request_body())
    assert (rejected.status_code, rejected.headers["retry-after"]) == (429, "3")
    assert rejected.json()["error"]["code"] == "rate_limit_exceeded"
    assert (await http.post(COMPLETIONS, json=request_body())).status_code == 200
    assert fake.behaviour == Behaviour()
    for wrong in ({"mood": "bad"}, {"fault": {"kind": "fire"}}, []):
        assert (await http.put("/sandbox/behaviour", json=wrong)).status_code == 400

    listed = (await http.get("/sandbox/requests")).json()
    assert [request["outcome"] for request in listed] == ["refused", "answered"]
    assert listed[0]["contract"] == "suggestions"


async def test_a_model_by_name(http: httpx.AsyncClient):
    found = await http.get("/models/gpt-4o")
    assert (found.status_code, found.json()["id"]) == (200, "gpt-4o")
    for missing in (
        await http.get("/models/gpt-9"),
        await http.post(COMPLETIONS, json=request_body(model="gpt-9")),
    ):
        assert missing.status_code == 404
        assert missing.json()["error"]["code"] == "model_not_found"


async def test_schemas_as_the_official_libraries_write_them(http: httpx.AsyncClient):
    """References, nullable references, constants, type lists and enums without a type."""
    step = {
        "type": "object",
        "properties": {"text": {"type": "string"}, "minutes": {"type": ["integer", "null"]}},
        "required": ["text", "minutes"],
        "additionalProperties": False,
    }
    schema: dict[str, Any] = {
        "$defs": {"Step": step},
        "type": "object",
        "properties": {
            "kind": {"const": "recipe"},
            "version": {"const": 2, "type": "integer"},
            "level": {"enum": ["easy", "hard"]},
            "first": {"anyOf": [{"$ref": "#/$defs/Step"}, {"type": "null"}]},
            "steps": {"type": "array", "items": {"$ref": "#/$defs/Step"}, "minItems": 2},
        },
        "required": ["kind", "version", "level", "first", "steps"],
        "additionalProperties": False,
    }
    wanted = {"name": "recipe", "strict": True, "schema": schema}
    format = {"type": "json_schema", "json_schema": wanted}
    response = await http.post(COMPLETIONS, json=request_body(response_format=format))
    assert response.status_code == 200, response.text
    content = json.loads(response.json()["choices"][0]["message"]["content"])
    jsonschema.validate(content, schema)
    assert (content["kind"], content["version"]) == ("recipe", 2)


async def test_a_schema_that_refers_to_itself_is_rejected(http: httpx.AsyncClient):
    schema: dict[str, Any] = {
        "$defs": {"Node": {"type": "array", "items": {"$ref": "#/$defs/Node"}}},
        "type": "object",
        "properties": {"root": {"$ref": "#/$defs/Node"}},
        "required": ["root"],
        "additionalProperties": False,
    }
    wanted = {"name": "tree", "strict": True, "schema": schema}
    format = {"type": "json_schema", "json_schema": wanted}
    response = await http.post(COMPLETIONS, json=request_body(response_format=format))
    assert response.status_code == 400
