"""Generations streamed as server-sent events, over a real port."""

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
from tests.features.conftest import ApiUser
from tests.features.recipes.test_generation_faults import BODIES, IDEAS, PREVIEWS
from tests.support.generation import (
    STREAM,
    GenerationApp,
    new_session,
    open_generation_app,
    previews,
    selected_preview_body,
)

Event = tuple[str, Any]


@pytest.fixture
async def generation_app(database_url: str) -> AsyncIterator[GenerationApp]:
    async with open_generation_app(database_url) as opened:
        yield opened


@pytest.fixture
async def ann(generation_app: GenerationApp) -> ApiUser:
    return await generation_app.person()


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


async def streamed(person: ApiUser, path: str, body: Any, **headers: str) -> list[Event]:
    response = await person.post(f"/recipes/{path}", body, headers={**STREAM, **headers})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"] == "text/event-stream"
    assert response.headers["cache-control"] == "no-cache"
    assert response.headers["x-accel-buffering"] == "no"
    return parsed(response.text)


def named(events: list[Event], name: str) -> list[Any]:
    return [data for found, data in events if found == name]


async def test_every_generation_can_be_streamed(generation_app: GenerationApp, ann: ApiUser):
    begun = await selected_preview_body(ann)
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
    bob = await generation_app.person("Bob")
    for path, body in cases.items():
        events = await streamed(ann, path, body)
        stages = [received["stage"] for received in named(events, "progress")]
        assert stages[0] == "asking"
        assert stages[-1] == "storing"
        assert "writing" in stages
        name, done = events[-1]
        assert name == "done"
        assert max(received["characters"] for received in named(events, "progress")) > 0
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


async def test_parts_arrive_before_the_end(generation_app: GenerationApp, ann: ApiUser):
    generation_app.model.behaviour.chunk_size, generation_app.model.behaviour.chunk_delay = (
        200,
        0.02,
    )
    url, headers = "/api/v1/recipes/generate-previews", {"Authorization": f"Bearer {ann.token}"}
    async with generation_app.http.stream(
        "POST", url, json=PREVIEWS, headers={**headers, **STREAM}
    ) as response:
        text = ""
        async for piece in response.aiter_text():
            text += piece
            if "event: preview" in text:
                assert "event: done" not in text
                assert (await generation_app.stored_counts(ann)).previews == 0
                assert generation_app.model.received[0].outcome == "open"
                break
        # The client disconnects here.
    received = generation_app.model.received[0]
    with trio.fail_after(20):
        await received.ended()
    assert received.outcome == "disconnected"
    assert (await generation_app.stored_counts(ann)).sessions == 0


async def test_repeat_streams_the_stored_result(generation_app: GenerationApp, ann: ApiUser):
    body = await selected_preview_body(ann)
    first = (await streamed(ann, "generate-detailed", body))[-1]
    assert await streamed(ann, "generate-detailed", body) == [
        ("done", {**first[1], "xp_awarded": 0})
    ]
    (_, suggested) = (await streamed(ann, "suggestions", IDEAS, **{"Idempotency-Key": "s"}))[-1]
    again = await streamed(ann, "suggestions", IDEAS, **{"Idempotency-Key": "s"})
    assert again == [("done", suggested)]


async def test_retry_of_the_model_is_reported(generation_app: GenerationApp, ann: ApiUser):
    generation_app.model.behaviour.chunk_size = 64
    generation_app.model.behaviour.fault = Fault("cut", times=1)
    events = await streamed(ann, "generate-previews", PREVIEWS)
    stages = [received["stage"] for received in named(events, "progress")]
    assert "restarted" in stages
    restart = next(
        n
        for n, (name, received) in enumerate(events)
        if name == "progress" and received["stage"] == "restarted"
    )
    assert named(events[restart:], "preview") == events[-1][1]["data"]["previews"]


async def test_failures_are_error_events(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streaming, "HEARTBEAT_SECONDS", 0.1)
    async with open_generation_app(
        database_url, GENERATION_TIMEOUT_SECONDS="1.5"
    ) as generation_app:
        ann = await generation_app.person()
        generation_app.model.behaviour.fault = Fault("hang")
        events = await streamed(ann, "generate-previews", PREVIEWS)
        assert [name for name, _ in events[-1:]] == ["error"]
        assert len(named(events, ":")) >= 2  # heartbeats keep the connection open
        error = events[-1][1]
        assert (error["success"], error["statusCode"]) == (False, 504)
        assert error["error"] == "Failed to generate recipe previews"
        assert error["path"] == "/api/v1/recipes/generate-previews"
        assert error["requestId"]

        generation_app.model.behaviour.fault = Fault("garbage")
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
        await generation_app.exhaust_quota(ann)
        error = (await streamed(ann, "suggestions", IDEAS))[-1][1]
        assert (error["statusCode"], error["limit"]) == (403, 10)
        # Errors before the stream starts are ordinary responses.
        response = await ann.post("/recipes/suggestions", {}, headers=STREAM)
        assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
        response = await generation_app.guest.post("/recipes/suggestions", IDEAS, headers=STREAM)
        assert response.status_code == 401


async def test_progress_is_sent_to_the_users_sockets(generation_app: GenerationApp, ann: ApiUser):
    url = f"ws://127.0.0.1:{generation_app.server.port}/api/v1/realtime"
    token = [(b"authorization", f"Bearer {ann.token}".encode())]
    async with open_websocket_url(url, extra_headers=token) as socket:
        assert json.loads(await socket.get_message())["event"] == "connected"
        response = await previews(ann)
        assert response.status_code == 201
        assert generation_app.model.received[0].question.stream
        received: list[dict[str, Any]] = []
        while not received or received[-1]["stage"] != "done":
            with trio.fail_after(5):
                frame = json.loads(await socket.get_message())
            if frame["event"] == "generation_progress":
                received.append(frame["data"])
    assert [one["stage"] for one in received[:1]] == ["asking"]
    assert {"writing", "storing"} < {one["stage"] for one in received}
    assert {one["operation"] for one in received} == {"generate-previews"}
    assert {one["requestId"] for one in received} == {response.headers["x-request-id"]}
    assert max(one["items"] for one in received) == 3


async def test_stopping_server_finishes_running_streams(database_url: str):
    async with open_generation_app(database_url) as generation_app:
        ann = await generation_app.person()
        generation_app.model.behaviour.delay = 0.5
        found: list[list[Event]] = []

        async def watch() -> None:
            found.append(await streamed(ann, "generate-previews", PREVIEWS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await generation_app.model.request(0)
            generation_app.server.stop()
        await generation_app.server.ended.wait()
        assert found[0][-1][0] == "done"
        assert generation_app.server.status == 0
        assert generation_app.server.report is not None


async def test_client_without_the_header_gets_a_plain_reply(
    generation_app: GenerationApp, ann: ApiUser
):
    for accept in ("application/json", "*/*", "text/html, application/json;q=0.9"):
        response = await ann.post("/recipes/suggestions", IDEAS, headers={"Accept": accept})
        assert response.headers["content-type"].startswith("application/json")
    many = {"Accept": "application/json;q=0.5, Text/Event-Stream"}
    response = await ann.post("/recipes/suggestions", IDEAS, headers=many)
    assert response.headers["content-type"] == "text/event-stream"
