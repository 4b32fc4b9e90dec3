"""The cache: hits, single flight, drops, size limit."""

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
from cookcam.cache.memory import MemoryStore
from cookcam.errors import ServiceUnavailable
from cookcam.observability.metrics import Metrics


class Producer:
    """Produces a value after `seconds` and counts its calls."""

    def __init__(self, value: Any = "soup", seconds: float = 0) -> None:
        self.value = value
        self.seconds = seconds
        self.calls = 0
        self.failure: Exception | None = None

    async def __call__(self) -> Any:
        self.calls += 1
        await trio.sleep(self.seconds)
        if self.failure is not None:
            raise self.failure
        return self.value


@pytest.fixture
def cache() -> Cache:
    return Cache.of(Metrics())


async def test_value_is_produced_once(cache: Cache):
    producer = Producer({"a": [1, None, "é"]})
    for _ in range(3):
        assert await cache.get_or("recipes:item", "1", 60, producer) == {"a": [1, None, "é"]}
    assert producer.calls == 1
    await cache.get_or("recipes:item", "2", 60, producer)
    await cache.get_or("recipes", "item:1", 60, producer)
    assert producer.calls == 3


async def test_none_is_a_value(cache: Cache):
    producer = Producer(None)
    assert await cache.get_or("n", "k", 60, producer) is None
    assert await cache.get_or("n", "k", 60, producer) is None
    assert producer.calls == 1


async def test_callers_get_copies_and_fresh_values_equal_cached_ones(cache: Cache):
    producer = Producer({"id": UUID(int=7), "at": datetime(2026, 1, 2, tzinfo=UTC), "list": []})
    first = await cache.get_or("n", "k", 60, producer)
    assert first["id"] == str(UUID(int=7))
    first["list"].append("mine")
    second = await cache.get_or("n", "k", 60, producer)
    assert second == {**first, "list": []}


async def test_value_expires_after_its_time_to_live(autojump_clock: MockClock, cache: Cache):
    producer = Producer()
    await cache.get_or("n", "k", 10, producer)
    await trio.sleep(9.9)
    await cache.get_or("n", "k", 10, producer)
    assert producer.calls == 1
    await trio.sleep(0.2)
    await cache.get_or("n", "k", 10, producer)
    assert producer.calls == 2


async def test_dropped_value_is_produced_again(cache: Cache):
    producer = Producer()

    async def read(namespace: str, *keys: str) -> None:
        for key in keys:
            await cache.get_or(namespace, key, 60, producer)

    await read("a", "1", "2", "3")
    await read("b", "1")
    await cache.drop("a", "1", "2", "missing")
    await cache.drop("a")
    await read("a", "1", "2", "3")
    assert producer.calls == 6
    await cache.drop_all("a")
    await read("b", "1")
    assert producer.calls == 6
    await read("a", "1", "2", "3")
    assert producer.calls == 9


async def test_value_without_json_form_raises_type_error(cache: Cache):
    with pytest.raises(TypeError):
        await cache.get_or("n", "k", 60, Producer(object()))


async def test_hits_and_misses_are_counted(cache: Cache):
    await cache.get_or("n", "k", 60, Producer())
    await cache.get_or("n", "k", 60, Producer())
    text = cache.metrics.render().decode()
    assert 'cache_requests_total{namespace="n",result="miss"} 1.0' in text
    assert 'cache_requests_total{namespace="n",result="hit"} 1.0' in text


