"""The Redis client against a real server: there, away, killed, silent, and as a cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from cookcam.errors import ServiceUnavailable
from cookcam.integrations.redis import CALL_TIMEOUT, MAX_CONNECTIONS, Redis
from tests.support.ports import free_ports
from tests.support.redis import RedisServer, redis_server


@pytest.fixture
async def server() -> AsyncIterator[RedisServer]:
    with redis_server() as server:
        await server.start()
        yield server


async def until_answered(redis: Redis) -> None:
    with trio.fail_after(10):
        while True:
            try:
                return await redis.ping()
            except ServiceUnavailable:
                await trio.sleep(0.02)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1",
        "redis://",
        "redis://127.0.0.1:99999",
        "redis://127.0.0.1/zero",
        "redis://127.0.0.1:6379,127.0.0.1:6380",
        "redis+cluster://127.0.0.1:6379/1",
        "redis+cluster://127.0.0.1:6379,",
        "redis://:hush/hush@127.0.0.1:6379/0",
    ],
)
async def test_unsupported_url_is_rejected_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"Redis|cluster") as rejected:
        async with Redis.open(url):
            pass
    assert "hush" not in str(rejected.value)


@pytest.mark.parametrize("cluster", [False, True], ids=["server", "cluster"])
async def test_keys_and_messages(cluster: bool) -> None:
    with redis_server(cluster=cluster) as server:
        await server.start()
        async with Redis.open(server.url) as redis:
            await redis.set("a", b"\x00\xff", 60)
            await redis.set("b", b"2", 60)
            assert (await redis.get("a"), await redis.get("none")) == (b"\x00\xff", None)
            assert [await redis.increment("n"), await redis.increment("n")] == [1, 2]
            await redis.delete("a", "b", "none")
            await redis.delete()
            assert (await redis.get("a"), await redis.get("b")) == (None, None)
            async with redis.subscribe("news") as messages:
                await redis.publish("news", b"x" * 100_000)
                await redis.publish("other", b"not for us")
                await redis.publish("news", b"more")
                assert [len(await anext(messages)), await anext(messages)] == [100_000, b"more"]


async def test_key_expires_after_its_seconds(server: RedisServer) -> None:
    async with Redis.open(server.url) as redis:
        await redis.set("a", b"1", 3600)
        assert b":3600\r\n" in await server.ask("TTL a")


async def test_passwords_and_database_numbers_are_in_the_address(server: RedisServer) -> None:
    await server.ask("ACL SETUSER ann on >p:s/s ~* +@all")
    host = f"127.0.0.1:{server.port}"
    async with Redis.open(f"redis://ann:p%3As%2Fs@{host}/3") as redis:
        await redis.set("a", b"1", 60)
    async with Redis.open(f"redis://{host}/0") as redis:
        assert await redis.get("a") is None
    async with Redis.open(f"redis://ann:wrong@{host}") as redis:
        with pytest.raises(ServiceUnavailable):
            await redis.ping()


@pytest.mark.parametrize("scheme", ["redis", "redis+cluster"])
async def test_client_opens_while_redis_is_unavailable_and_connects_later(scheme: str) -> None:
    with redis_server(cluster=False) as server:
        async with Redis.open(f"{scheme}://127.0.0.1:{server.port}") as redis:
            for _ in range(3):
                with pytest.raises(ServiceUnavailable):
                    await redis.get("a")
            with pytest.raises(ServiceUnavailable):
                async with redis.subscribe("news"):
                    pytest.fail("there is nothing to subscribe to")
            if scheme == "redis":
                await server.start()
                await until_answered(redis)


async def test_command_error_keeps_the_connection(server: RedisServer) -> None:
    await server.ask("LPUSH list 1")
    async with Redis.open(server.url) as redis:
        await redis.ping()
        before = await server.connections_received()
        for _ in range(3):
            with pytest.raises(ServiceUnavailable):
                await redis.get("list")
        await redis.ping()
        assert await server.connections_received() == before


async def test_restarted_server_is_reconnected_with_backoff(server: RedisServer) -> None:
    """A hundred callers who never stop asking: what they cost a server that comes back."""
    answered = 0

    async def ask_forever(redis: Redis) -> None:
        nonlocal answered
        while True:
            try:
                await redis.get("a")
                answered += 1
            except ServiceUnavailable:
                pass
            await trio.sleep(0.05)

    async with Redis.open(server.url) as redis, trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(ask_forever, redis)
        with trio.fail_after(10):
            while answered < 300:
                await trio.sleep(0.01)
        server.kill()
        await trio.sleep(1)
        answered = 0
        await server.start()
        with trio.fail_after(10):
            while answered < 300:
                await trio.sleep(0.01)
        assert await server.connections_received() == MAX_CONNECTIONS
        nursery.cancel_scope.cancel()


async def test_hanging_server_times_out(server: RedisServer) -> None:
    async with Redis.open(server.url) as redis:
        await redis.ping()
        server.pause()
        with trio.fail_after(CALL_TIMEOUT * 2), pytest.raises(ServiceUnavailable):
            await redis.get("a")
        with trio.fail_after(CALL_TIMEOUT * 0.8), pytest.raises(ServiceUnavailable):
            await redis.get("a")
        server.resume()
        await until_answered(redis)


async def test_rejected_connection_is_unavailable(autojump_clock: trio.testing.MockClock) -> None:
    (port,) = free_ports(1)
    async with Redis.open(f"redis://127.0.0.1:{port}") as redis:
        with pytest.raises(ServiceUnavailable):
            await redis.ping()


async def test_cancelled_callers_leave_the_client_usable(server: RedisServer) -> None:
    async with Redis.open(server.url) as redis:
        for delay in [0, 0.0005, 0.001, 0.002, 0.005] * 10:
            with trio.move_on_after(delay):
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(redis.get, "a")
        await redis.ping()
        assert await server.connections_received() <= 3


async def test_lost_server_raises_in_the_subscriber(server: RedisServer) -> None:
    async def listen(redis: Redis) -> None:
        async with redis.subscribe("news") as messages:
            server.kill()
            async for _ in messages:
                pytest.fail("nothing was said")

    async with Redis.open(server.url) as redis:
        with trio.fail_after(30), pytest.raises(ServiceUnavailable):
            await listen(redis)


async def test_error_of_the_subscriber_is_raised_unchanged(server: RedisServer) -> None:
    async with Redis.open(server.url) as redis:
        with pytest.raises(ZeroDivisionError):
            async with redis.subscribe("news"):
                raise ZeroDivisionError
