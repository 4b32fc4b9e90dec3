"""`/asyncapi.json` describes every event, with schemas that accept what is sent."""

from __future__ import annotations

import json
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from cookcam.app import open_services
from cookcam.app.openapi_document import SETTINGS
from cookcam.app.server_events import SERVER_EVENTS
from cookcam.config import load
from cookcam.lifecycle.state import Lifecycle


def resolved(document: dict[str, Any], reference: str) -> Any:
    node: Any = document
    for step in reference.removeprefix("#/").split("/"):
        node = node[step]
    return node


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        found = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return found + [one for value in node.values() for one in references(value)]
    if isinstance(node, list):
        return [one for value in node for one in references(value)]
    return []


async def test_every_event_has_an_operation_a_message_and_a_valid_schema() -> None:
    async with open_services(load({**SETTINGS, "APP_ENV": "test"}), Lifecycle()) as services:
        transport = httpx.ASGITransport(services.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://cookcam") as client:
            response = await client.get("/asyncapi.json")
        received = set(services.realtime.events)
    document = response.json()
    assert (response.status_code, document["asyncapi"]) == (200, "3.0.0")
    assert {reference: resolved(document, reference) for reference in references(document)}

    by_action: dict[str, set[str]] = {"send": set(), "receive": set()}
    for operation in document["operations"].values():
        [message] = operation["messages"]
        channel = resolved(document, message["$ref"])
        by_action[operation["action"]].add(resolved(document, channel["$ref"])["name"])
    assert by_action == {"send": set(SERVER_EVENTS), "receive": received}

    def validator(message: str) -> Draft202012Validator:
        payload = document["components"]["messages"][message]["payload"]
        schema = {**payload, "components": document["components"]}
        Draft202012Validator.check_schema(schema)
        return Draft202012Validator(schema)

    for name, message in document["components"]["messages"].items():
        [example] = message["examples"]
        problems = [error.message for error in validator(name).iter_errors(example["payload"])]
        assert problems == [], name
    shutdown = {"message": "m", "timestamp": "2026-01-31T12:34:56Z", "reconnectAfterMs": 2000}
    assert validator("server_shutdown").is_valid(shutdown)
    assert not validator("server_shutdown").is_valid({**shutdown, "reconnectAfterMs": 5})
    assert json.dumps(document["servers"]).count("api.cookcam.ai") == 2


async def test_production_hides_the_document_as_it_hides_the_openapi_one() -> None:
    from tests.support.environments import PRODUCTION

    async with open_services(load(PRODUCTION), Lifecycle()) as services:
        transport = httpx.ASGITransport(services.app, client=("192.0.2.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://cookcam") as client:
            for path in ("/openapi.json", "/asyncapi.json"):
                assert (await client.get(path)).status_code == 404
