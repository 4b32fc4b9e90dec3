from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from cookcam.errors import BadRequest
from cookcam.http import Routes, limit_unverified, rate_limit, spend, validate_request
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import AUTH, LimitReached, RateLimits
from cookcam.observability.metrics import Metrics
from cookcam.sliding_windows import Bucket, Quota, QuotaState
from tests.http.client import Client
from tests.http.conftest import LISTED, configured


class Attempt(Struct):
    text: str = ""


def sign_in_site(make_site, **settings):
    bp = Routes("auth", __name__, legacy=True)

    @bp.get("/recipes")
    async def read():
        return []

    @bp.post("/auth/signin")
    @bp.post("/auth/login")
    @rate_limit(AUTH)
    async def login():
        return {"in": True}

    return make_site(bp, **settings)


async def test_reading_does_not_use_up_sign_ins(make_site, autojump_clock) -> None:
    client = sign_in_site(make_site).client()
    for _ in range(25):
        assert (await client.get("/api/v1/recipes")).status == 200
    assert (await client.post("/api/v1/auth/login")).status == 200


async def test_the_21st_sign_in_is_rejected_and_reading_goes_on(make_site, autojump_clock) -> None:
    client = sign_in_site(make_site).client()
    for attempt in range(20):
        assert (await client.post("/api/v1/auth/login")).status == 200, attempt
    rejected = await client.post("/api/v1/auth/login")
    assert rejected.status == 429
    assert (await client.get("/api/v1/recipes")).status == 200
    body = rejected.json()
    assert body["code"] == "RATE_LIMIT_ERROR"
    assert (
        body["error"]
        == body["message"]
        == ("Too many authentication attempts, please try again later")
    )
    assert body["retryAfter"] == int(rejected.headers["retry-after"]) == 900
    assert rejected.headers["ratelimit-limit"] == "20"
    assert rejected.headers["ratelimit-remaining"] == "0"
    assert rejected.headers["ratelimit-reset"] == "900"
    await trio.sleep(899)
    assert (await client.post("/api/v1/auth/login")).status == 429
    await trio.sleep(1)
    assert (await client.post("/api/v1/auth/login")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/auth/login",
        "/API/v1/Auth/Login",
        "/api/v1/auth/login/",
        "/api/v1/auth/LOGIN/",
        "/api/v1/auth/signin",
        "/api/auth/signin",
    ],
)
async def test_every_spelling_of_a_sign_in_is_counted(make_site, autojump_clock, path) -> None:
    client = sign_in_site(make_site, RATE_LIMIT_AUTH_MAX_REQUESTS="1").client()
    assert (await client.post("/api/v1/auth/login")).status == 200
    assert (await client.post(path)).status == 429


async def test_a_path_with_two_slashes_in_front_is_no_way_around(make_site, autojump_clock) -> None:
    client = sign_in_site(make_site, RATE_LIMIT_AUTH_MAX_REQUESTS="1").client()
    assert (await client.post("//api/v1/auth/login")).status == 404


