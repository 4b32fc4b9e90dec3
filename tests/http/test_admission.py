"""Admission control on the virtual clock: who is admitted, who is refused, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from cookcam.errors import ServiceOverloaded
from cookcam.http import Routes, webhook
from cookcam.http.admission import (
    CALM,
    MAX_QUEUE_TIME,
    MAX_QUEUED,
    MAX_REJECTIONS_PER_SECOND,
    MAX_RUNNING,
    MAX_WEBHOOK_QUEUE_TIME,
    PLACE_TIME,
    QUEUE_TARGET,
    TICK,
    Admission,
    Place,
)
from cookcam.http.app import create_app
from cookcam.http.edge import Edge
from cookcam.http.rate_limit import RateLimits
from cookcam.observability.metrics import Metrics
from tests.http.client import Client
from tests.http.conftest import configured, probes


@define
class Requests:
    """Requests that ask for admission; each is admitted, refused or still queued."""

    nursery: trio.Nursery
    admission: Admission
    admitted: dict[str, Place] = field(factory=dict[str, Place])
    rejected: dict[str, float] = field(factory=dict[str, float])
    """Name → when."""

    async def arrive(self, *names: str, webhook: bool = False) -> None:
        for name in names:
            self.nursery.start_soon(self._enter, name, webhook)
        await trio.testing.wait_all_tasks_blocked()

    async def _enter(self, name: str, webhook: bool) -> None:
        try:
            self.admitted[name] = await self.admission.enter(webhook=webhook)
        except ServiceOverloaded:
            self.rejected[name] = trio.current_time()

    def end(self, name: str) -> None:
        self.admission.leave(self.admitted.pop(name))


@asynccontextmanager
async def full_server(**parts: Any) -> AsyncIterator[Requests]:
    """A server whose places are taken by requests "0", "1", …, each renewed as it expires."""
    async with trio.open_nursery() as nursery:
        requests = Requests(nursery, Admission(**parts))
        nursery.start_soon(requests.admission.run)
        await requests.arrive(*map(str, range(MAX_RUNNING)))
        assert len(requests.admitted) == MAX_RUNNING
        yield requests
        nursery.cancel_scope.cancel()


def never_expire(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running requests keep their places: the tests that use this end them themselves."""
    monkeypatch.setattr("cookcam.http.admission.PLACE_TIME", 1e9)


async def test_a_request_waits_for_a_place_and_gets_it(autojump_clock: Any) -> None:
    async with full_server() as requests:
        await requests.arrive("late")
        assert "late" not in requests.admitted
        requests.end("0")
        await trio.testing.wait_all_tasks_blocked()
        assert "late" in requests.admitted


