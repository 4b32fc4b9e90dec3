"""Streamed completions of the real client from the fake server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from cookcam.errors import AppError, RateLimited, ServiceAuthError, ServiceUnavailable
from cookcam.integrations.openai import (
    Finished,
    Item,
    ModelTimeout,
    OpenAI,
    Progress,
    Restarted,
    UnusableCompletion,
)
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.openai import FakeOpenAI, Fault, open_openai
from tests.integrations.openai_conversations import MODEL, open_model, request_options, samples
from tests.integrations.openai_shapes import Suggestion, Suggestions


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def fake() -> AsyncIterator[FakeOpenAI]:
    async with open_openai() as opened:
        yield opened


@pytest.fixture
async def model(fake: FakeOpenAI, metrics: Metrics) -> AsyncIterator[OpenAI]:
    async with open_model(fake, metrics) as opened:
        yield opened


async def collected(model: OpenAI, **changes: Any) -> list[Any]:
    """The events of a stream, without progress."""
    async with model.stream(Suggestions, items="recipes", **request_options(**changes)) as events:
        return [event async for event in events if not isinstance(event, Progress)]


async def test_items_arrive_one_by_one_before_the_whole_value(model: OpenAI, metrics: Metrics):
    *items, last = await collected(model)
    assert isinstance(last, Finished)
    assert items == [Item(n, recipe) for n, recipe in enumerate(last.value.recipes)]
    assert last.value == await model.complete(Suggestions, **request_options())
    assert samples(metrics, "model_requests_total") == {(MODEL, "suggestions", "ok"): 2}
    counted = samples(metrics, "model_tokens_total")
    assert all(tokens % 2 == 0 for tokens in counted.values())  # streamed and whole alike


async def test_item_arrives_before_the_end(
    autojump_clock: MockClock, model: OpenAI, fake: FakeOpenAI
):
    fake.behaviour.chunk_delay = 0.1
    outcomes: list[tuple[str, str]] = []
    characters: list[int] = []
    async with model.stream(Suggestions, items="recipes", **request_options()) as events:
        async for event in events:
            if isinstance(event, Progress):
                characters.append(event.characters)
            else:
                outcomes.append((type(event).__name__, fake.received[0].outcome))
    assert outcomes[0] == ("Item", "open")
    assert outcomes[1] == ("Item", "open")
    assert outcomes[-1] == ("Finished", "answered")
    assert len(characters) > 5
    assert characters == sorted(characters)


async def test_leaving_the_block_ends_the_request(
    autojump_clock: MockClock, model: OpenAI, fake: FakeOpenAI
):
    fake.behaviour.chunk_delay = 1
    async with model.stream(Suggestions, items="recipes", **request_options(seconds=500)) as events:
        async for event in events:
            if isinstance(event, Item):
                break
    with trio.fail_after(0.1):
        await fake.received[0].ended()
    assert fake.received[0].outcome == "disconnected"


async def test_cancelling_the_listener_ends_the_request(
    autojump_clock: MockClock, model: OpenAI, fake: FakeOpenAI, metrics: Metrics
):
    fake.behaviour.chunk_delay = 1
    with trio.CancelScope() as scope:
        async with model.stream(
            Suggestions, items="recipes", **request_options(seconds=500)
        ) as events:
            async for event in events:
                if isinstance(event, Item):
                    scope.cancel()
    assert scope.cancelled_caught
    with trio.fail_after(0.1):
        await fake.received[0].ended()
    assert fake.received[0].outcome == "disconnected"
    assert samples(metrics, "model_requests_total") == {(MODEL, "suggestions", "cancelled"): 1}


@pytest.mark.parametrize("busy", [False, True])
async def test_the_deadline_covers_the_listener_too(
    autojump_clock: MockClock, model: OpenAI, fake: FakeOpenAI, busy: bool
):
    fake.behaviour.chunk_delay = 0 if busy else 10
    began = trio.current_time()

    async def listen() -> None:
        async with model.stream(
            Suggestions, items="recipes", **request_options(seconds=50)
        ) as events:
            async for event in events:
                if isinstance(event, Item) and busy:
                    await trio.sleep_forever()

    with pytest.raises(ModelTimeout):
        await listen()
    assert trio.current_time() - began == pytest.approx(50)


async def test_lost_connection_is_retried(
    autojump_clock: MockClock, model: OpenAI, fake: FakeOpenAI
):
    fake.behaviour.fault = Fault("cut", times=1)
    events = await collected(model)
    again = events.index(Restarted())
    assert [event.index for event in events[:again]] == [0]
    assert [event.index for event in events[again + 1 : -1]] == [0, 1, 2]
    assert isinstance(events[-1], Finished)


@pytest.mark.parametrize(
    "kind", ["garbage", "wrong_shape", "wrong_count", "refusal", "truncated", "filtered"]
)
async def test_unusable_completion_restarts_once(model: OpenAI, fake: FakeOpenAI, kind: Any):
    fake.behaviour.fault = Fault(kind, times=1)
    events = await collected(model)
    assert Restarted() in events
    assert isinstance(events[-1], Finished)
    fake.behaviour.fault = Fault(kind)
    with pytest.raises(UnusableCompletion):
        await collected(model)
    assert len(fake.received) == 4


async def test_rejected_item_is_not_yielded(
    autojump_clock: MockClock, model: OpenAI, fake: FakeOpenAI
):
    fake.behaviour.chunk_delay = 0.01
    seen: list[str] = []

    def reject_the_second(item: Suggestion) -> None:
        seen.append(item.title)
        if len(seen) == 2:
            raise ValueError("disliked")

    *_, last = events = await collected(model, check_item=reject_the_second)
    assert [getattr(event, "index", "restarted") for event in events[:-1]] == [
        0,
        "restarted",
        0,
        1,
        2,
    ]
    assert isinstance(last, Finished)
    await fake.received[0].ended()
    assert fake.received[0].outcome == "disconnected"  # what is left of it is not paid for


@pytest.mark.parametrize(
    ("status", "error"),
    [(429, RateLimited), (500, ServiceUnavailable), (401, ServiceAuthError)],
)
async def test_statuses_of_openai_map_to_app_errors(
    autojump_clock: MockClock,
    model: OpenAI,
    fake: FakeOpenAI,
    status: int,
    error: type[AppError],
):
    fake.behaviour.fault = Fault("status", status=status)
    with pytest.raises(error):
        await collected(model)


async def test_unknown_list_is_a_type_error(model: OpenAI):
    with pytest.raises(TypeError):
        async with model.stream(Suggestions, items="dishes", **request_options()):
            pass


async def test_errors_of_the_listener_are_not_converted(model: OpenAI, fake: FakeOpenAI):
    async def listen() -> None:
        async with model.stream(Suggestions, items="recipes", **request_options()) as events:
            async for _ in events:
                raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await listen()
    assert len(fake.received) == 1
