"""The probes, in memory; the database they ask is a function of the test."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
from attrs import define, field, frozen

from cookcam.config import Config, load
from cookcam.database.pool_stats import SlowStatement
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.health.figures import Figures
from cookcam.features.operations.health.models import ServiceHealthResponse
from cookcam.features.operations.health.routes import routes
from cookcam.features.operations.health.service import Health
from cookcam.features.operations.security.models import SecurityFigures
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.lifecycle.state import Lifecycle, Phase
from cookcam.observability.metrics import Metrics, RecentCounts
from tests.http.client import Client
from tests.support.environments import DEVELOPMENT

KEY = "k" * 32


@define(eq=False)
class Parts:
    """What the probes look at, for a test to change."""

    lifecycle: Lifecycle = field(factory=Lifecycle)
    response: Callable[[], Any] = field(default=trio.lowlevel.checkpoint)
    requested: int = 0
    waiting: list[str] = field(factory=list[str])
    requested_for_migrations: int = 0
    migrations_take: float = 0.0
    external: ServiceHealthResponse | None = None
    bus_connected: bool = True
    cache: Callable[[], Any] = field(default=trio.lowlevel.checkpoint)
    storage: ServiceHealthResponse | None = None
    circuits: dict[str, Any] = field(factory=dict[str, Any])
    metrics: Metrics = field(factory=Metrics)
    slow: list[SlowStatement] = field(factory=list[SlowStatement])

    async def ping_cache(self) -> None:
        await self.cache()

    async def ping(self) -> None:
        self.requested += 1
        await self.response()

    async def pending(self) -> list[str]:
        self.requested_for_migrations += 1
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


async def no_security_events() -> SecurityFigures:
    return SecurityFigures(0, 0, 0, 0)


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
        storage=lambda: parts.storage,
        ping_cache=parts.ping_cache,
        circuits=parts.circuits,
    )
    nursery.start_soon(health.run)
    limits, metrics = RateLimits.of(config.limits), parts.metrics
    figures = Figures(metrics, lambda: parts.slow, no_security_events, list, lambda: 3)
    app = create_app(
        config, [routes(health, figures, metrics.render)], limits=limits, metrics=metrics
    )
    return Client(Edge(app, config, limits=limits, metrics=metrics))


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


async def test_health_reports_the_drain(client: Client, parts: Parts) -> None:
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


async def test_liveness_and_health_make_no_calls(client: Client, parts: Parts) -> None:
    for path in ("/health", "/health/live", "/api/v1/health/live"):
        reply = await client.get(path)
        assert reply.status == 200
        assert "etag" not in reply.headers
    assert parts.requested == 0


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


async def test_the_database_is_requested_once_a_second_however_many_ask(
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
    assert (statuses, parts.requested) == ([200] * 50, 1)
    await trio.sleep(0.9)
    await ask()
    assert parts.requested == 1
    await trio.sleep(0.2)
    await ask()
    assert parts.requested == 2


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
    requested = parts.requested_for_migrations
    await trio.sleep(5)
    await client.get("/health/ready")
    assert parts.requested_for_migrations == requested, "once applied they stay applied"


INSIDE = [
    *("/health/detailed", "/health/db", "/health/cache", "/health/metrics", "/health/security"),
    *("/metrics", "/api/v1/health/detailed"),
]


@pytest.mark.parametrize("path", INSIDE)
async def test_the_inside_is_for_key_holders_and_this_machine(
    config: Config, parts: Parts, path: str, nursery: trio.Nursery
) -> None:
    client = serve(config, parts, parts, nursery)
    rejected = await client.get(path)
    assert (rejected.status, rejected.json()["error"]) == (401, "Invalid API key")
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
    assert body["services"].keys() == {"database", "cache", "bus"}
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
async def test_services_of_others_are_reported_from_memory_and_degrade_at_worst(
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


@frozen
class Circuit:
    state: Any


async def test_an_open_circuit_is_named_and_degrades(client: Client, parts: Parts) -> None:
    parts.circuits |= {"stripe": Circuit("open"), "usda": Circuit("closed")}
    body = (await client.get("/health/detailed", x_api_key=KEY)).json()
    assert body["circuits"] == {"stripe": "open", "usda": "closed"}
    assert body["status"] == "degraded"


async def test_a_cache_that_is_away_is_reported_and_only_degrades(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    reply = await client.get("/health/cache", x_api_key=KEY)
    assert (reply.status, reply.json()) == (200, {"status": "up", "latency": 0})

    async def away() -> None:
        raise ServiceUnavailable

    parts.cache = away
    parts.storage = ServiceHealthResponse("down", error="TIMEOUT", age=5)
    await trio.sleep(2)
    reply = await client.get("/health/cache", x_api_key=KEY)
    assert (reply.status, reply.json()) == (503, {"status": "down", "error": "SERVICE_UNAVAILABLE"})
    reply = await client.get("/health/detailed", x_api_key=KEY)
    services = reply.json()["services"]
    assert (reply.status, services["cache"]["status"]) == (200, "degraded")
    assert services["storage"] == {"status": "degraded", "error": "TIMEOUT", "age": 5}


async def test_performance_is_that_of_the_requests_and_statements(
    client: Client, parts: Parts
) -> None:
    parts.metrics.record_response("/recipes", "GET", 200, 0.1)
    parts.metrics.record_response("/recipes", "GET", 503, 0.3)
    moment = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    parts.slow = [SlowStatement("select pg_sleep(%(seconds)s)\n  as slept", 0.25, moment)]
    body = (await client.get("/health/metrics", x_api_key=KEY)).json()
    [figures] = body["apiMetrics"]
    assert (figures["total_requests"], figures["error_rate"]) == (2, 50.0)
    assert figures["avg_response_time"] == 200.0
    assert body["slowQueries"] == [
        {
            "query": "select pg_sleep(%(seconds)s) as slept",
            "execution_time": 250,
            "created_at": "2026-01-02T03:04:05.000Z",
        }
    ]


def test_recent_counts_end_after_their_window() -> None:
    now = 1_000_000.0
    counts = RecentCounts(3600, 24, lambda: now)
    counts.add("auth_failure")
    now += 23 * 3600
    counts.add("auth_failure")
    assert counts.total() == {"auth_failure": 2}
    now += 2 * 3600
    assert counts.total() == {"auth_failure": 1}


async def test_the_status_page_tells_everybody_what_works_and_names_no_provider(
    client: Client, parts: Parts, autojump_clock: Any
) -> None:
    parts.circuits |= {"stripe": Circuit("closed"), "openai": Circuit("closed")}
    reply = await client.get("/status")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert b'<h1 class="ok">Everything works' in reply.body
    parts.circuits["openai"] = Circuit("open")
    page = (await client.get("/status")).body.decode()
    assert '<h1 class="limited">' in page
    assert '<span>Recipe generation and scans</span><strong class="down">' in page
    assert '<span>Payments and subscriptions</span><strong class="ok">' in page
    assert not re.search("openai|stripe|postgres|redis|supabase", page, re.IGNORECASE)

    async def dead() -> None:
        raise ServiceUnavailable

    parts.response = dead
    await trio.sleep(2)
    reply = await client.get("/status")
    assert reply.status == 200
    assert b'<h1 class="down">' in reply.body