async def test_a_request_is_rejected_after_the_queue_time(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_expire(monkeypatch)
    async with full_server() as requests:
        arrived = trio.current_time()
        await requests.arrive("late")
        await trio.sleep(MAX_QUEUE_TIME + 2 * TICK)
        assert requests.rejected["late"] - arrived == pytest.approx(MAX_QUEUE_TIME, abs=2 * TICK)


async def test_request_waiting_for_a_shared_result_frees_its_place(autojump_clock: Any) -> None:
    async with full_server() as requests:
        await requests.arrive("late")
        await trio.sleep(PLACE_TIME + 2 * TICK)
        assert "late" in requests.admitted
        assert not requests.rejected


async def test_rejections_are_spread(autojump_clock: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    never_expire(monkeypatch)
    async with full_server() as requests:
        await requests.arrive(*(f"late {n}" for n in range(MAX_REJECTIONS_PER_SECOND)))
        await trio.sleep(MAX_QUEUE_TIME + 0.5)
        assert len(requests.rejected) == pytest.approx(MAX_REJECTIONS_PER_SECOND / 2, abs=5)
        await trio.sleep(0.6)
        assert len(requests.rejected) == MAX_REJECTIONS_PER_SECOND


async def test_a_full_queue_refuses_at_once(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_expire(monkeypatch)
    async with full_server() as requests:
        await requests.arrive(*(f"late {n}" for n in range(MAX_QUEUED)))
        arrived = trio.current_time()
        await requests.arrive("one too many")
        assert requests.rejected == {"one too many": arrived}
        await requests.arrive("event", webhook=True)
        assert "event" not in requests.rejected


async def test_the_queue_is_first_in_first_out_below_the_target(autojump_clock: Any) -> None:
    async with full_server() as requests:
        await requests.arrive("first")
        await trio.sleep(QUEUE_TARGET / 2)
        await requests.arrive("second")
        requests.end("0")
        await trio.testing.wait_all_tasks_blocked()
        assert "first" in requests.admitted
        assert "second" not in requests.admitted


async def test_the_queue_is_last_in_first_out_above_the_target(autojump_clock: Any) -> None:
    async with full_server() as requests:
        await requests.arrive("first")
        await trio.sleep(QUEUE_TARGET + TICK)
        await requests.arrive("second")
        requests.end("0")
        await trio.testing.wait_all_tasks_blocked()
        assert "second" in requests.admitted
        assert "first" not in requests.admitted


async def test_every_second_place_is_for_a_webhook(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_expire(monkeypatch)
    async with full_server() as requests:
        await requests.arrive(*(f"read {n}" for n in range(4)))
        for n in range(4):
            await requests.arrive(f"event {n}", webhook=True)
        order: list[str] = []
        for number in range(8):
            before = set(requests.admitted)
            requests.end(str(number))
            await trio.testing.wait_all_tasks_blocked()
            order += set(requests.admitted) - before
        assert [name.split()[0] for name in order] == ["event", "read"] * 4
        assert [name for name in order if name.startswith("event")] == [
            f"event {n}" for n in range(4)
        ]


async def test_a_webhook_outlasts_reads_in_the_queue(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    never_expire(monkeypatch)
    async with full_server() as requests:
        await requests.arrive("event", webhook=True)
        await requests.arrive("read")
        await trio.sleep(MAX_WEBHOOK_QUEUE_TIME - 1)
        assert set(requests.rejected) == {"read"}
        await trio.sleep(1 + 2 * TICK)
        assert set(requests.rejected) == {"read", "event"}


async def test_a_client_that_leaves_the_queue_takes_no_place(autojump_clock: Any) -> None:
    async with full_server() as requests:
        with trio.move_on_after(0.01):
            await requests.admission.enter()
        assert requests.admission.queued == 0
        await requests.arrive("late")
        requests.end("0")
        await trio.testing.wait_all_tasks_blocked()
        assert "late" in requests.admitted


async def test_a_client_that_leaves_as_it_is_admitted_gives_its_place_to_the_next(
    autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client leaves, and before its task runs a place becomes free for it."""
    never_expire(monkeypatch)
    async with full_server() as requests:
        client = trio.CancelScope()

        async def enter() -> None:
            with client:
                await requests.admission.enter()

        requests.nursery.start_soon(enter)
        await trio.testing.wait_all_tasks_blocked()
        await requests.arrive("next")
        client.cancel()
        requests.end("0")
        await trio.testing.wait_all_tasks_blocked()
        assert "next" in requests.admitted


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("arrive"), st.integers(1, 40), st.booleans()),
            st.tuples(st.just("end"), st.integers(1, 40), st.booleans()),
            st.tuples(st.just("leave queue"), st.integers(1, 40), st.booleans()),
            st.tuples(st.just("sleep"), st.integers(1, 40), st.booleans()),
        ),
        max_size=30,
    )
)
def test_every_request_is_decided_and_no_place_is_lost(steps: list[tuple[str, int, bool]]) -> None:
    async def play() -> None:
        arrived, left = 0, 0
        async with full_server() as requests:
            for kind, count, webhook in steps:
                if kind == "arrive":
                    names = [f"r{arrived + n}" for n in range(count)]
                    await requests.arrive(*names, webhook=webhook)
                    arrived += count
                elif kind == "end":
                    for name in list(requests.admitted)[:count]:
                        requests.end(name)
                elif kind == "leave queue":
                    with trio.move_on_after(0.001 * count):
                        requests.admission.leave(await requests.admission.enter(webhook=webhook))
                else:
                    await trio.sleep(0.05 * count)
            for name in list(requests.admitted):
                requests.end(name)
            await trio.sleep(MAX_WEBHOOK_QUEUE_TIME + 5)
            for name in list(requests.admitted):
                requests.end(name)
                left += 1
            assert requests.admission.queued == 0
            await requests.arrive(*(f"after {n}" for n in range(MAX_RUNNING)))
            assert sum(name.startswith("after") for name in requests.admitted) == MAX_RUNNING

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


def deliveries() -> Routes:
    bp = Routes("deliveries", __name__)

    @bp.post("/subscription/webhook/stripe")
    @webhook
    async def deliver() -> Any: ...

    return bp


class TestEdge:
    """What a client sees."""

    end_one: trio.Event
    """Set to end one of the requests that take the places."""

    @pytest.fixture
    def metrics(self) -> Metrics:
        return Metrics()

    @asynccontextmanager
    async def overloaded(self, metrics: Metrics) -> AsyncIterator[Client]:
        """A server whose places are all taken by requests that do not end."""
        self.end_one = trio.Event()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/api/v1/until-released":
                await self.end_one.wait()
            elif scope["path"] == "/api/v1/forever":
                await trio.sleep_forever()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"answered"})

        admission = Admission(metrics)
        router = create_app(configured(), [probes(), deliveries()]).router
        edge = Edge(
            app,
            configured(),
            limits=RateLimits({}),
            router=router,
            transport="/socket.io",
            admission=admission,
            metrics=metrics,
        )
        client = Client(edge)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(admission.run)
            nursery.start_soon(client.get, "/api/v1/until-released")
            for _ in range(MAX_RUNNING - 1):
                nursery.start_soon(client.get, "/api/v1/forever")
            await trio.testing.wait_all_tasks_blocked()
            yield client
            nursery.cancel_scope.cancel()

    async def test_a_rejection_is_a_503_in_the_envelope_with_retry_after(
        self, metrics: Metrics, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch, logged: Any
    ) -> None:
        never_expire(monkeypatch)
        async with self.overloaded(metrics) as client:
            reply = await client.get("/api/v1/recipes", origin="https://cookcam.ai")
            assert reply.status == 503
            assert int(reply.headers["retry-after"]) >= 1
            assert reply.headers["x-request-id"] == reply.json()["requestId"]
            assert reply.headers["access-control-allow-origin"] == "https://cookcam.ai"
            assert "x-content-type-options" in reply.headers
            assert reply.json()["code"] == reply.json()["error"] == "SERVICE_OVERLOADED"
            assert b'http_requests_refused_total{queue="requests"} 1.0' in metrics.render()
            [line] = logged.of("overloaded, refusing requests")
            assert line["level"] == "WARN"
            await trio.sleep(CALM + 1)
            [line] = logged.of("overload ended")
            assert line["refused"] == 1

    @pytest.mark.parametrize(
        "path",
        ["/health", "/Health/", "/health/ready", "/api/v1/health", "/metrics", "/socket.io/"],
    )
    async def test_probes_and_the_socket_transport_do_not_queue(
        self, path: str, metrics: Metrics, autojump_clock: Any
    ) -> None:
        async with self.overloaded(metrics) as client:
            before = trio.current_time()
            assert (await client.get(path)).status == 200
            assert trio.current_time() == before

    async def test_a_webhook_gets_the_next_place_before_a_read_that_came_first(
        self, metrics: Metrics, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        never_expire(monkeypatch)
        async with self.overloaded(metrics) as client, trio.open_nursery() as nursery:
            order: list[str] = []

            async def ask(method: str, path: str) -> None:
                assert (await client.request(method, path)).status == 200
                order.append(path)

            nursery.start_soon(ask, "GET", "/api/v1/recipes")
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask, "POST", "/api/v1/subscription/webhook/stripe")
            await trio.testing.wait_all_tasks_blocked()
            self.end_one.set()
        assert order == ["/api/v1/subscription/webhook/stripe", "/api/v1/recipes"]
