"""Generations told while they are made, over a real port."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
import trio
from trio_websocket import open_websocket_url

from cookcam.features.recipes.generation import streaming
from cookcam.sandbox.openai import Fault
from tests.features.conftest import Person
from tests.features.recipes.test_generation_faults import BODIES, IDEAS, PREVIEWS
from tests.support.generation import STREAM, Kitchen, chosen, new_session, open_kitchen, previews

Event = tuple[str, Any]


@pytest.fixture
async def kitchen(database_url: str) -> AsyncIterator[Kitchen]:
    async with open_kitchen(database_url) as opened:
        yield opened


@pytest.fixture
async def ann(kitchen: Kitchen) -> Person:
    return await kitchen.person()


def parsed(text: str) -> list[Event]:
    """The events of a stream, and its comments under the name ":"."""
    events: list[Event] = []
    for block in text.split("\n\n"):
        if block.startswith(":"):
            events.append((":", block[1:].strip()))
        elif block:
            name, data = block.split("\n")
            events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


async def streamed(person: Person, path: str, body: Any, **headers: str) -> list[Event]:
    answer = await person.post(f"/recipes/{path}", body, headers={**STREAM, **headers})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache"
    assert answer.headers["x-accel-buffering"] == "no"
    return parsed(answer.text)


def named(events: list[Event], name: str) -> list[Any]:
    return [data for found, data in events if found == name]


async def test_every_generation_can_be_watched(kitchen: Kitchen, ann: Person):
    begun = await chosen(ann)
    cases = {path: body for path, (body, _) in BODIES.items()}
    cases["generate-previews"] = {**PREVIEWS, "sessionId": new_session()}
    cases["generate-detailed"] = begun
    parts = {
        "suggestions": ("suggestion", lambda body: body["suggestions"]),
        "generate": ("recipe", lambda body: body["data"]["recipes"]),
        "generate-previews": ("preview", lambda body: body["data"]["previews"]),
        "generate-full": ("recipe", lambda body: [body["full_recipe"]]),
        "generate-detailed": ("recipe", lambda body: [body["data"]["recipe"]]),
    }
    bob = await kitchen.person("Bob")
    for path, body in cases.items():
        events = await streamed(ann, path, body)
        stages = [told["stage"] for told in named(events, "progress")]
        assert stages[0] == "asking"
        assert stages[-1] == "storing"
        assert "writing" in stages
        name, done = events[-1]
        assert name == "done"
        assert max(told["characters"] for told in named(events, "progress")) > 0
        kind, of_body = parts[path]
        assert named(events, kind) == of_body(done)
        if path in ("generate-full", "generate-detailed"):
            (recipe,) = named(events, "recipe")
            assert named(events, "step") == recipe.get("steps", recipe.get("instructions"))
        else:
            assert len(named(events, kind)) == 3
        if path == "generate-detailed":
            continue
        ordinary = (await bob.post(f"/recipes/{path}", body)).json()
        assert ordinary.keys() == done.keys()


async def test_parts_come_before_the_end(kitchen: Kitchen, ann: Person):
    kitchen.model.behaviour.chunk_size, kitchen.model.behaviour.chunk_delay = 200, 0.02
    url, headers = "/api/v1/recipes/generate-previews", {"Authorization": f"Bearer {ann.token}"}
    async with kitchen.http.stream(
        "POST", url, json=PREVIEWS, headers={**headers, **STREAM}
    ) as answer:
        text = ""
        async for piece in answer.aiter_text():
            text += piece
            if "event: preview" in text:
                assert "event: done" not in text
                assert (await kitchen.traces(ann)).previews == 0
                assert kitchen.model.received[0].outcome == "open"
                break
        # The client leaves here.
    received = kitchen.model.received[0]
    with trio.fail_after(2):
        await received.ended()
    assert received.outcome == "disconnected"
    assert (await kitchen.traces(ann)).sessions == 0


async def test_a_repeat_gets_what_is_there(kitchen: Kitchen, ann: Person):
    body = await chosen(ann)
    first = (await streamed(ann, "generate-detailed", body))[-1]
    assert await streamed(ann, "generate-detailed", body) == [
        ("done", {**first[1], "xp_awarded": 0})
    ]
    (_, suggested) = (await streamed(ann, "suggestions", IDEAS, **{"Idempotency-Key": "s"}))[-1]
    again = await streamed(ann, "suggestions", IDEAS, **{"Idempotency-Key": "s"})
    assert again == [("done", suggested)]


async def test_a_model_that_starts_again(kitchen: Kitchen, ann: Person):
    kitchen.model.behaviour.chunk_size = 64
    kitchen.model.behaviour.fault = Fault("cut", times=1)
    events = await streamed(ann, "generate-previews", PREVIEWS)
    stages = [told["stage"] for told in named(events, "progress")]
    assert "restarted" in stages
    restart = next(
        n
        for n, (name, told) in enumerate(events)
        if name == "progress" and told["stage"] == "restarted"
    )
    assert named(events[restart:], "preview") == events[-1][1]["data"]["previews"]


async def test_what_goes_wrong_is_an_event(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.1)
    async with open_kitchen(database_url, GENERATION_TIMEOUT_SECONDS="1.5") as kitchen:
        ann = await kitchen.person()
        kitchen.model.behaviour.fault = Fault("hang")
        events = await streamed(ann, "generate-previews", PREVIEWS)
        assert [name for name, _ in events[-1:]] == ["error"]
        assert len(named(events, ":")) >= 2  # nobody took it for dead
        error = events[-1][1]
        assert (error["success"], error["statusCode"]) == (False, 504)
        assert error["error"] == "Failed to generate recipe previews"
        assert error["path"] == "/api/v1/recipes/generate-previews"
        assert error["requestId"]

        kitchen.model.behaviour.fault = Fault("garbage")
        with structlog.testing.capture_logs() as logs:
            error = (await streamed(ann, "generate-previews", PREVIEWS))[-1][1]
        assert (error["statusCode"], error["code"]) == (502, "SERVICE_ERROR")
        assert any(line["event"] == "request failed" for line in logs)

        error = (
            await streamed(
                ann,
                "generate-detailed",
                {"selectedPreview": {"id": "x", "title": "Soup"}, "sessionId": "nowhere"},
            )
        )[-1][1]
        assert (error["statusCode"], error["error"]) == (404, "Cooking session not found")
        await kitchen.use_up(ann)
        error = (await streamed(ann, "suggestions", IDEAS))[-1][1]
        assert (error["statusCode"], error["limit"]) == (403, 10)
        # What can be told before anything begins is told as usual.
        answer = await ann.post("/recipes/suggestions", {}, headers=STREAM)
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
        answer = await kitchen.guest.post("/recipes/suggestions", IDEAS, headers=STREAM)
        assert answer.status_code == 401


async def test_the_same_is_told_to_the_users_sockets(kitchen: Kitchen, ann: Person):
    url = f"ws://127.0.0.1:{kitchen.server.port}/api/v1/realtime"
    token = [(b"authorization", f"Bearer {ann.token}".encode())]
    async with open_websocket_url(url, extra_headers=token) as socket:
        assert json.loads(await socket.get_message())["event"] == "connected"
        answer = await previews(ann)
        assert answer.status_code == 201
        assert kitchen.model.received[0].question.stream
        told: list[dict[str, Any]] = []
        while not told or told[-1]["stage"] != "done":
            with trio.fail_after(5):
                frame = json.loads(await socket.get_message())
            if frame["event"] == "generation_progress":
                told.append(frame["data"])
    assert [one["stage"] for one in told[:1]] == ["asking"]
    assert {"writing", "storing"} < {one["stage"] for one in told}
    assert {one["operation"] for one in told} == {"generate-previews"}
    assert {one["requestId"] for one in told} == {answer.headers["x-request-id"]}
    assert max(one["items"] for one in told) == 3


async def test_a_stream_in_flight_is_finished_by_a_server_that_stops(database_url: str):
    async with open_kitchen(database_url) as kitchen:
        ann = await kitchen.person()
        kitchen.model.behaviour.delay = 0.5
        found: list[list[Event]] = []

        async def watch() -> None:
            found.append(await streamed(ann, "generate-previews", PREVIEWS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await kitchen.model.request(0)
            kitchen.server.stop()
        await kitchen.server.ended.wait()
        assert found[0][-1][0] == "done"
        assert kitchen.server.status == 0
        assert kitchen.server.report is not None


async def test_a_client_that_wants_no_stream_gets_none(kitchen: Kitchen, ann: Person):
    for accept in ("application/json", "*/*", "text/html, application/json;q=0.9"):
        answer = await ann.post("/recipes/suggestions", IDEAS, headers={"Accept": accept})
        assert answer.headers["content-type"].startswith("application/json")
    many = {"Accept": "application/json;q=0.5, Text/Event-Stream"}
    answer = await ann.post("/recipes/suggestions", IDEAS, headers=many)
    assert answer.headers["content-type"] == "text/event-stream"
