"""Background checks of external services and their reports."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from cookcam.config.readers import Secret
from cookcam.errors import ServiceUnavailable
from cookcam.features.operations.health import external_services as module
from cookcam.features.operations.health.external_services import INTERVAL, TIMEOUT, ExternalServices
from cookcam.features.operations.health.models import ServiceHealthResponse
from cookcam.integrations.usda import Usda
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.openai import open_openai
from cookcam.sandbox.serving import Failure
from cookcam.sandbox.usda import open_usda
from tests.identity.project import open_project
from tests.integrations.openai_conversations import open_model
from tests.support.whole_server import ServerUnderTest, environment, whole_server


class Service:
    def __init__(self) -> None:
        self.response: Callable[[], Any] = trio.lowlevel.checkpoint
        self.checks = 0

    async def __call__(self) -> None:
        self.checks += 1
        await self.response()


async def unavailable() -> None:
    raise ServiceUnavailable("https://user:password@api.example refused")


async def test_services_are_checked_once_a_minute_and_never_by_a_report(autojump_clock: MockClock):
    one, other = Service(), Service()
    external_services = ExternalServices({"one": one, "other": other})
    assert external_services.report() is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(external_services.run)
        await trio.sleep(1.1 * INTERVAL)
        assert external_services.report() is not None
        await trio.sleep(9 * INTERVAL)
        for _ in range(100):
            external_services.report()
        assert 9 <= one.checks == other.checks <= 12
        nursery.cancel_scope.cancel()


async def test_a_report_has_the_maximum_latency_and_the_age(autojump_clock: MockClock):
    one, other = Service(), Service()
    one.response = partial(trio.sleep, 1.25)
    external_services = ExternalServices({"one": one, "other": other})
    await external_services.check_all()
    await trio.sleep(30)
    assert external_services.report() == ServiceHealthResponse("up", latency=1250, age=31)


async def test_those_that_are_away_are_named_by_code_and_nothing_else(autojump_clock: MockClock):
    one, other, third = Service(), Service(), Service()
    one.response, other.response = unavailable, trio.sleep_forever
    began = trio.current_time()
    external_services = ExternalServices({"one": one, "other": other, "third": third})
    await external_services.check_all()
    assert trio.current_time() - began == TIMEOUT  # side by side
    assert external_services.report() == ServiceHealthResponse(
        "degraded", latency=0, error="one SERVICE_UNAVAILABLE, other TIMEOUT", age=5
    )


async def test_only_a_change_is_logged(autojump_clock: MockClock):
    one = Service()
    external_services = ExternalServices({"one": one})
    with capture_logs() as logs:
        for response in (
            trio.lowlevel.checkpoint,
            unavailable,
            unavailable,
            trio.lowlevel.checkpoint,
        ):
            one.response = response
            await external_services.check_all()
            await external_services.check_all()
    assert [(line["event"], line["service"], line.get("code")) for line in logs] == [
        ("external service unavailable", "one", "SERVICE_UNAVAILABLE"),
        ("external service available again", "one", None),
    ]


async def test_real_clients_whose_plug_is_pulled():
    async with (
        open_openai() as model,
        open_usda() as foods,
        open_model(model, Metrics()) as openai,
        Usda.open(base_url=foods.url, api_key=Secret(foods.api_key)) as usda,
    ):
        external_services = ExternalServices({"openai": openai.reachable, "usda": usda.reachable})
        await external_services.check_all()
        assert (report := external_services.report()) is not None
        assert report.status == "up"
        assert model.received == []  # the list of models: no completion, no cost
        assert len(foods.behaviour.requests) == 1
        foods.behaviour.failure = Failure(500, times=1)
        await external_services.check_all()
        assert (report := external_services.report()) is not None
        assert (report.status, report.error) == ("degraded", "usda SERVICE_UNAVAILABLE")
        assert len(foods.behaviour.requests) == 2  # once, whatever it answers
    async with open_model(model, Metrics()) as openai:  # nobody listens there any more
        external_services = ExternalServices({"openai": openai.reachable})
        await external_services.check_all()
        assert (report := external_services.report()) is not None
        assert (report.status, report.error) == ("degraded", "openai SERVICE_UNAVAILABLE")


async def test_a_rejected_key_is_seen_before_user_needs_it():
    async with (
        open_usda() as foods,
        Usda.open(base_url=foods.url, api_key=Secret("wrong")) as usda,
    ):
        external_services = ExternalServices({"usda": usda.reachable})
        await external_services.check_all()
        assert (report := external_services.report()) is not None
        assert (report.status, report.error) == ("degraded", "usda SERVICE_AUTH_ERROR")


async def received(server: ServerUnderTest, error: str | None) -> dict[str, Any]:
    """`/health/detailed`, once storage is checked and `external_apis` has that error."""
    with trio.fail_after(20):
        while True:
            response = await server.http.get("/health/detailed")
            services = response.json()["services"]
            latest = services.get("external_apis")
            if "storage" in services and latest is not None and latest.get("error") == error:
                return {"status_code": response.status_code, **response.json()}
            await trio.sleep(0.05)


async def test_the_assembled_server_tells_of_them(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "INTERVAL", 0.1)
    monkeypatch.setattr(module, "TIMEOUT", 0.5)
    async with (
        open_project(database_url) as gotrue,
        open_openai() as model,
        open_usda() as foods,
        whole_server(
            environment(
                database_url,
                gotrue,
                OPENAI_BASE_URL=model.url,
                USDA_API_KEY=foods.api_key,
                USDA_API_BASE_URL=foods.url,
            )
        ) as server,
    ):
        body = await received(server, None)
        assert (body["status_code"], body["services"]["external_apis"]["status"]) == (200, "up")
        assert body["services"]["external_apis"]["latency"] >= 0
        # This project has no storage.
        assert body["services"]["storage"]["status"] == "degraded"
        assert body["services"]["storage"]["error"].startswith("storage ")
        model.behaviour.delay = 3600
        body = await received(server, "openai TIMEOUT")
        assert (body["status_code"], body["status"]) == (200, "degraded")
        assert (await server.http.get("/health/ready")).status_code == 200
        model.behaviour.delay = 0
        body = await received(server, None)
        assert body["services"]["external_apis"]["status"] == "up"
    assert server.status == 0


async def test_without_a_key_of_its_own_the_server_spends_no_quota_of_usda(
    database_url: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "INTERVAL", 0.1)
    async with (
        open_project(database_url) as gotrue,
        open_openai() as model,
        open_usda() as foods,
        whole_server(
            environment(
                database_url, gotrue, OPENAI_BASE_URL=model.url, USDA_API_BASE_URL=foods.url
            )
        ) as server,
    ):
        await received(server, None)
        assert foods.behaviour.requests == []
