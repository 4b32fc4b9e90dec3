"""The probes, in memory; the database they ask is a function of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio
from attrs import define, field

from cookcam.config import Config, load
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.health.models import ServiceHealthResponse
from cookcam.features.operations.health.routes import routes
from cookcam.features.operations.health.service import Health
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.observability.metrics import Metrics
from tests.http.client import Client
from tests.support.environments import DEVELOPMENT

KEY = "k" * 32


@define(eq=False)
class Parts:
    """What the probes look at, for a test to change."""

    lifecycle: Lifecycle = field(factory=Lifecycle)
    response: Callable[[], Any] = field(default=trio.lowlevel.checkpoint)
    asked: int = 0
    waiting: list[str] = field(factory=list[str])
    asked_for_migrations: int = 0
    migrations_take: float = 0.0
    external: ServiceHealthResponse | None = None
    bus_connected: bool = True

    async def ping(self) -> None:
        self.asked += 1
        await self.response()

    async def pending(self) -> list[str]:
        self.asked_for_migrations += 1
        await trio.sleep(self.migrations_take)
        return self.waiting

    def connected_users(self) -> int:
        return 2

    def connections(self) -> int:
        return 3


@pytest.fixture
def config() -> Config:
    return load({**DEVELOPMENT, "INTERNAL_API_KEY": KEY, "GIT_COMMIT_SHA": "abc"})


@pytest.fixture
def parts() -> Parts:
    return Parts()


@pytest.fixture
def client(config: Config, parts: Parts, nursery: trio.Nursery) -> Client:
    parts.lifecycle.enter(Phase.SERVING)
    return serve(config, parts, parts, nursery)


def serve(config: Config, parts: Parts, realtime: Parts | None, nursery: trio.Nursery) -> Client:
    health = Health(
        config,
        parts.lifecycle,
        parts.ping,
        parts.pending,
        realtime,
        lambda: 1,
        bus_connected=lambda: parts.bus_connected,
        external_apis=lambda: parts.external,
    )
    nursery.start_soon(health.run)
    limits = RateLimits.of(config.limits)
    app = create_app(config, [routes(health, Metrics().render)], limits=limits)
    return Client(Edge(app, config, limits=limits))


async def test_health_says_what_is_running(client: Client, config: Config) -> None:
    reply = await client.get("/health")
    body = reply.json()
    assert reply.status == 200
    assert body.pop("timestamp").endswith("Z")
    assert body == {
        "status": "healthy",
        "environment": "development",
        "version": config.server.version,
        "release": "cookcam-api@abc",
        "uptime": 0,
        "websocket": {
            "connected_users": 2,
            "connections": 3,
            "cooking_sessions": 1,
            "status": "active",
        },
    }


async def test_the_versioned_health_says_nothing_of_sockets(client: Client) -> None:
    assert "websocket" not in (await client.get("/api/v1/health")).json()


async def test_health_tells_of_the_drain(client: Client, parts: Parts) -> None:
    parts.lifecycle.enter(Phase.NOTICE)
    body = (await client.get("/health")).json()
    assert (body["draining"], body["websocket"]["status"]) == (True, "draining")
    assert (await client.get("/health/live")).json() == {"alive": True}


async def test_without_sockets_health_says_so(
    config: Config, parts: Parts, nursery: trio.Nursery
) -> None:
    body = (await serve(config, parts, None, nursery).get("/health")).json()
    none = {"connected_users": 0, "connections": 0, "cooking_sessions": 0}
    assert body["websocket"] == {**none, "status": "disabled"}


async def test_liveness_and_health_ask_nobody(client: Client, parts: Parts) -> None:
    for path in ("/health", "/health/live", "/api/v1/health/live"):
        reply = await client.get(path)
        assert reply.status == 200
        assert "etag" not in reply.headers
    assert parts.asked == 0


@pytest.mark.parametrize("path", ["/health/ready", "/api/v1/health/ready"])
async def test_ready(client: Client, path: str) -> None:
    reply = await client.get(path)
    assert (reply.status, reply.json()) == (200, {"ready": True})


async def test_not_ready_from_the_first_moment_of_shutdown(client: Client, parts: Parts) -> None:
    assert (await client.get("/health/ready")).status == 200
    parts.lifecycle.enter(Phase.NOTICE)
    reply = await client.get("/health/ready")
    assert (reply.status, reply.json()) == (503, {"ready": False, "draining": True})


async def test_not_ready_while_the_database_does_not_answer(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    async def down() -> None:
        raise ServiceUnavailable("postgresql://user:password@host refused")

    parts.response = down
    reply = await client.get("/health/ready")
    assert reply.status == 503
    assert reply.json() == {
        "ready": False,
        "services": {"database": {"status": "down", "error": "SERVICE_UNAVAILABLE"}},
    }
    parts.response = trio.lowlevel.checkpoint
    await trio.sleep(1)
    assert (await client.get("/health/ready")).status == 200


async def test_the_database_gets_two_seconds(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    parts.response = trio.sleep_forever
    started = trio.current_time()
    reply = await client.get("/health/ready")
    assert trio.current_time() - started == pytest.approx(2.0)
    assert reply.json()["services"]["database"] == {"status": "down", "error": "TIMEOUT"}


async def test_readiness_takes_two_seconds_when_a_stalled_check_takes_longer_to_clean_up(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    """As the cancellation of a statement does while PostgreSQL does not answer."""

    async def stalled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    parts.response = stalled
    for _ in range(3):
        started = trio.current_time()
        reply = await client.get("/health/ready")
        assert trio.current_time() - started == pytest.approx(2.0)
        assert reply.json()["services"]["database"] == {"status": "down", "error": "TIMEOUT"}
    parts.response = trio.lowlevel.checkpoint
    await trio.sleep(6)
    assert (await client.get("/health/ready")).status == 200


async def test_readiness_takes_two_seconds_for_database_and_migrations_together(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    async def slow() -> None:
        await trio.sleep(1.5)

    parts.response = slow
    parts.migrations_take = 1.5
    started = trio.current_time()
    assert (await client.get("/health/ready")).status == 503
    assert trio.current_time() - started == pytest.approx(2.0)


async def test_not_ready_before_the_bus_was_joined(client: Client, parts: Parts) -> None:
    parts.bus_connected = False
    reply = await client.get("/health/ready")
    assert reply.status == 503
    assert reply.json()["services"]["bus"] == {"status": "down", "error": "NOT_JOINED"}
    parts.bus_connected = True
    assert (await client.get("/health/ready")).status == 200


async def test_a_bus_that_is_lost_degrades_and_leaves_the_instance_ready(
    client: Client, parts: Parts
) -> None:
    assert (await client.get("/health/ready")).status == 200
    parts.bus_connected = False
    assert (await client.get("/health/ready")).status == 200
    detailed = (await client.get("/health/detailed", x_api_key=KEY)).json()
    assert detailed["services"]["bus"] == {"status": "degraded", "error": "LOST"}


async def test_the_database_is_asked_once_a_second_however_many_ask(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    async def thoughtful() -> None:
        await trio.sleep(0.5)

    parts.response = thoughtful
    statuses: list[int] = []

    async def ask() -> None:
        statuses.append((await client.get("/health/ready")).status)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(ask)
    assert (statuses, parts.asked) == ([200] * 50, 1)
    await trio.sleep(0.9)
    await ask()
    assert parts.asked == 1
    await trio.sleep(0.2)
    await ask()
    assert parts.asked == 2


async def test_a_probe_whose_client_left_does_not_hold_up_the_next(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    parts.response = trio.sleep_forever
    with trio.move_on_after(0.5):
        await client.get("/health/ready")
    parts.response = trio.lowlevel.checkpoint
    started = trio.current_time()
    assert (await client.get("/health/ready")).status == 503  # of the check that still ran
    assert trio.current_time() - started == pytest.approx(1.5)
    await trio.sleep(1)
    assert (await client.get("/health/ready")).status == 200


async def test_not_ready_until_the_migrations_are_applied(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    parts.waiting = ["20250601000200_recipes"]
    reply = await client.get("/health/ready")
    assert reply.status == 503
    assert reply.json()["services"]["migrations"] == {
        "status": "down",
        "error": "MIGRATIONS_PENDING",
    }
    parts.waiting = []
    await trio.sleep(1)
    assert (await client.get("/health/ready")).status == 200
    asked = parts.asked_for_migrations
    await trio.sleep(5)
    await client.get("/health/ready")
    assert parts.asked_for_migrations == asked, "once applied they stay applied"


INSIDE = ["/health/detailed", "/health/db", "/metrics", "/api/v1/health/detailed"]


@pytest.mark.parametrize("path", INSIDE)
async def test_the_inside_is_for_key_holders_and_this_machine(
    config: Config, parts: Parts, path: str, nursery: trio.Nursery
) -> None:
    client = serve(config, parts, parts, nursery)
    refused = await client.get(path)
    assert (refused.status, refused.json()["error"]) == (401, "Invalid API key")
    assert (await client.get(path, x_api_key="x" * 32)).status == 401
    assert (await client.get(path, x_api_key=KEY)).status == 200
    for loopback in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
        assert (await Client(client.app, peer=loopback).get(path)).status == 200
    local = Client(client.app, peer="127.0.0.1")
    for forwarding in (
        *("x_forwarded_for", "x_forwarded_proto", "x_forwarded_host", "x_forwarded", "x_real_ip"),
        *("x_client_ip", "cf_connecting_ip", "cf_ray", "true_client_ip", "forwarded", "via"),
        *("x_original_forwarded_for", "fly_client_ip", "fastly_client_ip", "x_amzn_trace_id"),
    ):
        response = await local.get(path, **{forwarding: "127.0.0.1"})
        assert response.status == 401, forwarding
    assert (await local.get(path, x_api_key="wrong")).status == 401


async def test_without_a_key_no_key_opens_the_inside(parts: Parts, nursery: trio.Nursery) -> None:
    client = serve(load(DEVELOPMENT), parts, parts, nursery)
    assert (await client.get("/metrics", x_api_key="")).status == 401
    assert (await client.get("/metrics", x_api_key="None")).status == 401


async def test_details_are_measured(client: Client, parts: Parts) -> None:
    body = (await client.get("/health/detailed", x_api_key=KEY)).json()
    assert body["status"] == "healthy"
    assert body["services"]["database"]["status"] == "up"
    assert body["services"].keys() == {"database", "bus"}
    system = body["system"]
    assert system["cpu"]["count"] >= 1
    assert 0 < system["disk"]["used"] < system["disk"]["total"]
    assert 0 < system["memory"]["percentage"] <= 100


async def test_a_slow_database_is_degraded_and_a_dead_one_unhealthy(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    async def slow() -> None:
        await trio.sleep(1.5)

    async def dead() -> None:
        raise ConnectionError

    parts.response = slow
    reply = await client.get("/health/detailed", x_api_key=KEY)
    assert (reply.status, reply.json()["status"]) == (200, "degraded")
    assert reply.json()["services"]["database"] == {"status": "degraded", "latency": 1500}
    parts.response = dead
    await trio.sleep(2)
    reply = await client.get("/health/detailed", x_api_key=KEY)
    assert (reply.status, reply.json()["status"]) == (503, "unhealthy")
    reply = await client.get("/health/db", x_api_key=KEY)
    assert (reply.status, reply.json()) == (503, {"status": "down", "error": "ERROR"})


@pytest.mark.parametrize("state", ["up", "degraded"])
async def test_services_of_others_are_told_from_memory_and_degrade_at_worst(
    config: Config, parts: Parts, state: Any, nursery: trio.Nursery
) -> None:
    parts.external = ServiceHealthResponse(state, latency=7, age=31)
    reply = await serve(config, parts, parts, nursery).get("/health/detailed", x_api_key=KEY)
    assert reply.status == 200
    assert reply.json()["services"]["external_apis"] == {"status": state, "latency": 7, "age": 31}
    assert reply.json()["status"] == {"up": "healthy", "degraded": "degraded"}[state]


async def test_metrics_are_prometheus_text(client: Client) -> None:
    reply = await client.get("/metrics", x_api_key=KEY)
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert b"http_requests_in_flight" in reply.body


@pytest.mark.parametrize("path", ["/health/cache", "/health/security", "/health/metrics"])
async def test_what_is_not_measured_is_not_served(client: Client, path: str) -> None:
    assert (await client.get(path, x_api_key=KEY)).status == 404
