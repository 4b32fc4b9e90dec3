"""Failures and repeats of generations: nothing is stored or charged twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
import trio
from attrs import evolve

from cookcam.database.connection import Connection
from cookcam.integrations import circuit_breaker
from cookcam.sandbox.openai import Fault
from tests.features.conftest import ApiUser, Response
from tests.support.generation import (
    FOODS,
    NOTHING,
    PREFERENCES,
    GenerationApp,
    new_session,
    open_generation_app,
    previews,
    selected_preview_body,
)
from tests.support.postgres import as_owner
from tests.support.whole_server import environment, whole_server

IDEAS = {"detectedIngredients": FOODS}
PREVIEWS = {**IDEAS, "userPreferences": PREFERENCES}
BODIES: dict[str, tuple[Any, str]] = {
    "suggestions": (IDEAS, "Failed to generate recipe suggestions"),
    "generate-full": (
        {"selectedTitle": "Soup", "originalInput": IDEAS},
        "Failed to generate full recipe",
    ),
    "generate": (IDEAS, "Failed to generate diverse recipes"),
    "generate-previews": (PREVIEWS, "Failed to generate recipe previews"),
}


@pytest.fixture
async def generation_app(database_url: str) -> AsyncIterator[GenerationApp]:
    async with open_generation_app(database_url) as opened:
        yield opened


@pytest.fixture
async def ann(generation_app: GenerationApp) -> ApiUser:
    return await generation_app.person()


async def together(*requests: Callable[[], Awaitable[Response]]) -> list[Response]:
    responses: dict[int, Response] = {}

    async def one(number: int, request: Callable[[], Awaitable[Response]]) -> None:
        responses[number] = await request()

    async with trio.open_nursery() as nursery:
        for number, request in enumerate(requests):
            nursery.start_soon(one, number, request)
    return [responses[number] for number in sorted(responses)]


class TestModelFailures:
    async def test_two_unusable_completions_are_a_502(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        body = await selected_preview_body(ann)
        before = await generation_app.stored_counts(ann)
        cases = {**BODIES, "generate-detailed": (body, "Failed to generate detailed recipe")}
        again = {**PREVIEWS, "sessionId": body["sessionId"], "userPreferences": {}}
        cases["generate-previews"] = (again, BODIES["generate-previews"][1])
        for path, (sent, literal) in cases.items():
            kinds = ["garbage", "wrong_shape", "refusal", "truncated"]
            if path in ("suggestions", "generate", "generate-previews"):
                kinds.append("wrong_count")
            for kind in kinds:
                requested = len(generation_app.model.received)
                generation_app.model.behaviour.fault = Fault(kind, times=2)  # type: ignore[arg-type]
                with structlog.testing.capture_logs():
                    response = await ann.post(f"/recipes/{path}", sent)
                assert response.status_code == 502, (path, kind)
                assert response.json()["error"] == literal
                assert response.json()["code"] == "SERVICE_ERROR"
                assert ("details" in response.json()) == ("success" in response.json())
                assert len(generation_app.model.received) == requested + 2
        assert await generation_app.stored_counts(ann) == before

    async def test_one_failure_is_retried(self, generation_app: GenerationApp, ann: ApiUser):
        for number, fault in enumerate(
            (
                Fault("status", times=1, status=429, retry_after=0),
                Fault("status", times=1, status=500),
                Fault("garbage", times=1),
                Fault("wrong_count", times=1),
                Fault("cut", times=1),
            )
        ):
            generation_app.model.behaviour.fault = fault
            response = await previews(ann, servingSize=number + 1)
            assert response.status_code == 201, fault
            assert len(response.json()["data"]["previews"]) == 3
            assert len(generation_app.model.received) == 2 * (number + 1)

    async def test_rate_limited_model_is_a_429_with_retry_after(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        for status, received in ((429, 429), (500, 503), (401, 500), (400, 502)):
            generation_app.model.behaviour.fault = Fault("status", status=status)
            with structlog.testing.capture_logs():
                response = await previews(ann)
            assert response.status_code == received
            assert isinstance(response.json()["error"], str)
            assert ("Retry-After" in response.headers) == (received in (429, 503))
        assert await generation_app.stored_counts(ann) == NOTHING

    async def test_failed_variations_are_left_out(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        recipe = (await ann.post("/recipes", {"title": "Mine"})).json()["data"]["id"]
        generation_app.model.behaviour.fault = Fault("status", times=2, status=400)
        response = await ann.post(f"/recipes/{recipe}/variations", {"count": 3})
        assert response.status_code == 200
        assert len(response.json()["data"]["variations"]) == 1
        generation_app.model.behaviour.fault = Fault("status", status=400)
        with structlog.testing.capture_logs():
            response = await ann.post(f"/recipes/{recipe}/variations", {"count": 3})
        assert response.status_code == 500
        assert response.json()["error"] == "Failed to generate recipe variations"
        assert (await generation_app.stored_counts(ann)).counted == 1


@pytest.mark.parametrize("delay", [0.05, 5.0])
async def test_slow_model_within_the_deadline_succeeds(
    generation_app: GenerationApp, ann: ApiUser, delay: float
):
    generation_app.model.behaviour.delay = delay
    responses = await together(
        *(
            lambda path=path, body=body: ann.post(f"/recipes/{path}", body)
            for path, (body, _) in BODIES.items()
        )
    )
    assert [response.status_code for response in responses] == [200, 200, 201, 201]


async def test_hanging_model_is_a_504(database_url: str, monkeypatch: pytest.MonkeyPatch):
    # So many timeouts open the model's circuit; the next call is a trial, here without a delay.
    monkeypatch.setattr(circuit_breaker, "MAX_DELAY", 0.0)
    async with open_generation_app(
        database_url,
        GENERATION_TIMEOUT_SECONDS="1.5",
        GENERATION_MENU_TIMEOUT_SECONDS="1.5",
    ) as generation_app:
        ann = await generation_app.person()
        recipe = (await ann.post("/recipes", {"title": "Mine"})).json()["data"]["id"]
        begun = await selected_preview_body(ann)
        before = await generation_app.stored_counts(ann)
        requested = len(generation_app.model.received)
        generation_app.model.behaviour.fault = Fault("hang")
        bodies = {path: body for path, (body, _) in BODIES.items()}
        bodies["generate-previews"] = {**PREVIEWS, "sessionId": new_session()}
        bodies["generate-detailed"] = begun
        bodies["generate-full-with-smart-nutrition"] = {
            "sessionId": begun["sessionId"],
            "selectedTitle": "Soup",
        }
        responses = await together(
            *(
                lambda path=path, body=body: ann.post(f"/recipes/{path}", body)
                for path, body in bodies.items()
            )
        )
        for response in responses:
            assert response.status_code == 504
            assert isinstance(response.json()["error"], str)
        for received in generation_app.model.received[requested:]:
            await received.ended()
            assert received.outcome == "disconnected"
        assert await generation_app.stored_counts(ann) == before
        with structlog.testing.capture_logs():
            assert (await ann.post(f"/recipes/{recipe}/variations")).status_code == 500
        # A cancelled request can be repeated.
        generation_app.model.behaviour.fault = None
        response = await ann.post("/recipes/generate-detailed", begun)
        assert response.status_code == 201
        assert response.json()["xp_awarded"] == 50


async def test_deadline_during_storing_stores_nothing(database_url: str):
    async with open_generation_app(
        database_url, GENERATION_TIMEOUT_SECONDS="1.5"
    ) as generation_app:
        ann = await generation_app.person()
        body = await selected_preview_body(ann)
        before = await generation_app.stored_counts(ann)
        url = as_owner(generation_app.database_url)
        async with await Connection.connect(url) as holder:
            await holder.execute("select from users where id = %s for update", (ann.id,))
            response = await ann.post("/recipes/generate-detailed", body)
            assert response.status_code == 504
            await holder.rollback()
        assert await generation_app.stored_counts(ann) == before
        assert (await ann.post("/recipes/generate-detailed", body)).json()["xp_awarded"] == 50


async def test_disconnect_cancels_the_model_request(generation_app: GenerationApp, ann: ApiUser):
    begun = await selected_preview_body(ann)
    before = await generation_app.stored_counts(ann)
    generation_app.model.behaviour.fault = Fault("hang")
    cases = {path: body for path, (body, _) in BODIES.items()}
    cases["generate-previews"] = {**PREVIEWS, "sessionId": new_session()}
    cases["generate-detailed"] = begun
    for path, body in cases.items():
        number = len(generation_app.model.received)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ann.post, f"/recipes/{path}", body)
            received = await generation_app.model.request(number)
            nursery.cancel_scope.cancel()
        with trio.fail_after(20):
            await received.ended()
        assert received.outcome == "disconnected"
    assert await generation_app.stored_counts(ann) == before


class TestRepeatedDetailedRecipe:
    async def test_concurrent_requests_share_one_generation(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        body = await selected_preview_body(ann)
        requested = len(generation_app.model.received)
        generation_app.model.behaviour.delay = 0.4
        first, second = await together(
            lambda: ann.post("/recipes/generate-detailed", body),
            lambda: ann.post("/recipes/generate-detailed", body),
        )
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert len(generation_app.model.received) == requested + 1
        stored_counts = await generation_app.stored_counts(ann)
        assert (stored_counts.recipes, stored_counts.xp, stored_counts.counted) == (1, 15 + 50, 1)

        later = await ann.post("/recipes/generate-detailed", body)
        assert later.status_code == 201
        assert later.json() == {**first.json(), "xp_awarded": 0}
        assert len(generation_app.model.received) == requested + 1
        assert await generation_app.stored_counts(ann) == stored_counts

    async def test_next_request_runs_when_the_first_disconnects(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        body = await selected_preview_body(ann)
        requested = len(generation_app.model.received)
        generation_app.model.behaviour.fault = Fault("hang", times=1)
        responses: list[Response] = []

        async def stay() -> None:
            responses.append(await ann.post("/recipes/generate-detailed", body))

        async with trio.open_nursery() as staying:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(ann.post, "/recipes/generate-detailed", body)
                received = await generation_app.model.request(requested)
                staying.start_soon(stay)
                await trio.sleep(0.1)  # so that it is waiting
                leaving.cancel_scope.cancel()
            await received.ended()
        assert [response.status_code for response in responses] == [201]
        assert (await generation_app.stored_counts(ann)).recipes == 1

    async def test_two_instances_store_one_recipe(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        """Single flight is per instance; the row lock allows one recipe."""
        body = await selected_preview_body(ann)
        generation_app.model.behaviour.delay = 0.4
        settings = environment(
            generation_app.database_url,
            generation_app.gotrue,
            OPENAI_BASE_URL=generation_app.model.url,
        )
        async with whole_server(settings) as other:
            headers = {"Authorization": f"Bearer {ann.token}"}
            first, second = await together(
                lambda: ann.post("/recipes/generate-detailed", body),
                lambda: other.http.post("/recipes/generate-detailed", json=body, headers=headers),
            )
        assert first.status_code == second.status_code == 201
        assert first.json()["data"] == second.json()["data"]
        assert sorted((first.json()["xp_awarded"], second.json()["xp_awarded"])) == [0, 50]
        stored_counts = await generation_app.stored_counts(ann)
        assert (stored_counts.recipes, stored_counts.xp) == (1, 65)


class TestRepeatedPreviews:
    async def test_repeat_returns_the_stored_previews(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        generation_app.model.behaviour.delay = 0.4
        first, second = await together(lambda: previews(ann), lambda: previews(ann))
        assert first.json() == second.json()
        later = await previews(ann)
        assert later.json() == {**first.json(), "xp_awarded": 0}
        assert len(generation_app.model.received) == 1
        stored_counts = await generation_app.stored_counts(ann)
        assert (
            stored_counts.sessions,
            stored_counts.previews,
            stored_counts.counted,
            stored_counts.xp,
        ) == (1, 3, 1, 15)
        bob = await generation_app.person("Bob")
        foreign = (await previews(bob)).json()
        assert foreign["data"]["sessionId"] != first.json()["data"]["sessionId"]

    async def test_repeat_after_five_minutes_generates_new_previews(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        session = new_session()
        await previews(ann, session)
        await generation_app.sql(
            "update recipe_previews set created_at = created_at - interval '301 seconds'"
            " where session_id = %(id)s",
            id=session,
        )
        assert (await previews(ann, session)).status_code == 201
        assert len(generation_app.model.received) == 2
        stored_counts = await generation_app.stored_counts(ann)
        assert (stored_counts.sessions, stored_counts.counted, stored_counts.xp) == (1, 1, 15)

    async def test_other_request_of_a_session_waits(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        session = new_session()
        generation_app.model.behaviour.delay = 0.4
        responses = await together(
            lambda: previews(ann, session), lambda: previews(ann, session, mealType="lunch")
        )
        assert [response.status_code for response in responses] == [201, 201]
        one, two = sorted(generation_app.model.received, key=lambda received: received.began)
        assert two.began >= one.began + (one.seconds or 0)
        assert (await generation_app.stored_counts(ann)).counted == 1

    async def test_new_session_at_the_limit_counts_once(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        await generation_app.exhaust_quota(ann, 9)
        generation_app.model.behaviour.delay = 0.4
        responses = await together(
            *(lambda meal=meal: previews(ann, mealType=meal) for meal in ("lunch", "dinner"))
        )
        assert sorted(response.status_code for response in responses) == [201, 403]
        stored_counts = await generation_app.stored_counts(ann)
        assert (stored_counts.sessions, stored_counts.previews, stored_counts.counted) == (1, 3, 10)


class TestIdempotencyKey:
    async def test_stored_reply_is_returned(self, generation_app: GenerationApp, ann: ApiUser):
        for path, (body, _) in BODIES.items():
            requested = len(generation_app.model.received)
            headers = {"Idempotency-Key": f"one-{path}"}
            first = await ann.post(f"/recipes/{path}", body, headers=headers)
            again = await ann.post(f"/recipes/{path}", body, headers=headers)
            assert first.status_code == again.status_code
            assert first.json() == again.json()
            assert again.headers["Idempotency-Replayed"] == "true"
            assert len(generation_app.model.received) == requested + 1
            other = await ann.post(f"/recipes/{path}", {**body, "more": 1}, headers=headers)
            assert other.status_code == 409
        stored_counts = await generation_app.stored_counts(ann)
        assert stored_counts == evolve(
            stored_counts, suggestion_sessions=1, sessions=1, recipes=4, counted=4
        )

    async def test_failed_request_does_not_use_up_the_key(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        headers = {"Idempotency-Key": "two"}
        generation_app.model.behaviour.fault = Fault("garbage", times=2)
        with structlog.testing.capture_logs():
            response = await ann.post("/recipes/suggestions", IDEAS, headers=headers)
        assert response.status_code == 502
        response = await ann.post("/recipes/suggestions", IDEAS, headers=headers)
        assert response.status_code == 200
