"""The cache: kept, made once, dropped, bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from cookcam.cache import Cache
from cookcam.cache.memory import MemoryShelf
from cookcam.errors import ServiceUnavailable
from cookcam.observability.metrics import Metrics


class Kitchen:
    """Makes values, slowly if told so, and counts."""

    def __init__(self, value: Any = "soup", seconds: float = 0) -> None:
        self.value = value
        self.seconds = seconds
        self.made = 0
        self.failure: Exception | None = None

    async def __call__(self) -> Any:
        self.made += 1
        await trio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return self.value


@pytest.fixture
def cache() -> Cache:
    return Cache.of(Metrics())


async def test_a_value_is_made_once(cache: Cache):
    kitchen = Kitchen({"a": [1, None, "é"]})
    for _ in range(3):
        assert await cache.get_or("recipes:item", "1", 60, kitchen) == {"a": [1, None, "é"]}
    assert kitchen.made == 1
    await cache.get_or("recipes:item", "2", 60, kitchen)
    await cache.get_or("recipes", "item:1", 60, kitchen)
    assert kitchen.made == 3


async def test_none_is_a_value(cache: Cache):
    kitchen = Kitchen(None)
    assert await cache.get_or("n", "k", 60, kitchen) is None
    assert await cache.get_or("n", "k", 60, kitchen) is None
    assert kitchen.made == 1


async def test_everybody_has_a_copy_and_fresh_values_look_like_kept_ones(cache: Cache):
    kitchen = Kitchen({"id": UUID(int=7), "at": datetime(2026, 1, 2, tzinfo=UTC), "list": []})
    first = await cache.get_or("n", "k", 60, kitchen)
    assert first["id"] == str(UUID(int=7))
    first["list"].append("mine")
    second = await cache.get_or("n", "k", 60, kitchen)
    assert second == {**first, "list": []}


async def test_a_value_ends_with_its_time(autojump_clock: MockClock, cache: Cache):
    kitchen = Kitchen()
    await cache.get_or("n", "k", 10, kitchen)
    await trio.sleep(9.9)
    await cache.get_or("n", "k", 10, kitchen)
    assert kitchen.made == 1
    await trio.sleep(0.2)
    await cache.get_or("n", "k", 10, kitchen)
    assert kitchen.made == 2


async def test_what_is_dropped_is_made_again(cache: Cache):
    kitchen = Kitchen()

    async def ask(namespace: str, *keys: str) -> None:
        for key in keys:
            await cache.get_or(namespace, key, 60, kitchen)

    await ask("a", "1", "2", "3")
    await ask("b", "1")
    await cache.drop("a", "1", "2", "never there")
    await cache.drop("a")
    await ask("a", "1", "2", "3")
    assert kitchen.made == 6
    await cache.drop_all("a")
    await ask("b", "1")
    assert kitchen.made == 6
    await ask("a", "1", "2", "3")
    assert kitchen.made == 9


async def test_what_cannot_be_json_is_a_bug(cache: Cache):
    with pytest.raises(TypeError):
        await cache.get_or("n", "k", 60, Kitchen(object()))


async def test_counts(cache: Cache):
    await cache.get_or("n", "k", 60, Kitchen())
    await cache.get_or("n", "k", 60, Kitchen())
    text = cache.metrics.render().decode()
    assert 'cache_requests_total{namespace="n",result="miss"} 1.0' in text
    assert 'cache_requests_total{namespace="n",result="hit"} 1.0' in text


class TestSingleFlight:
    async def test_of_fifty_one_makes_it(self, autojump_clock: MockClock, cache: Cache):
        kitchen = Kitchen(seconds=3)
        results: list[Any] = []

        async def ask() -> None:
            results.append(await cache.get_or("n", "k", 60, kitchen))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(ask)
        assert results == ["soup"] * 50
        assert kitchen.made == 1

    async def test_a_cancelled_leader_is_followed_by_the_next(
        self, autojump_clock: MockClock, cache: Cache
    ):
        kitchen = Kitchen(seconds=3)
        results: list[Any] = []

        async def ask() -> None:
            results.append(await cache.get_or("n", "k", 60, kitchen))

        async with trio.open_nursery() as nursery:
            leader = await nursery.start(_cancellable, ask)
            await wait_all_tasks_blocked()
            for _ in range(49):
                nursery.start_soon(ask)
            await trio.sleep(2)
            leader.cancel()
        assert results == ["soup"] * 49
        assert kitchen.made == 2

    async def test_a_cancelled_follower_disturbs_nobody(
        self, autojump_clock: MockClock, cache: Cache
    ):
        kitchen = Kitchen(seconds=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.get_or, "n", "k", 60, kitchen)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await cache.get_or("n", "k", 60, kitchen)
            assert scope.cancelled_caught
        assert await cache.get_or("n", "k", 60, kitchen) == "soup"
        assert kitchen.made == 1

    async def test_all_share_a_failure_and_it_is_not_kept(
        self, autojump_clock: MockClock, cache: Cache
    ):
        kitchen = Kitchen(seconds=1)
        kitchen.failure = ServiceUnavailable()
        failed: list[Exception] = []

        async def ask() -> None:
            try:
                await cache.get_or("n", "k", 60, kitchen)
            except ServiceUnavailable as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert len(failed) == 10
        assert kitchen.made == 1
        kitchen.failure = None
        assert await cache.get_or("n", "k", 60, kitchen) == "soup"

    @pytest.mark.parametrize("everything", [True, False])
    async def test_what_was_dropped_on_its_way_is_not_kept(
        self, autojump_clock: MockClock, cache: Cache, everything: bool
    ):
        old = Kitchen("old", seconds=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.get_or, "n", "k", 60, old)
            await wait_all_tasks_blocked()
            if everything:
                await cache.drop_all("n")
            else:
                await cache.drop("n", "k")
            assert await cache.get_or("n", "k", 60, Kitchen("new")) == "new"
        assert await cache.get_or("n", "k", 60, Kitchen("unasked")) == "new"


async def _cancellable(
    run: Callable[[], Awaitable[None]], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await run()


class TestMemory:
    async def test_is_bounded_and_forgets_what_was_used_least(self):
        shelf = MemoryShelf(capacity=10_000, clock=lambda: 0.0)
        for n in range(100):
            await shelf.put("n", str(n), 0, b"x" * 700, 60)
            await shelf.take("n", "0")
        assert 5 < len(shelf) < 12
        assert (await shelf.take("n", "0")).value is not None
        assert (await shelf.take("n", "1")).value is None
        await shelf.put("n", "too large", 0, b"x" * 10_001, 60)
        assert (await shelf.take("n", "too large")).value is None
        assert (await shelf.take("n", "0")).value is not None

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["put", "drop", "edition", "wait"]),
                st.sampled_from("ab"),
                st.sampled_from("12"),
                st.integers(1, 5),
            ),
            max_size=40,
        )
    )
    def test_it_is_a_dictionary_with_time(self, steps: list[tuple[str, str, str, int]]):
        async def run() -> None:
            now, model = 0.0, dict[tuple[str, str], tuple[bytes, float]]()
            shelf = MemoryShelf(clock=lambda: now)
            for number, (step, namespace, key, amount) in enumerate(steps):
                if step == "put":
                    _, edition = await shelf.take(namespace, key)
                    await shelf.put(namespace, key, edition, b"%d" % number, amount)
                    model[namespace, key] = b"%d" % number, now + amount
                elif step == "drop":
                    await shelf.drop(namespace, key)
                    model.pop((namespace, key), None)
                elif step == "edition":
                    await shelf.new_edition(namespace)
                    model = {k: v for k, v in model.items() if k[0] != namespace}
                else:
                    now += amount
                for place in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]:
                    value, ends = model.get(place, (None, 0.0))
                    found, _ = await shelf.take(*place)
                    assert found == (value if now < ends else None)

        trio.run(run)
