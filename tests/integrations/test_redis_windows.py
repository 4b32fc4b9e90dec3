"""Rate limits in a real Redis: the algorithm, several quotas at once, and an outage."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from cookcam.integrations import redis_windows
from cookcam.integrations.circuit_breaker import FAILURES_TO_OPEN, CircuitBreaker
from cookcam.integrations.pause import Backoff
from cookcam.integrations.redis import Redis
from cookcam.integrations.redis_windows import SCRIPT, RedisWindows
from cookcam.sliding_windows import Bucket, Quota, QuotaCounters
from tests.integrations.test_redis import until_answered
from tests.support.redis import RedisServer, redis_server

pytestmark = pytest.mark.external

QUOTA, OTHER = Quota("requests", 3, 100.0), Quota("uploads", 2, 50.0)


@define
class Instance:
    """The counters of one instance."""

    redis: Redis
    breaker: CircuitBreaker
    fallbacks: int = 0
    windows: RedisWindows = field(init=False)
    counters: QuotaCounters = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.windows = RedisWindows(self.redis, self.breaker, self._count)
        self.counters = QuotaCounters(self.windows)

    def _count(self) -> None:
        self.fallbacks += 1


@asynccontextmanager
async def instance(server: RedisServer) -> AsyncIterator[Instance]:
    async with Redis.open(server.url) as redis:
        opened = Instance(redis, CircuitBreaker("redis_limits", backoff=Backoff(0.05, 0.05)))
        await opened.windows.connect()
        yield opened


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    with redis_server() as server:
        await server.start()
        yield server


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timeout for a busy machine."""
    monkeypatch.setattr(redis_windows, "TIMEOUT", 5.0)


def test_script_agrees_with_the_algorithm_in_process() -> None:
    uses = st.lists(
        st.tuples(st.integers(0, 40), st.integers(1, 4), st.booleans()), min_size=1, max_size=40
    )

    @given(uses)
    @settings(max_examples=40, deadline=None)
    def check(uses: list[tuple[int, int, bool]]) -> None:
        trio.run(compare, uses)

    async def compare(uses: list[tuple[int, int, bool]]) -> None:
        async with Redis.open(server.url) as redis:
            await until_answered(redis)
            await redis.delete("window")
            now, buckets = 1000, {}
            for gap, limit, count in uses:
                now += gap
                bucket = buckets.setdefault("window", Bucket(limit, 100.0))
                bucket.limit = limit
                expected = bucket.hit("key", float(now), count=count)
                # Redis' clock is the only thing the test replaces.
                script = SCRIPT.replace("redis.call('TIME')", f"{{{now}, 0}}")
                allowed, used, reset, retry = await redis.run_script(
                    script, ["window"], [int(count), limit, 10_000_000]
                )
                assert bool(allowed) == expected.allowed
                assert max(0, limit - used) == expected.remaining
                assert math.ceil(reset / 1e6) == expected.reset
                retry_after = max(1, math.ceil(retry / 1e6)) if not allowed else 0
                assert retry_after == expected.retry_after

    with redis_server() as server:
        trio.run(server.start)
        check()


async def test_instances_count_together(server: RedisServer) -> None:
    async with instance(server) as one, instance(server) as two:
        states = [await each.counters.spend("ann", QUOTA) for each in (one, two, one, two)]
        assert [state.allowed for state in states] == [True, True, True, False]
        assert [state.remaining for state in states] == [2, 1, 0, 0]
        assert 90 <= states[3].retry_after <= 100
        assert (await two.counters.spend("ben", QUOTA)).allowed
        await one.counters.forget("ann", QUOTA)
        assert (await two.counters.spend("ann", QUOTA)).remaining == 2
        assert one.fallbacks == two.fallbacks == 0


async def test_concurrent_uses_never_pass_a_limit(server: RedisServer) -> None:
    async with instance(server) as one, instance(server) as two:
        allowed: list[bool] = []

        async def spend(counters: QuotaCounters) -> None:
            allowed.append((await counters.spend("ann", QUOTA)).allowed)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(spend, one.counters)
                nursery.start_soon(spend, two.counters)
        assert (allowed.count(True), len(allowed)) == (3, 40)


async def test_use_beyond_the_second_quota_is_counted_in_the_first_only(
    server: RedisServer,
) -> None:
    async with instance(server) as one:
        spend = partial(one.counters.spend, "ann")
        assert [(await spend(QUOTA, OTHER)).allowed for _ in range(2)] == [True, True]
        rejected = await spend(QUOTA, OTHER)
        assert (rejected.allowed, rejected.limit) == (False, OTHER.limit)
        rejected = await spend(QUOTA, OTHER)
        assert (rejected.allowed, rejected.limit) == (False, QUOTA.limit)


async def test_reading_a_quota_counts_nothing(server: RedisServer) -> None:
    async with instance(server) as one:
        for _ in range(5):
            assert (await one.counters.spend("ann", QUOTA, count=False)).remaining == 3
        assert b":0\r\n" in await server.ask("DBSIZE")


async def test_key_names_hold_no_address_and_expire(server: RedisServer) -> None:
    async with instance(server) as one:
        await one.counters.spend("ann@example.com", QUOTA)
        keys = await server.ask("KEYS *")
        assert b"cookcam:quota:" in keys
        assert b"ann" not in keys
        name = next(line for line in keys.split(b"\r\n") if line.startswith(b"cookcam"))
        left = int((await server.ask(f"PTTL {name.decode()}"))[1:].split()[0])
        assert 90_000 < left <= 100_000


async def test_cluster_counts_several_quotas_of_a_key(server: RedisServer) -> None:
    with redis_server(cluster=True) as cluster:
        await cluster.start()
        async with instance(cluster) as one:
            assert (await one.counters.spend("ann", QUOTA, OTHER)).remaining == 1
            assert one.fallbacks == 0


async def test_dead_redis_leaves_the_counts_of_the_process(server: RedisServer) -> None:
    async with instance(server) as one:
        await one.counters.spend("ann", QUOTA)
        server.kill()
        with capture_logs() as logs:
            states = [await one.counters.spend("ann", QUOTA) for _ in range(3 + FAILURES_TO_OPEN)]
        assert [state.allowed for state in states[:3]] == [True, True, False]
        assert one.fallbacks == len(states)
        assert not one.windows.available
        assert [line["event"] for line in logs].count(
            "redis is unavailable: each process counts rate limits for itself"
        ) == 1

        await server.start()
        with trio.fail_after(10):
            while not one.windows.available:
                await trio.sleep(0.05)
                await one.counters.spend("ben", QUOTA)


async def test_silent_redis_costs_its_timeout_a_few_times_and_then_none(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with instance(server) as one:
        one.breaker.backoff = Backoff(60, 60)
        await one.counters.spend("ann", QUOTA)
        monkeypatch.setattr(redis_windows, "TIMEOUT", 0.05)
        server.pause()
        for n in range(FAILURES_TO_OPEN):
            await one.counters.spend(f"key {n}", QUOTA)
        assert one.breaker.state == "open"
        monkeypatch.setattr(redis_windows, "TIMEOUT", 60.0)
        with trio.fail_after(5):
            assert (await one.counters.spend("ann", QUOTA)).allowed
        server.resume()
