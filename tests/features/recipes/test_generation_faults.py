"""Generation when something goes wrong or is asked for twice: nothing is paid or stored twice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import structlog
import trio
from attrs import evolve

from cookcam.database.connection import Connection
from cookcam.sandbox.openai import Fault
from tests.features.conftest import ApiUser, Response
from tests.support.generation import (
    FOODS,
    NOTHING,
    WISHES,
    GenerationApp,
    chosen,
    new_session,
    open_generation_app,
    previews,
)
from tests.support.postgres import as_owner
from tests.support.whole_server import environment, whole_server

IDEAS = {"detectedIngredients": FOODS}
PREVIEWS = {**IDEAS, "userPreferences": WISHES}
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


class TestTheModelFails:
    async def test_twice_with_no_usable_answer(self, generation_app: GenerationApp, ann: ApiUser):
        body = await chosen(ann)
        before = await generation_app.traces(ann)
        cases = {**BODIES, "generate-detailed": (body, "Failed to generate detailed recipe")}
        again = {**PREVIEWS, "sessionId": body["sessionId"], "userPreferences": {}}
        cases["generate-previews"] = (again, BODIES["generate-previews"][1])
        for path, (sent, literal) in cases.items():
            kinds = ["garbage", "wrong_shape", "refusal", "truncated"]
            if path in ("suggestions", "generate", "generate-previews"):
                kinds.append("wrong_count")
            for kind in kinds:
                asked = len(generation_app.model.received)
                generation_app.model.behaviour.fault = Fault(kind, times=2)  # type: ignore[arg-type]
                with structlog.testing.capture_logs():
                    response = await ann.post(f"/recipes/{path}", sent)
                assert response.status_code == 502, (path, kind)
                assert response.json()["error"] == literal
                assert response.json()["code"] == "SERVICE_ERROR"
                assert ("details" in response.json()) == ("success" in response.json())
                assert len(generation_app.model.received) == asked + 2
        assert await generation_app.traces(ann) == before

    async def test_once_and_is_asked_again(self, generation_app: GenerationApp, ann: ApiUser):
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

    async def test_and_says_when_to_come_back(self, generation_app: GenerationApp, ann: ApiUser):
        for status, told in ((429, 429), (500, 503), (401, 500), (400, 502)):
            generation_app.model.behaviour.fault = Fault("status", status=status)
            with structlog.testing.capture_logs():
                response = await previews(ann)
            assert response.status_code == told
            assert isinstance(response.json()["error"], str)
            assert ("Retry-After" in response.headers) == (told in (429, 503))
        assert await generation_app.traces(ann) == NOTHING

    async def test_for_some_variations_only(self, generation_app: GenerationApp, ann: ApiUser):
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
        assert (await generation_app.traces(ann)).counted == 1


@pytest.mark.parametrize("delay", [0.05, 5.0])
async def test_a_slow_model_is_waited_for(
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


async def test_a_model_that_never_answers(database_url: str):
    async with open_generation_app(
        database_url,
        GENERATION_TIMEOUT_SECONDS="1.5",
        GENERATION_MENU_TIMEOUT_SECONDS="1.5",
    ) as generation_app:
        ann = await generation_app.person()
        recipe = (await ann.post("/recipes", {"title": "Mine"})).json()["data"]["id"]
        begun = await chosen(ann)
        before = await generation_app.traces(ann)
        asked = len(generation_app.model.received)
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
        for received in generation_app.model.received[asked:]:
            await received.ended()
            assert received.outcome == "disconnected"
        assert await generation_app.traces(ann) == before
        with structlog.testing.capture_logs():
            assert (await ann.post(f"/recipes/{recipe}/variations")).status_code == 500
        # What was given up can be asked for again.
        generation_app.model.behaviour.fault = None
        response = await ann.post("/recipes/generate-detailed", begun)
        assert response.status_code == 201
        assert response.json()["xp_awarded"] == 50


async def test_a_deadline_that_passes_while_it_is_stored(database_url: str):
    async with open_generation_app(
        database_url, GENERATION_TIMEOUT_SECONDS="1.5"
    ) as generation_app:
        ann = await generation_app.person()
        body = await chosen(ann)
        before = await generation_app.traces(ann)
        url = as_owner(generation_app.database_url)
        async with await Connection.connect(url) as holder:
            await holder.execute("select from users where id = %s for update", (ann.id,))
            response = await ann.post("/recipes/generate-detailed", body)
            assert response.status_code == 504
            await holder.rollback()
        assert await generation_app.traces(ann) == before
        assert (await ann.post("/recipes/generate-detailed", body)).json()["xp_awarded"] == 50


async def test_a_client_that_leaves_takes_its_question_along(
    generation_app: GenerationApp, ann: ApiUser
):
    begun = await chosen(ann)
    before = await generation_app.traces(ann)
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
        with trio.fail_after(2):
            await received.ended()
        assert received.outcome == "disconnected"
    assert await generation_app.traces(ann) == before


class TestTheDetailedRecipeTwice:
    async def test_at_once_is_one(self, generation_app: GenerationApp, ann: ApiUser):
        body = await chosen(ann)
        asked = len(generation_app.model.received)
        generation_app.model.behaviour.delay = 0.4
        first, second = await together(
            lambda: ann.post("/recipes/generate-detailed", body),
            lambda: ann.post("/recipes/generate-detailed", body),
        )
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert len(generation_app.model.received) == asked + 1
        traces = await generation_app.traces(ann)
        assert (traces.recipes, traces.xp, traces.counted) == (1, 15 + 50, 1)

        later = await ann.post("/recipes/generate-detailed", body)
        assert later.status_code == 201
        assert later.json() == {**first.json(), "xp_awarded": 0}
        assert len(generation_app.model.received) == asked + 1
        assert await generation_app.traces(ann) == traces

    async def test_at_once_and_the_first_leaves(self, generation_app: GenerationApp, ann: ApiUser):
        body = await chosen(ann)
        asked = len(generation_app.model.received)
        generation_app.model.behaviour.fault = Fault("hang", times=1)
        responses: list[Response] = []

        async def stay() -> None:
            responses.append(await ann.post("/recipes/generate-detailed", body))

        async with trio.open_nursery() as staying:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(ann.post, "/recipes/generate-detailed", body)
                received = await generation_app.model.request(asked)
                staying.start_soon(stay)
                await trio.sleep(0.1)  # so that it is there and waits
                leaving.cancel_scope.cancel()
            await received.ended()
        assert [response.status_code for response in responses] == [201]
        assert (await generation_app.traces(ann)).recipes == 1

    async def test_on_two_instances(self, generation_app: GenerationApp, ann: ApiUser):
        """They know nothing of each other while they ask; there is one recipe all the same."""
        body = await chosen(ann)
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
        traces = await generation_app.traces(ann)
        assert (traces.recipes, traces.xp) == (1, 65)


class TestThePreviewsTwice:
    async def test_the_same_question_has_one_answer(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        generation_app.model.behaviour.delay = 0.4
        first, second = await together(lambda: previews(ann), lambda: previews(ann))
        assert first.json() == second.json()
        later = await previews(ann)
        assert later.json() == {**first.json(), "xp_awarded": 0}
        assert len(generation_app.model.received) == 1
        traces = await generation_app.traces(ann)
        assert (traces.sessions, traces.previews, traces.counted, traces.xp) == (1, 3, 1, 15)
        bob = await generation_app.person("Bob")
        foreign = (await previews(bob)).json()
        assert foreign["data"]["sessionId"] != first.json()["data"]["sessionId"]

    async def test_after_five_minutes_it_is_a_new_one(
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
        traces = await generation_app.traces(ann)
        assert (traces.sessions, traces.counted, traces.xp) == (1, 1, 15)

    async def test_another_question_of_a_session_waits_for_the_first(
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
        assert (await generation_app.traces(ann)).counted == 1

    async def test_a_new_session_at_the_limit_counts_once(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        await generation_app.use_up(ann, 9)
        generation_app.model.behaviour.delay = 0.4
        responses = await together(
            *(lambda meal=meal: previews(ann, mealType=meal) for meal in ("lunch", "dinner"))
        )
        assert sorted(response.status_code for response in responses) == [201, 403]
        traces = await generation_app.traces(ann)
        assert (traces.sessions, traces.previews, traces.counted) == (1, 3, 10)


class TestUnderAKey:
    async def test_the_first_reply_is_given_again(
        self, generation_app: GenerationApp, ann: ApiUser
    ):
        for path, (body, _) in BODIES.items():
            asked = len(generation_app.model.received)
            headers = {"Idempotency-Key": f"one-{path}"}
            first = await ann.post(f"/recipes/{path}", body, headers=headers)
            again = await ann.post(f"/recipes/{path}", body, headers=headers)
            assert first.status_code == again.status_code
            assert first.json() == again.json()
            assert again.headers["Idempotency-Replayed"] == "true"
            assert len(generation_app.model.received) == asked + 1
            other = await ann.post(f"/recipes/{path}", {**body, "more": 1}, headers=headers)
            assert other.status_code == 409
        traces = await generation_app.traces(ann)
        assert traces == evolve(traces, ideas=1, sessions=1, recipes=4, counted=4)

    async def test_a_failure_leaves_the_key_free(self, generation_app: GenerationApp, ann: ApiUser):
        headers = {"Idempotency-Key": "two"}
        generation_app.model.behaviour.fault = Fault("garbage", times=2)
        with structlog.testing.capture_logs():
            response = await ann.post("/recipes/suggestions", IDEAS, headers=headers)
        assert response.status_code == 502
        response = await ann.post("/recipes/suggestions", IDEAS, headers=headers)
        assert response.status_code == 200
