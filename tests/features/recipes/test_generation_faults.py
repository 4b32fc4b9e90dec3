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
from tests.features.conftest import Answer, Person
from tests.support.generation import (
    FOODS,
    NOTHING,
    WISHES,
    Kitchen,
    chosen,
    new_session,
    open_kitchen,
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
async def kitchen(database_url: str) -> AsyncIterator[Kitchen]:
    async with open_kitchen(database_url) as opened:
        yield opened


@pytest.fixture
async def ann(kitchen: Kitchen) -> Person:
    return await kitchen.person()


async def together(*requests: Callable[[], Awaitable[Answer]]) -> list[Answer]:
    answers: dict[int, Answer] = {}

    async def one(number: int, request: Callable[[], Awaitable[Answer]]) -> None:
        answers[number] = await request()

    async with trio.open_nursery() as nursery:
        for number, request in enumerate(requests):
            nursery.start_soon(one, number, request)
    return [answers[number] for number in sorted(answers)]


class TestTheModelFails:
    async def test_twice_with_no_usable_answer(self, kitchen: Kitchen, ann: Person):
        body = await chosen(ann)
        before = await kitchen.traces(ann)
        cases = {**BODIES, "generate-detailed": (body, "Failed to generate detailed recipe")}
        again = {**PREVIEWS, "sessionId": body["sessionId"], "userPreferences": {}}
        cases["generate-previews"] = (again, BODIES["generate-previews"][1])
        for path, (sent, literal) in cases.items():
            kinds = ["garbage", "wrong_shape", "refusal", "truncated"]
            if path in ("suggestions", "generate", "generate-previews"):
                kinds.append("wrong_count")
            for kind in kinds:
                asked = len(kitchen.model.received)
                kitchen.model.behaviour.fault = Fault(kind, times=2)  # type: ignore[arg-type]
                with structlog.testing.capture_logs():
                    answer = await ann.post(f"/recipes/{path}", sent)
                assert answer.status_code == 502, (path, kind)
                assert answer.json()["error"] == literal
                assert answer.json()["code"] == "SERVICE_ERROR"
                assert ("details" in answer.json()) == ("success" in answer.json())
                assert len(kitchen.model.received) == asked + 2
        assert await kitchen.traces(ann) == before

    async def test_once_and_is_asked_again(self, kitchen: Kitchen, ann: Person):
        for number, fault in enumerate(
            (
                Fault("status", times=1, status=429, retry_after=0),
                Fault("status", times=1, status=500),
                Fault("garbage", times=1),
                Fault("wrong_count", times=1),
                Fault("cut", times=1),
            )
        ):
            kitchen.model.behaviour.fault = fault
            answer = await previews(ann, servingSize=number + 1)
            assert answer.status_code == 201, fault
            assert len(answer.json()["data"]["previews"]) == 3
            assert len(kitchen.model.received) == 2 * (number + 1)

    async def test_and_says_when_to_come_back(self, kitchen: Kitchen, ann: Person):
        for status, told in ((429, 429), (500, 503), (401, 500), (400, 502)):
            kitchen.model.behaviour.fault = Fault("status", status=status)
            with structlog.testing.capture_logs():
                answer = await previews(ann)
            assert answer.status_code == told
            assert isinstance(answer.json()["error"], str)
            assert ("Retry-After" in answer.headers) == (told in (429, 503))
        assert await kitchen.traces(ann) == NOTHING

    async def test_for_some_variations_only(self, kitchen: Kitchen, ann: Person):
        recipe = (await ann.post("/recipes", {"title": "Mine"})).json()["data"]["id"]
        kitchen.model.behaviour.fault = Fault("status", times=2, status=400)
        answer = await ann.post(f"/recipes/{recipe}/variations", {"count": 3})
        assert answer.status_code == 200
        assert len(answer.json()["data"]["variations"]) == 1
        kitchen.model.behaviour.fault = Fault("status", status=400)
        with structlog.testing.capture_logs():
            answer = await ann.post(f"/recipes/{recipe}/variations", {"count": 3})
        assert answer.status_code == 500
        assert answer.json()["error"] == "Failed to generate recipe variations"
        assert (await kitchen.traces(ann)).counted == 1


@pytest.mark.parametrize("delay", [0.05, 5.0])
async def test_a_slow_model_is_waited_for(kitchen: Kitchen, ann: Person, delay: float):
    kitchen.model.behaviour.delay = delay
    answers = await together(
        *(
            lambda path=path, body=body: ann.post(f"/recipes/{path}", body)
            for path, (body, _) in BODIES.items()
        )
    )
    assert [answer.status_code for answer in answers] == [200, 200, 201, 201]


async def test_a_model_that_never_answers(database_url: str):
    async with open_kitchen(
        database_url,
        GENERATION_TIMEOUT_SECONDS="1.5",
        GENERATION_MENU_TIMEOUT_SECONDS="1.5",
    ) as kitchen:
        ann = await kitchen.person()
        recipe = (await ann.post("/recipes", {"title": "Mine"})).json()["data"]["id"]
        begun = await chosen(ann)
        before = await kitchen.traces(ann)
        asked = len(kitchen.model.received)
        kitchen.model.behaviour.fault = Fault("hang")
        bodies = {path: body for path, (body, _) in BODIES.items()}
        bodies["generate-previews"] = {**PREVIEWS, "sessionId": new_session()}
        bodies["generate-detailed"] = begun
        bodies["generate-full-with-smart-nutrition"] = {
            "sessionId": begun["sessionId"],
            "selectedTitle": "Soup",
        }
        answers = await together(
            *(
                lambda path=path, body=body: ann.post(f"/recipes/{path}", body)
                for path, body in bodies.items()
            )
        )
        for answer in answers:
            assert answer.status_code == 504
            assert isinstance(answer.json()["error"], str)
        for received in kitchen.model.received[asked:]:
            await received.ended()
            assert received.outcome == "disconnected"
        assert await kitchen.traces(ann) == before
        with structlog.testing.capture_logs():
            assert (await ann.post(f"/recipes/{recipe}/variations")).status_code == 500
        # What was given up can be asked for again.
        kitchen.model.behaviour.fault = None
        answer = await ann.post("/recipes/generate-detailed", begun)
        assert answer.status_code == 201
        assert answer.json()["xp_awarded"] == 50


async def test_a_deadline_that_passes_while_it_is_stored(database_url: str):
    async with open_kitchen(database_url, GENERATION_TIMEOUT_SECONDS="1.5") as kitchen:
        ann = await kitchen.person()
        body = await chosen(ann)
        before = await kitchen.traces(ann)
        url = as_owner(kitchen.database_url)
        async with await Connection.connect(url) as holder:
            await holder.execute("select from users where id = %s for update", (ann.id,))
            answer = await ann.post("/recipes/generate-detailed", body)
            assert answer.status_code == 504
            await holder.rollback()
        assert await kitchen.traces(ann) == before
        assert (await ann.post("/recipes/generate-detailed", body)).json()["xp_awarded"] == 50


async def test_a_client_that_leaves_takes_its_question_along(kitchen: Kitchen, ann: Person):
    begun = await chosen(ann)
    before = await kitchen.traces(ann)
    kitchen.model.behaviour.fault = Fault("hang")
    cases = {path: body for path, (body, _) in BODIES.items()}
    cases["generate-previews"] = {**PREVIEWS, "sessionId": new_session()}
    cases["generate-detailed"] = begun
    for path, body in cases.items():
        number = len(kitchen.model.received)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ann.post, f"/recipes/{path}", body)
            received = await kitchen.model.request(number)
            nursery.cancel_scope.cancel()
        with trio.fail_after(2):
            await received.ended()
        assert received.outcome == "disconnected"
    assert await kitchen.traces(ann) == before


