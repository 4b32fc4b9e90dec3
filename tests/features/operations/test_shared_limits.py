"""Two running servers with one Redis: their limits hold in total, and go on without it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio

from cookcam.integrations import redis_windows
from tests.identity.project import open_project
from tests.support.live_clients import EVENT_TIMEOUT, LiveServer, run_live_server
from tests.support.redis import RedisServer, redis_server

pytestmark = pytest.mark.external

LIMIT = 6
Instances = tuple[LiveServer, LiveServer]


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    with redis_server() as server:
        await server.start()
        yield server


@pytest.fixture
async def instances(
    fresh_database_url: str, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Instances]:
    monkeypatch.setattr(redis_windows, "TIMEOUT", 2.0)  # for a busy machine
    environ = {
        "REDIS_URL": redis.url,
        "ENABLE_RATE_LIMITING": "true",
        "RATE_LIMIT_MAX_REQUESTS": str(LIMIT),
        "RATE_LIMIT_WINDOW_MS": "600000",
        "SOCKET_EVENTS_PER_SECOND": "3",
    }
    async with (
        open_project(fresh_database_url) as gotrue,
        run_live_server(fresh_database_url, gotrue, **environ) as one,
        run_live_server(fresh_database_url, gotrue, **environ) as two,
    ):
        yield one, two


async def statuses(instances: Instances, times: int, token: str | None = None) -> list[int]:
    """Statuses of requests to both instances in turn."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    path = "/auth/me" if token else "/subscription/tiers"
    responses = [
        await instances[n % 2].server.http.get(path, headers=headers) for n in range(times)
    ]
    return [response.status_code for response in responses]


async def metric(live: LiveServer, name: str) -> float:
    text = (await live.server.http.get(f"{live.server.url}/metrics")).text
    return float(next(line for line in text.splitlines() if line.startswith(f"{name} ")).split()[1])


async def test_limit_of_an_address_holds_over_both_instances(instances: Instances) -> None:
    assert await statuses(instances, LIMIT + 4) == [200] * LIMIT + [429] * 4
    response = await instances[1].server.http.get("/subscription/tiers")
    assert response.headers["ratelimit-remaining"] == "0"
    assert 500 < int(response.headers["retry-after"]) <= 600
    assert [await metric(live, "rate_limits_shared") for live in instances] == [1.0, 1.0]


async def test_users_of_one_address_have_a_quota_each(instances: Instances) -> None:
    one = instances[0]
    tokens = [one.gotrue.issue_token(await one.person(name)) for name in ("Ann", "Ben")]
    for token in tokens:
        # Each instance verifies the token on its first request, which counts for the address.
        assert await statuses(instances, LIMIT + 4, token) == [200] * (LIMIT + 2) + [429] * 2


async def test_paid_tier_has_a_multiple_of_the_quota(instances: Instances) -> None:
    one = instances[0]
    creator = await one.person("Cleo")
    await one.sql(
        "insert into public.user_subscriptions (user_id, tier_id, status, provider,"
        " current_period_start, current_period_end) values"
        " (%(user_id)s, 3, 'active', 'manual', now() - interval '1 day', now() + interval '1 day')",
        user_id=creator.id,
    )
    headers = {"Authorization": f"Bearer {one.gotrue.issue_token(creator)}"}
    await one.server.http.get("/auth/me", headers=headers)
    response = await one.server.http.get("/auth/me", headers=headers)
    assert response.headers["ratelimit-limit"] == str(50 * LIMIT)


async def test_limit_of_socket_events_holds_over_both_instances(instances: Instances) -> None:
    one, two = instances
    user = await one.person("Ann")
    devices = [await one.connect(user), await two.connect(user, plain=True)]
    for n in range(10):
        await devices[n % 2].send("leave_cooking_session", {"sessionId": "none"})
    rejected = [await device.expect("error") for device in devices]
    assert {error["code"] for error in rejected} == {"RATE_LIMIT_ERROR"}


async def test_requests_go_on_without_redis_and_are_limited_by_each_instance(
    instances: Instances, redis: RedisServer
) -> None:
    assert await statuses(instances, 2) == [200, 200]
    redis.kill()
    # Each instance goes on with what it has counted itself: one request.
    assert await statuses(instances, 2 * (LIMIT - 1)) == [200] * 2 * (LIMIT - 1)
    assert await statuses(instances, 2) == [429, 429]
    assert [await metric(live, "rate_limits_shared") for live in instances] == [0.0, 0.0]
    assert await metric(instances[0], "rate_limit_fallbacks_total") >= LIMIT
    health = (await instances[0].server.http.get("/health/detailed")).json()
    assert health["status"] == "degraded"

    await redis.start()
    with trio.fail_after(redis_windows.MAX_RETRY_DELAY + EVENT_TIMEOUT):
        while await metric(instances[0], "rate_limits_shared") != 1.0:
            await statuses(instances, 2)
            await trio.sleep(0.1)
