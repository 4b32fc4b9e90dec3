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
from cookcam.cache.shared import SharedShelf
from cookcam.errors import ServiceUnavailable
from cookcam.observability.metrics import Metrics
from cookcam.providers.redis import Redis
from tests.cache.test_cache import Kitchen
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
    """The caches of two instances, connected, with patience for a busy machine."""
    monkeypatch.setattr(shared_module, "PATIENCE", 5.0)
    async with Redis.open(redis.url) as one, Redis.open(redis.url) as other:
        await one.ping()
        await other.ping()
        yield Cache.of(Metrics(), one), Cache.of(Metrics(), other)


async def test_instances_share_values_and_drops(two: tuple[Cache, Cache], redis: RedisServer):
    here, there = two
    kitchen = Kitchen({"soup": None})
    assert await here.get_or("recipes:item", "1", 60, kitchen) == {"soup": None}
    assert await there.get_or("recipes:item", "1", 60, kitchen) == {"soup": None}
    assert kitchen.made == 1
    assert b'0 {"soup":null}' in await redis.ask("GET recipes:item:1")
    assert 0 < int((await redis.ask("TTL recipes:item:1"))[1:].split()[0]) <= 60

    await there.drop("recipes:item", "1")
    await here.get_or("recipes:item", "1", 60, kitchen)
    assert kitchen.made == 2
    await there.drop_all("recipes:item")
    await here.get_or("recipes:item", "1", 60, kitchen)
    assert kitchen.made == 3
    await there.get_or("recipes:item", "1", 60, kitchen)
    assert kitchen.made == 3


async def test_a_value_made_of_what_another_instance_dropped_is_not_kept(
    two: tuple[Cache, Cache],
):
    here, there = two

    async def slow() -> str:
        await there.drop_all("n")
        return "old"

    assert await here.get_or("n", "k", 60, slow) == "old"
    assert await here.get_or("n", "k", 60, Kitchen("new")) == "new"


async def test_what_somebody_else_wrote_there_does_no_harm(
    two: tuple[Cache, Cache], redis: RedisServer, monkeypatch: pytest.MonkeyPatch
):
    here, _ = two
    monkeypatch.setattr(shared_module, "LEAVE_ALONE", 0.05)
    await redis.ask("SET n:k rubbish")
    assert await here.get_or("n", "k", 60, Kitchen()) == "soup"
    await redis.ask("SET n:json '0 rubbish'")
    assert await here.get_or("n", "json", 60, Kitchen()) == "soup"
    assert await here.get_or("n", "json", 60, Kitchen("unasked")) == "soup"
    await redis.ask("SET m:edition rubbish")
    assert await here.get_or("m", "k", 60, Kitchen()) == "soup"
    await redis.ask("LPUSH l:k 1")
    await trio.sleep(shared_module.LEAVE_ALONE)
    assert await here.get_or("l", "k", 60, Kitchen()) == "soup"


async def test_killed_in_the_middle(
    redis: RedisServer, two: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
):
    here, there = two
    monkeypatch.setattr(shared_module, "LEAVE_ALONE", 0.1)
    kitchen = Kitchen("before")
    await here.get_or("n", "k", 60, kitchen)
    await there.get_or("n", "k", 60, kitchen)

    with structlog.testing.capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(_ask_many, here)
            redis.kill()
        kitchen.value = "away"
        await here.drop("n", "k")
        assert await here.get_or("n", "k", 60, kitchen) == "away"
        made = kitchen.made
        assert await here.get_or("n", "k", 60, kitchen) == "away"
        assert kitchen.made == made  # kept at home meanwhile
    assert [entry["event"] for entry in logs if "cache" in entry["event"]] == ["the cache is away"]

    await redis.start()
    await redis.ask("SET n:k '0 \"stale\"'")  # as if it had only been cut off
    kitchen.value = "back"
    with trio.fail_after(10):
        while await here.get_or("n", "k", 60, kitchen) != "back":
            await trio.sleep(0.05)
    assert await _seen(there, "n", "k", "back")
    made = kitchen.made
    await here.get_or("n", "k", 60, kitchen)
    assert kitchen.made == made  # what was owed was paid once


async def test_a_redis_that_hangs_costs_patience_once(
    redis: RedisServer, two: tuple[Cache, Cache], monkeypatch: pytest.MonkeyPatch
):
    here, _ = two
    monkeypatch.setattr(shared_module, "PATIENCE", 0.3)
    monkeypatch.setattr(shared_module, "LEAVE_ALONE", 60)
    await here.get_or("n", "k", 60, Kitchen("before"))
    assert redis._process is not None
    redis._process.send_signal(signal.SIGSTOP)
    with trio.fail_after(3):  # twenty times the patience would be six
        for n in range(20):
            assert await here.get_or("n", f"new {n}", 60, Kitchen()) == "soup"
    redis.kill()  # or closing would wait for it


async def test_values_stay_at_home_for_a_short_time_only(autojump_clock: Any):
    class Away:
        async def get(self, key: str) -> bytes | None:
            raise ServiceUnavailable

        async def set(self, key: str, value: bytes, seconds: int) -> None:
            raise ServiceUnavailable

        async def increment(self, key: str) -> int:
            raise ServiceUnavailable

        async def delete(self, *keys: str) -> None:
            raise ServiceUnavailable

    cache, kitchen = Cache(SharedShelf(Away()), Metrics()), Kitchen()
    await cache.get_or("n", "k", 3600, kitchen)
    await trio.sleep(shared_module.KEPT_AT_HOME - 1)
    await cache.get_or("n", "k", 3600, kitchen)
    assert kitchen.made == 1
    await trio.sleep(1.5)
    await cache.get_or("n", "k", 3600, kitchen)
    assert kitchen.made == 2


async def _ask_many(cache: Cache) -> None:
    for n in range(30):
        assert await cache.get_or("many", str(n), 60, Kitchen(n)) == n


async def _seen(cache: Cache, namespace: str, key: str, value: str) -> bool:
    with trio.fail_after(10):
        while await cache.get_or(namespace, key, 60, Kitchen(value)) != value:
            await trio.sleep(0.05)
    return True