class TestSingleFlight:
    async def test_one_of_fifty_concurrent_callers_produces_the_value(
        self, autojump_clock: MockClock, cache: Cache
    ):
        producer = Producer(seconds=3)
        results: list[Any] = []

        async def read() -> None:
            results.append(await cache.get_or("n", "k", 60, producer))

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(read)
        assert results == ["soup"] * 50
        assert producer.calls == 1

    async def test_next_caller_produces_when_the_first_is_cancelled(
        self, autojump_clock: MockClock, cache: Cache
    ):
        producer = Producer(seconds=3)
        results: list[Any] = []

        async def read() -> None:
            results.append(await cache.get_or("n", "k", 60, producer))

        async with trio.open_nursery() as nursery:
            leader = await nursery.start(_cancellable, read)
            await wait_all_tasks_blocked()
            for _ in range(49):
                nursery.start_soon(read)
            await trio.sleep(2)
            leader.cancel()
        assert results == ["soup"] * 49
        assert producer.calls == 2

    async def test_cancelled_waiter_does_not_affect_the_others(
        self, autojump_clock: MockClock, cache: Cache
    ):
        producer = Producer(seconds=3)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.get_or, "n", "k", 60, producer)
            await wait_all_tasks_blocked()
            with trio.move_on_after(1) as scope:
                await cache.get_or("n", "k", 60, producer)
            assert scope.cancelled_caught
        assert await cache.get_or("n", "k", 60, producer) == "soup"
        assert producer.calls == 1

    async def test_failure_is_shared_and_not_cached(self, autojump_clock: MockClock, cache: Cache):
        producer = Producer(seconds=1)
        producer.failure = ServiceUnavailable()
        failed: list[Exception] = []

        async def read() -> None:
            try:
                await cache.get_or("n", "k", 60, producer)
            except ServiceUnavailable as error:
                failed.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(read)
        assert len(failed) == 10
        assert producer.calls == 1
        producer.failure = None
        assert await cache.get_or("n", "k", 60, producer) == "soup"

    @pytest.mark.parametrize("everything", [True, False])
    async def test_value_dropped_while_produced_is_not_cached(
        self, autojump_clock: MockClock, cache: Cache, everything: bool
    ):
        old = Producer("old", seconds=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(cache.get_or, "n", "k", 60, old)
            await wait_all_tasks_blocked()
            if everything:
                await cache.drop_all("n")
            else:
                await cache.drop("n", "k")
            assert await cache.get_or("n", "k", 60, Producer("new")) == "new"
        assert await cache.get_or("n", "k", 60, Producer("unused")) == "new"


async def _cancellable(
    run: Callable[[], Awaitable[None]], *, task_status: trio.TaskStatus[trio.CancelScope]
) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await run()


class TestMemory:
    async def test_size_is_limited_and_the_least_recently_used_is_evicted(self):
        store = MemoryStore(capacity=10_000, clock=lambda: 0.0)
        for n in range(100):
            await store.put("n", str(n), 0, b"x" * 700, 60)
            await store.get("n", "0")
        assert 5 < len(store) < 12
        assert (await store.get("n", "0")).value is not None
        assert (await store.get("n", "1")).value is None
        await store.put("n", "too large", 0, b"x" * 10_001, 60)
        assert (await store.get("n", "too large")).value is None
        assert (await store.get("n", "0")).value is not None

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
    def test_store_behaves_like_a_dictionary_with_expiry(
        self, steps: list[tuple[str, str, str, int]]
    ):
        async def run() -> None:
            now, model = 0.0, dict[tuple[str, str], tuple[bytes, float]]()
            store = MemoryStore(clock=lambda: now)
            for number, (step, namespace, key, amount) in enumerate(steps):
                if step == "put":
                    _, edition = await store.get(namespace, key)
                    await store.put(namespace, key, edition, b"%d" % number, amount)
                    model[namespace, key] = b"%d" % number, now + amount
                elif step == "drop":
                    await store.drop(namespace, key)
                    model.pop((namespace, key), None)
                elif step == "edition":
                    await store.new_edition(namespace)
                    model = {k: v for k, v in model.items() if k[0] != namespace}
                else:
                    now += amount
                for place in [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]:
                    value, ends = model.get(place, (None, 0.0))
                    found, _ = await store.get(*place)
                    assert found == (value if now < ends else None)

        trio.run(run)
