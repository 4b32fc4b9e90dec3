"""The cache in a real Redis, which is killed, stopped and started again."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest
import structlog
import trio

from cookcam.cache import Cache
from cookcam.cache import shared as shared_module
from cookcam.cache.shared import RedisStore
from cookcam.errors import ServiceUnavailable
from cookcam.integrations import redis_attempts
from cookcam.integrations.redis import Redis
from cookcam.observability.metrics import Metrics
from tests.cache.test_cache import Producer
from tests.support.redis import RedisServer, redis_server

pytestmark = pytest.mark.external


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    with redis_server() as server:
        await server.start()
        yield server


@pytest.fixture
async def two(
    redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Cache, Cache]]:
    """The caches of two instances, connected, with a long timeout for a busy machine."""
    monkeypatch.setattr(redis_attempts, "REDIS_TIMEOUT", 5.0)
    async with Redis.open(redis.url) as one, Redis.open(redis.url) as other:
        await one.ping()
        await other.ping()
        yield Cache.of(Metrics(), one), Cache.of(Metrics(), other)


async def test_instances_share_values_and_drops(two: tuple[Cache, Cache], redis: RedisServer):
    here, there = two
    producer = Producer({"soup": None})
    assert await here.get_or("recipes:item", "1", 60, producer) == {"soup": None}
    assert await there.get_or("recipes:item", "1", 60, producer) == {"soup": None}
    assert producer.calls == 1
    assert b'0 {"soup":null}' in await redis.ask("GET recipes:item:1")
    assert 0 < int((await redis.ask("TTL recipes:item:1"))[1:].split()[0]) <= 60

    await there.drop("recipes:item", "1")
    await here.get_or("recipes:item", "1", 60, producer)
    assert producer.calls == 2
    await there.drop_all("recipes:item")
    await here.get_or("recipes:item", "1", 60, producer)
    assert producer.calls == 3
    await there.get_or("recipes:item", "1", 60, producer)
    assert producer.calls == 3


async def test_value_produced_from_data_dropped_by_another_instance_is_not_cached(
    two: tuple[Cache, Cache],
):
    here, there = two

    async def slow() -> str:
        await there.drop_all("n")
        return "old"

    assert await here.get_or("n", "k", 60, slow) == "old"
    assert await here.get_or("n", "k", 60, Producer("new")) == "new"


async def test_foreign_data_under_the_keys_is_ignored(
    two: tuple[Cache, Cache], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    here, _ = two
    monkeypatch.setattr(redis_attempts, "RETRY_DELAY", 0.05)
    await redis.ask("SET n:k rubbish")
    assert await here.get_or("n", "k", 60, Producer()) == "soup"
    await redis.ask("SET n:json '0 rubbish'")
    assert await here.get_or("n", "json", 60, Producer()) == "soup"
    assert await here.get_or("n", "json", 60, Producer("unused")) == "soup"
    await redis.ask("SET m:edition rubbish")
    assert await here.get_or("m", "k", 60, Producer()) == "soup"
    await redis.ask("LPUSH l:k 1")
    await trio.sleep(redis_attempts.RETRY_DELAY)
    assert await here.get_or("l", "k", 60, Producer()) == "soup"


async def test_redis_killed_under_load_falls_back_to_memory(
    redis: RedisServer, two: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
):
    here, there = two
    monkeypatch.setattr(redis_attempts, "RETRY_DELAY", 0.1)
    producer = Producer("before")
    await here.get_or("n", "k", 60, producer)
    await there.get_or("n", "k", 60, producer)

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(_read_many, here)
            redis.kill()
        producer.value = "away"
        await here.drop("n", "k")
        assert await here.get_or("n", "k", 60, producer) == "away"
        calls_before = producer.calls
        assert await here.get_or("n", "k", 60, producer) == "away"
        assert producer.calls == calls_before  # cached in the fallback
    assert [entry["event"] for entry in logs if "redis is" in entry["event"]] == [
        "redis is unavailable"
    ]

    await redis.start()
    await redis.ask("SET n:k '0 \"stale\"'")  # as after a network partition
    producer.value = "back"
    with trio.fail_after(10):
        while await here.get_or("n", "k", 60, producer) != "back":
            await trio.sleep(0.05)
    assert await _converges_to(there, "n", "k", "back")
    calls_before = producer.calls
    await here.get_or("n", "k", 60, producer)
    assert producer.calls == calls_before  # the pending invalidation was applied once


async def test_hanging_redis_costs_one_timeout(
    redis: RedisServer, two: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
):
    here, _ = two
    monkeypatch.setattr(redis_attempts, "REDIS_TIMEOUT", 0.3)
    monkeypatch.setattr(redis_attempts, "RETRY_DELAY", 60)
    await here.get_or("n", "k", 60, Producer("before"))
    assert redis._process is not None
    redis._process.send_signal(signal.SIGSTOP)
    with trio.fail_after(20 * 0.3):  # less than twenty timeouts
        for n in range(20):
            assert await here.get_or("n", f"new {n}", 60, Producer()) == "soup"
    redis.kill()  # or closing would wait for it


async def test_fallback_values_expire_soon(autojump_clock: Any):
    class UnavailableRedis:
        async def get(self, key: str) -> bytes | None:
            raise ServiceUnavailable

        async def set(self, key: str, value: bytes, seconds: int) -> None:
            raise ServiceUnavailable

        async def increment(self, key: str) -> int:
            raise ServiceUnavailable

        async def delete(self, *keys: str) -> None:
            raise ServiceUnavailable

    cache, producer = Cache(RedisStore(UnavailableRedis()), Metrics()), Producer()
    await cache.get_or("n", "k", 3600, producer)
    await trio.sleep(shared_module.FALLBACK_TTL - 1)
    await cache.get_or("n", "k", 3600, producer)
    assert producer.calls == 1
    await trio.sleep(1.5)
    await cache.get_or("n", "k", 3600, producer)
    assert producer.calls == 2


async def _read_many(cache: Cache) -> None:
    for n in range(30):
        assert await cache.get_or("many", str(n), 60, Producer(n)) == n


async def _converges_to(cache: Cache, namespace: str, key: str, value: str) -> bool:
    with trio.fail_after(10):
        while await cache.get_or(namespace, key, 60, Producer(value)) != value:
            await trio.sleep(0.05)
    return True