class TestTheDetailedRecipeTwice:
    async def test_at_once_is_one(self, kitchen: Kitchen, ann: Person):
        body = await chosen(ann)
        asked = len(kitchen.model.received)
        kitchen.model.behaviour.delay = 0.4
        first, second = await together(
            lambda: ann.post("/recipes/generate-detailed", body),
            lambda: ann.post("/recipes/generate-detailed", body),
        )
        assert first.status_code == second.status_code == 201
        assert first.json() == second.json()
        assert len(kitchen.model.received) == asked + 1
        traces = await kitchen.traces(ann)
        assert (traces.recipes, traces.xp, traces.counted) == (1, 15 + 50, 1)

        later = await ann.post("/recipes/generate-detailed", body)
        assert later.status_code == 201
        assert later.json() == {**first.json(), "xp_awarded": 0}
        assert len(kitchen.model.received) == asked + 1
        assert await kitchen.traces(ann) == traces

    async def test_at_once_and_the_first_leaves(self, kitchen: Kitchen, ann: Person):
        body = await chosen(ann)
        asked = len(kitchen.model.received)
        kitchen.model.behaviour.fault = Fault("hang", times=1)
        answers: list[Answer] = []

        async def stay() -> None:
            answers.append(await ann.post("/recipes/generate-detailed", body))

        async with trio.open_nursery() as staying:
            async with trio.open_nursery() as leaving:
                leaving.start_soon(ann.post, "/recipes/generate-detailed", body)
                received = await kitchen.model.request(asked)
                staying.start_soon(stay)
                await trio.sleep(0.1)  # so that it is there and waits
                leaving.cancel_scope.cancel()
            await received.ended()
        assert [answer.status_code for answer in answers] == [201]
        assert (await kitchen.traces(ann)).recipes == 1

    async def test_on_two_instances(self, kitchen: Kitchen, ann: Person):
        """They know nothing of each other while they ask; there is one recipe all the same."""
        body = await chosen(ann)
        kitchen.model.behaviour.delay = 0.4
        settings = environment(
            kitchen.database_url, kitchen.gotrue, OPENAI_BASE_URL=kitchen.model.url
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
        traces = await kitchen.traces(ann)
        assert (traces.recipes, traces.xp) == (1, 65)


class TestThePreviewsTwice:
    async def test_the_same_question_has_one_answer(self, kitchen: Kitchen, ann: Person):
        kitchen.model.behaviour.delay = 0.4
        first, second = await together(lambda: previews(ann), lambda: previews(ann))
        assert first.json() == second.json()
        later = await previews(ann)
        assert later.json() == {**first.json(), "xp_awarded": 0}
        assert len(kitchen.model.received) == 1
        traces = await kitchen.traces(ann)
        assert (traces.sessions, traces.previews, traces.counted, traces.xp) == (1, 3, 1, 15)
        bob = await kitchen.person("Bob")
        foreign = (await previews(bob)).json()
        assert foreign["data"]["sessionId"] != first.json()["data"]["sessionId"]

    async def test_after_five_minutes_it_is_a_new_one(self, kitchen: Kitchen, ann: Person):
        session = new_session()
        await previews(ann, session)
        await kitchen.sql(
            "update recipe_previews set created_at = created_at - interval '301 seconds'"
            " where session_id = %(id)s",
            id=session,
        )
        assert (await previews(ann, session)).status_code == 201
        assert len(kitchen.model.received) == 2
        traces = await kitchen.traces(ann)
        assert (traces.sessions, traces.counted, traces.xp) == (1, 1, 15)

    async def test_another_question_of_a_session_waits_for_the_first(
        self, kitchen: Kitchen, ann: Person
    ):
        session = new_session()
        kitchen.model.behaviour.delay = 0.4
        answers = await together(
            lambda: previews(ann, session), lambda: previews(ann, session, mealType="lunch")
        )
        assert [answer.status_code for answer in answers] == [201, 201]
        one, two = sorted(kitchen.model.received, key=lambda received: received.began)
        assert two.began >= one.began + (one.seconds or 0)
        assert (await kitchen.traces(ann)).counted == 1

    async def test_a_new_session_at_the_limit_counts_once(self, kitchen: Kitchen, ann: Person):
        await kitchen.use_up(ann, 9)
        kitchen.model.behaviour.delay = 0.4
        answers = await together(
            *(lambda meal=meal: previews(ann, mealType=meal) for meal in ("lunch", "dinner"))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 403]
        traces = await kitchen.traces(ann)
        assert (traces.sessions, traces.previews, traces.counted) == (1, 3, 10)


class TestUnderAKey:
    async def test_the_first_reply_is_given_again(self, kitchen: Kitchen, ann: Person):
        for path, (body, _) in BODIES.items():
            asked = len(kitchen.model.received)
            headers = {"Idempotency-Key": f"one-{path}"}
            first = await ann.post(f"/recipes/{path}", body, headers=headers)
            again = await ann.post(f"/recipes/{path}", body, headers=headers)
            assert first.status_code == again.status_code
            assert first.json() == again.json()
            assert again.headers["Idempotency-Replayed"] == "true"
            assert len(kitchen.model.received) == asked + 1
            other = await ann.post(f"/recipes/{path}", {**body, "more": 1}, headers=headers)
            assert other.status_code == 409
        traces = await kitchen.traces(ann)
        assert traces == evolve(traces, ideas=1, sessions=1, recipes=4, counted=4)

    async def test_a_failure_leaves_the_key_free(self, kitchen: Kitchen, ann: Person):
        headers = {"Idempotency-Key": "two"}
        kitchen.model.behaviour.fault = Fault("garbage", times=2)
        with structlog.testing.capture_logs():
            answer = await ann.post("/recipes/suggestions", IDEAS, headers=headers)
        assert answer.status_code == 502
        answer = await ann.post("/recipes/suggestions", IDEAS, headers=headers)
        assert answer.status_code == 200
