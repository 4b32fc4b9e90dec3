"""The client of FoodData Central against the fake server, and its failures."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
import trio
from structlog.testing import capture_logs

from cookcam.config.readers import Secret
from cookcam.errors import ServiceAuthError, ServiceError, ServiceUnavailable
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout
from cookcam.integrations.usda import HourlyBudget, QuotaExhausted, Usda, _Unreachable
from cookcam.sandbox.home import free_port
from cookcam.sandbox.serving import Failure
from cookcam.sandbox.usda import Behaviour, FakeUsda, foods, open_usda

QUICK = RetryPolicy(5.0, 3, initial_delay=0.001, retry_on=(_Unreachable,))
EGG = {"query": "egg", "pageSize": 3}


@asynccontextmanager
async def opened(
    *, policy: RetryPolicy = QUICK, budget: HourlyBudget | None = None, key: str | None = None
) -> AsyncIterator[tuple[Usda, FakeUsda, Behaviour]]:
    async with (
        open_usda() as usda,
        Usda.open(
            base_url=usda.url, api_key=Secret(key or usda.api_key), policy=policy, budget=budget
        ) as client,
    ):
        yield client, usda, usda.behaviour


async def test_search_and_a_food():
    async with opened() as (client, _, _):
        body = await client.search(EGG)
        assert body["totalHits"] > 3
        assert len(body["foods"]) == 3
        food = await client.food(body["foods"][0]["fdcId"])
        assert food is not None
        assert food.description == body["foods"][0]["description"]
        assert dict(food.amounts)[1008] > 0
        assert await client.food(1) is None


async def test_server_errors_are_retried_and_then_raised():
    async with opened() as (client, _, behaviour):
        behaviour.failure = Failure(500, times=2)
        assert (await client.search(EGG))["foods"]
        behaviour.failure = Failure(500, times=3)
        with pytest.raises(ServiceUnavailable):
            await client.search(EGG)
        assert client.budget._spent.__len__() == 6  # every attempt is counted


async def test_rejected_connection_is_unavailable():
    unused_url = f"http://127.0.0.1:{free_port()}/fdc/v1"
    async with Usda.open(base_url=unused_url, policy=QUICK) as client:
        with pytest.raises(ServiceUnavailable):
            await client.search(EGG)


async def test_slow_server_times_out_at_the_deadline():
    async with opened(policy=RetryPolicy(0.2, 3)) as (client, _, behaviour):
        behaviour.delay = 60
        with trio.fail_after(5), pytest.raises(ServiceTimeout):
            await client.search(EGG)


async def test_exhausted_quota_blocks_requests_with_retry_after():
    async with opened() as (client, _, behaviour):
        behaviour.remaining = 0
        with pytest.raises(QuotaExhausted) as rejected:
            await client.search(EGG)
        assert rejected.value.headers == [("Retry-After", "1800")]
        assert rejected.value.status == 503
        requested = len(behaviour.requests)
        behaviour.remaining = 10
        with pytest.raises(QuotaExhausted):
            await client.search(EGG)
        assert len(behaviour.requests) == requested


async def test_malformed_responses_are_service_errors():
    async with opened() as (client, _, behaviour):
        behaviour.garbled = True
        with pytest.raises(ServiceError):
            await client.search(EGG)
    async with opened(key="another") as (client, _, _):
        with pytest.raises(ServiceAuthError):
            await client.search(EGG)


async def test_key_is_in_no_url_log_or_error(caplog: pytest.LogCaptureFixture):
    caplog.set_level("DEBUG")
    outputs: list[str] = []
    for key in ("a-key-to-keep-secret", None):
        async with opened(key=key) as (client, usda, behaviour):
            behaviour.failure = Failure(500, times=3)
            for _ in range(2):
                with capture_logs() as logs:
                    try:
                        await client.search(EGG)
                    except Exception as error:
                        outputs += [repr(error), str(error), str(error.__cause__)]
                outputs.append(str(logs))
            outputs.append(repr(client))
            assert all(secret not in "".join(outputs) for secret in ("a-key-to-keep", usda.api_key))
            assert all(usda.api_key not in record.getMessage() for record in caplog.records)
            assert "a-key-to-keep" not in caplog.text
            assert usda.api_key not in caplog.text


def test_budget_is_a_sliding_hour():
    now = 0.0
    budget = HourlyBudget(limit=3, clock=lambda: now)
    for moment in (0.0, 10.0, 20.0):
        now = moment
        budget.spend()
    now = 30.0
    with pytest.raises(QuotaExhausted) as rejected:
        budget.spend()
    assert rejected.value.retry_after == 3570
    now = 3600.0
    budget.spend()
    with pytest.raises(QuotaExhausted):
        budget.spend()
    budget.close(100)
    now = 3699.0
    with pytest.raises(QuotaExhausted):
        budget.spend()
    now = 3700.0
    budget.spend()


async def test_wire_of_the_fake_server():
    async with open_usda() as usda, httpx.AsyncClient(base_url=usda.url) as http:
        missing = await http.get("/foods/search", params={"query": "egg"})
        assert (missing.status_code, missing.json()["error"]["code"]) == (403, "API_KEY_MISSING")
        wrong = await http.get("/foods/search", params={"query": "egg", "api_key": "x"})
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "API_KEY_INVALID")
        key = {"api_key": usda.api_key}
        found = await http.get(
            "/foods/search", params={"query": "egg", "dataType": "SR Legacy,Foundation", **key}
        )
        assert found.headers["X-RateLimit-Limit"] == "1000"
        assert int(found.headers["X-RateLimit-Remaining"]) < 1000
        assert {food["dataType"] for food in found.json()["foods"]} <= {"SR Legacy", "Foundation"}
        assert (await http.get("/foods/search", params=key)).status_code == 400
        assert (await http.get("/food/1", params=key)).status_code == 404
        usda.behaviour.remaining = 0
        over = await http.get("/food/1", params=key)
        assert (over.status_code, over.json()["error"]["code"]) == (429, "OVER_RATE_LIMIT")


def test_foods_are_plausible():
    known = foods()
    assert len(known) > 300
    assert len({food.fdc_id for food in known}) == len(known)
    for food in known:
        kcal, protein, fat, carbs = (food.amounts[n] for n in (1008, 1003, 1004, 1005))
        assert all(math.isfinite(x) and x >= 0 for x in food.amounts.values())
        assert protein + fat + carbs <= 104, food.description
        assert food.amounts[2000] <= carbs + 3, food.description
        # Energy is 4, 9 and 4 kcal per gram; of fibre less, and alcohol has 7.
        if not any(word in food.description for word in ("wine", "beer", "extract", "Leavening")):
            most = 4 * protein + 9 * fat + 4 * carbs
            least = most - 4 * food.amounts[1079]
            assert 0.7 * least - 20 <= kcal <= 1.2 * most + 20, food