async def test_each_client_has_its_own_quota(make_site, autojump_clock) -> None:
    site = sign_in_site(make_site, RATE_LIMIT_MAX_REQUESTS="2", TRUSTED_PROXIES="10.0.0.1/32")
    one = site.client(peer="10.0.0.1", headers={"x-forwarded-for": "198.51.100.1"})
    two = site.client(peer="10.0.0.1", headers={"x-forwarded-for": "203.0.113.3, 198.51.100.2"})
    statuses = [(await one.get("/api/v1/recipes")).status for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert (await two.get("/api/v1/recipes")).status == 200
    liar = site.client(peer="10.0.0.1", headers={"x-forwarded-for": "203.0.113.4, 198.51.100.1"})
    assert (await liar.get("/api/v1/recipes")).status == 429


async def test_counted_response_has_quota_headers(make_site, autojump_clock) -> None:
    client = sign_in_site(make_site).client()
    first = await client.get("/api/v1/recipes")
    second = await client.get("/api/v1/recipes")
    assert (first.headers["ratelimit-limit"], first.headers["ratelimit-remaining"]) == ("100", "99")
    assert second.headers["ratelimit-remaining"] == "98"
    assert second.headers["ratelimit-reset"] == "60"


@pytest.mark.parametrize("path", ["/health", "/api/v1/health/ready", "/metrics", "/socket.io/"])
async def test_probes_and_the_socket_transport_are_not_counted(
    make_site, autojump_clock, path
) -> None:
    client = sign_in_site(make_site, RATE_LIMIT_MAX_REQUESTS="1").client()
    for _ in range(3):
        reply = await client.get(path)
        assert reply.status != 429
        assert "ratelimit-limit" not in reply.headers


async def test_unknown_paths_are_counted(make_site, autojump_clock) -> None:
    client = sign_in_site(make_site, RATE_LIMIT_MAX_REQUESTS="1").client()
    assert [(await client.get("/nowhere")).status for _ in range(2)] == [404, 429]


async def test_a_preflight_is_not_counted(make_site, autojump_clock) -> None:
    client = sign_in_site(make_site, RATE_LIMIT_MAX_REQUESTS="1").client()
    ask = {"origin": LISTED, "access_control_request_method": "POST"}
    for _ in range(3):
        assert (await client.request("OPTIONS", "/api/v1/recipes", **ask)).status == 204
    assert (await client.get("/api/v1/recipes")).status == 200


async def test_limits_can_be_switched_off(make_site, autojump_clock) -> None:
    client = sign_in_site(
        make_site, RATE_LIMIT_MAX_REQUESTS="1", ENABLE_RATE_LIMITING="false"
    ).client()
    for _ in range(5):
        reply = await client.get("/api/v1/recipes")
        assert reply.status == 200
        assert "ratelimit-limit" not in reply.headers


async def test_a_handler_counts_in_a_bucket_of_its_own_key(make_site, autojump_clock) -> None:
    bp = Routes("auth", __name__)

    @bp.post("/attempt")
    async def attempt():
        await spend("auth", "ann@example.com")
        return {}

    site = make_site(bp, RATE_LIMIT_AUTH_MAX_REQUESTS="2")
    replies = [await site.client(peer=f"192.0.2.{n}").post("/api/v1/attempt") for n in range(1, 4)]
    assert [reply.status for reply in replies] == [200, 200, 429]
    assert replies[2].headers["retry-after"] == "900"


async def test_address_limit_holds_before_the_body_is_read(make_site, autojump_clock) -> None:
    bp = Routes("auth", __name__)

    @bp.post("/attempt")
    @rate_limit(AUTH)
    @validate_request(Attempt)
    async def attempt(data: Attempt):
        return {}

    client = make_site(bp, RATE_LIMIT_AUTH_MAX_REQUESTS="1").client()
    replies = [
        await client.post("/api/v1/attempt", body=b"{", content_type="text/x") for _ in range(2)
    ]
    assert [reply.status for reply in replies] == [415, 429]


async def test_only_unverified_deliveries_of_an_address_are_limited(
    make_site, autojump_clock
) -> None:
    bp = Routes("webhooks", __name__)
    verified: list[bool] = []

    @bp.post("/deliver/<good>")
    @limit_unverified
    async def deliver(good: str):
        verified.append(good == "yes")
        if good != "yes":
            raise BadRequest
        return {}

    site = make_site(bp, RATE_LIMIT_MAX_REQUESTS="100000")
    attacker, provider = site.client(peer="192.0.2.1"), site.client(peer="192.0.2.2")
    for _ in range(40):
        assert (await provider.post("/api/v1/deliver/yes")).status == 200
    statuses = [(await attacker.post("/api/v1/deliver/no")).status for _ in range(30)]
    assert statuses == [400] * 20 + [429] * 10
    assert verified.count(False) == 20  # the rest cost no verification
    assert (await provider.post("/api/v1/deliver/yes")).status == 200


async def test_rejected_requests_are_counted_by_bucket(make_site, autojump_clock) -> None:
    site = sign_in_site(make_site, RATE_LIMIT_AUTH_MAX_REQUESTS="1")
    metrics = Metrics()
    edge = Edge(site.app, site.config, limits=site.limits, metrics=metrics)
    for _ in range(3):
        await Client(edge).post("/api/v1/auth/login")
    assert 'rate_limited_total{bucket="auth"} 2.0' in metrics.render().decode()


async def test_the_limits_are_the_configured_ones() -> None:
    limits = RateLimits.of(
        configured(RATE_LIMIT_WINDOW_MS="2000", RATE_LIMIT_MAX_REQUESTS="3").limits
    )
    assert limits.quotas["global"] == Quota("global", 3, 2.0)
    assert limits.quotas["global:regular"] == Quota("global:regular", 30, 2.0)
    assert limits.quotas["global:creator"] == Quota("global:creator", 150, 2.0)
    assert limits.quotas["auth"] == Quota("auth", 20, 900.0)
    unlimited = RateLimits.of(configured(ENABLE_RATE_LIMITING="false").limits)
    assert await unlimited.spend("auth", "x") is None


class Exact:
    """A sliding window that remembers every request."""

    def __init__(self, limit: int, seconds: float) -> None:
        self.limit, self.seconds = limit, seconds
        self.times: list[float] = []

    def used(self, now: float, seconds: float | None = None) -> int:
        return sum(1 for time in self.times if now - time < (seconds or self.seconds))


steps = st.lists(st.integers(0, 40), max_size=150)


@given(steps, st.integers(1, 5))
def test_a_bucket_is_between_nine_tenths_of_a_window_and_a_whole_one(gaps, limit) -> None:
    bucket, exact, now = Bucket(limit, 100.0), Exact(limit, 100.0), 0.0
    for gap in gaps:
        now += gap
        verdict = bucket.hit("key", now)
        if exact.used(now) < limit:
            assert verdict.allowed, "refused although a whole window has room"
        if exact.used(now, 90.0) >= limit:
            assert not verdict.allowed, "allowed although nine tenths of a window are full"
        if verdict.allowed:
            exact.times.append(now)
        assert verdict.remaining <= limit - exact.used(now, 90.0)


@given(steps, st.integers(1, 5))
def test_caller_that_waits_as_advised_is_admitted(gaps, limit) -> None:
    bucket, now = Bucket(limit, 100.0), 0.0
    for gap in gaps:
        now += gap
        verdict = bucket.hit("key", now)
        if not verdict.allowed:
            assert 1 <= verdict.retry_after <= 100
            now += verdict.retry_after
            assert bucket.hit("key", now).allowed


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 30)), max_size=200))
def test_a_bucket_never_holds_more_keys_than_its_capacity(hits) -> None:
    bucket, now = Bucket(2, 10.0, capacity=8), 0.0
    for key, gap in hits:
        now += gap
        bucket.hit(str(key), now)
        assert len(bucket) <= 8


def test_a_full_bucket_forgets_the_key_seen_least_recently() -> None:
    bucket = Bucket(1, 10.0, capacity=2)
    bucket.hit("a", 0.0)
    bucket.hit("b", 1.0)
    bucket.hit("a", 2.0)
    bucket.hit("c", 3.0)
    assert not bucket.hit("a", 4.0).allowed
    assert bucket.hit("b", 4.0).allowed


def test_keys_without_anything_to_forget_make_room_for_new_ones() -> None:
    bucket = Bucket(1, 10.0, capacity=100)
    for n in range(20):
        bucket.hit(f"old-{n}", 0.0)
    for n in range(20):
        bucket.hit(f"new-{n}", 50.0)
    assert len(bucket) == 20


def test_a_rejection_carries_its_headers() -> None:
    error = LimitReached.of("global", QuotaState(False, 5, 0, 60, 12))
    assert dict(error.headers) == {
        "Retry-After": "12",
        "ratelimit-limit": "5",
        "ratelimit-remaining": "0",
        "ratelimit-reset": "60",
    }
