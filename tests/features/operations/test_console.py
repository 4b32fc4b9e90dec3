"""The operations console: its sessions, and its pages in a browser against the running program."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import trio
from trio_websocket import (
    ConnectionClosed,
    HandshakeError,
    WebSocketConnection,
    open_websocket_url,
)

from cookcam.database.pool_stats import PoolStats
from cookcam.features.operations.console.pages import render
from cookcam.features.operations.console.samples import Sampler, percentile
from cookcam.features.operations.health.models import (
    DetailedHealthResponse,
    ProcessorUsage,
    ServiceHealthResponse,
    SpaceUsage,
    SystemUsage,
)
from cookcam.lifecycle.run_record import RunRecord
from cookcam.lifecycle.shutdown import DrainReport
from cookcam.observability.metrics import DURATION_BUCKETS, Metrics
from tests.contract.server import ContractServer, open_contract_server
from tests.features.conftest import ApiUser
from tests.identity.project import PASSWORD
from tests.support.chromium import Page, open_page, running_chromium

CUT = DrainReport("operator", {"request": 3}, {"socket": 1}, ("socket GET /slow",), {"notice": 0.1})
POOL = PoolStats(3, 2, 1, 0, 3, 0, 0, 0, 9, 0)

DEAD_LETTER = """
    insert into stripe_webhook_events (
      event_id, event_type, livemode, status, payload, attempts, error_message
    )
    values (
      %(id)s, 'customer.created', false, 'failed',
      jsonb_build_object(
        'object', 'event', 'id', %(id)s::text, 'type', 'customer.created', 'created', 1767225600,
        'livemode', false, 'data', '{"object": {}}'::jsonb
      ),
      10, 'SERVICE_ERROR'
    )
"""


@pytest.fixture
async def stub(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[ContractServer]:
    async with open_contract_server(
        fresh_database_url, tmp_path / "storage", DRAIN_NOTICE_SECONDS="2"
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_chromium(tmp_path_factory.mktemp("chromium")) as port:
        yield port


@pytest.fixture
async def page(chromium: int, stub: ContractServer) -> AsyncIterator[Page]:
    """The sign-in page of the console."""
    with trio.fail_after(150):
        async with open_page(chromium) as opened:
            await opened.open(f"{stub.server.url}/ops")
            await opened.wait_for("location.pathname === '/ops/sign-in' && document.forms[0]")
            yield opened


async def sign_in(page: Page, person: ApiUser) -> None:
    await page.evaluate(
        f"document.getElementById('email').value = {json.dumps(person.email)};"
        f"document.getElementById('password').value = {json.dumps(PASSWORD)};"
        "document.forms[0].requestSubmit()"
    )


async def open_view(page: Page, path: str) -> None:
    await page.evaluate(f"location.assign('{path}')")
    await live(page, path)


async def live(page: Page, path: str = "/ops") -> None:
    await page.wait_for(
        f"location.pathname === '{path}'"
        " && document.getElementById('connection')?.dataset.state === 'live'"
    )


async def click(page: Page, selector: str) -> None:
    await page.evaluate(f"document.querySelector('{selector}').click()")


def session(person: ApiUser) -> dict[str, str]:
    """The headers of a request that a page of the console sends."""
    return {"Cookie": f"cookcam_ops={person.token}", "Sec-Fetch-Site": "same-origin"}


def form(person: ApiUser, password: str = PASSWORD) -> dict[str, str]:
    return {"email": person.email, "password": password}


async def watch(stub: ContractServer, headers: dict[str, str]) -> Any:
    """The reply to `watch_console` on the console's socket."""
    url = f"{stub.server.url.replace('http', 'ws')}/ops/live"
    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    async with open_websocket_url(url, extra_headers=pairs) as socket:
        frame = {"event": "watch_console", "data": {"view": "overview"}, "id": 1}
        await socket.send_message(json.dumps(frame))
        while True:
            reply = json.loads(await socket.get_message())
            if "replyTo" in reply:
                return reply


async def test_only_administrators_get_a_session(stub: ContractServer) -> None:
    ada, bob = await stub.person("Ada", "admin"), await stub.person("Bob")
    same_origin = {"Sec-Fetch-Site": "same-origin"}
    first = await stub.http.get("/ops")
    assert (first.status_code, first.headers["location"]) == (303, "/ops/sign-in")

    async def attempt(data: dict[str, str], headers: dict[str, str]) -> httpx.Response:
        return await stub.http.post("/ops/sign-in", data=data, headers=headers)

    rejected = await attempt(form(bob), same_origin)
    assert (rejected.status_code, "set-cookie" in rejected.headers) == (403, False)
    assert "This console is for administrators." in rejected.text
    assert (await attempt(form(ada, "wrong"), same_origin)).status_code == 401
    assert (await attempt(form(ada), {"Sec-Fetch-Site": "same-site"})).status_code == 403
    assert (await attempt(form(ada), {"Origin": "https://evil.example"})).status_code == 403
    admitted = await attempt(form(ada), {"Origin": stub.server.url})
    cookie = admitted.headers["set-cookie"]
    assert (admitted.status_code, admitted.headers["location"]) == (303, "/ops")
    assert cookie.startswith("cookcam_ops=")
    assert {"Path=/ops", "HttpOnly", "SameSite=Strict"} <= {
        one.strip() for one in cookie.split(";")
    }
    over_tls = await attempt(form(ada), {**same_origin, "X-Forwarded-Proto": "https"})
    assert over_tls.headers["set-cookie"].startswith("__Secure-cookcam_ops=")
    assert "Secure" in over_tls.headers["set-cookie"]

    shown = await stub.http.get("/ops")
    assert shown.status_code == 200
    assert shown.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in shown.headers.get_list("content-security-policy")[0]
    ended = await stub.http.post("/ops/sign-out", headers=same_origin)
    assert ended.status_code == 303
    assert "Max-Age=0" in ended.headers["set-cookie"]


async def test_actions_require_an_administrator_and_a_page_of_this_host(
    stub: ContractServer,
) -> None:
    ada, bob = await stub.person("Ada", "admin"), await stub.person("Bob")
    await stub.sql(DEAD_LETTER, id="evt_1")

    async def retry(headers: dict[str, str], event_id: str = "evt_1") -> int:
        data = {"event_id": event_id}
        return (await stub.http.post("/ops/webhooks/retry", data=data, headers=headers)).status_code

    assert await retry({"Sec-Fetch-Site": "same-origin"}) == 401
    assert await retry(session(bob)) == 403
    assert await retry({**session(ada), "Sec-Fetch-Site": "cross-site"}) == 403
    assert await retry({"Cookie": session(ada)["Cookie"]}) == 403
    assert await stub.sql("select action from operator_actions") == []
    assert await retry(session(ada), "evt_unknown") == 404
    assert await retry(session(ada)) == 200
    for path in ("/ops", "/ops/tasks", "/ops/webhooks", "/ops/reports", "/ops/process"):
        assert (await stub.http.get(path, headers=session(bob))).status_code == 403
        assert (await stub.http.get(path, headers=session(ada))).status_code == 200
    other = {"process_id": "elsewhere:3000 pid 1"}
    moved = await stub.http.post("/ops/drain", data=other, headers=session(ada))
    assert moved.status_code == 409
    assert await stub.sql("select operator_id::text, action, target from operator_actions") == [
        (ada.id, "retry webhook", "evt_unknown"),
        (ada.id, "retry webhook", "evt_1"),
    ]


async def test_switches_are_turned_in_every_mode_and_notifications_retried(
    stub: ContractServer,
) -> None:
    ada = await stub.person("Ada", "admin")

    async def post(path: str, **data: str) -> httpx.Response:
        return await stub.http.post(f"/ops/{path}", data=data, headers=session(ada))

    async def mode(name: str) -> None:
        with trio.fail_after(20):
            while name not in (await stub.http.get("/ops/process", headers=session(ada))).text:
                await trio.sleep(0.2)

    ((failed,),) = await stub.sql(
        "insert into notification_logs (user_id, type, title, body, status, attempts)"
        " values (%(user)s, 'hint', 'Cook', 'Cook something', 'failed', 5) returning id::text",
        user=ada.id,
    )
    assert (await post("notifications/retry", notification_id=str(uuid4()))).status_code == 404
    retried = await post("notifications/retry", notification_id=failed)
    assert "1 notification is due again." in retried.text
    assert (await post("switches/unknown", state="on")).status_code == 404
    for name, text in (("read_only", "read only"), ("maintenance", "maintenance")):
        assert (await post(f"switches/{name}", state="on")).status_code == 200
        await mode(f"This process: {text}")
        if name == "read_only":
            rejected = await post("webhooks/retry")
            assert (rejected.status_code, "please try again later" in rejected.text) == (503, True)
        else:
            assert (await stub.http.get("/api/v1/recipes")).status_code == 503
            assert (await watch(stub, session(ada)))["event"] == "console_updated"
        assert (await post(f"switches/{name}", state="off")).status_code == 200
        await mode("This process: normal")
    recorded = await stub.sql("select action, target from operator_actions order by id")
    assert recorded[-2:] == [("switch on", "maintenance"), ("switch off", "maintenance")]


async def test_socket_of_the_console_accepts_only_its_cookie_from_this_host(
    stub: ContractServer,
) -> None:
    ada, bob = await stub.person("Ada", "admin"), await stub.person("Bob")
    assert (await watch(stub, session(ada)))["event"] == "console_updated"
    rejected = await watch(stub, session(bob))
    assert (rejected["event"], rejected["data"]["code"]) == ("error", "INSUFFICIENT_PERMISSIONS")
    bearer = {"Authorization": f"Bearer {ada.token}", "Sec-Fetch-Site": "same-origin"}
    for headers in ({**session(ada), "Sec-Fetch-Site": "same-site"}, bearer):
        with pytest.raises(HandshakeError):
            await watch(stub, headers)


@pytest.mark.external
async def test_administrator_sees_sockets_rise_and_fall(
    page: Page, stub: ContractServer, nursery: trio.Nursery
) -> None:
    ada, bob, cid = [await stub.person(*who) for who in (("Ada", "admin"), ("Bob",), ("Cid",))]
    await sign_in(page, bob)
    await page.wait_for("document.querySelector('[role=alert]')?.textContent.includes('admin')")
    await sign_in(page, ada)
    await live(page)
    sockets = "document.querySelector('[data-chart=sockets] output').textContent"
    await page.wait_for(f"{sockets} === '1'")
    crowd = [await nursery.start(connected, stub, cid) for _ in range(3)]
    await page.wait_for(f"{sockets} === '4'")
    for socket in crowd:
        await socket.aclose()
    await page.wait_for(f"{sockets} === '1'")
    await open_view(page, "/ops/tasks")
    assert "background operations console" in await page.evaluate("document.body.textContent")
    assert [one for one in page.messages if "Content Security Policy" in one] == []


@pytest.mark.external
async def test_administrator_retries_a_dead_letter_and_decides_a_report(
    page: Page, stub: ContractServer
) -> None:
    ada, bob, cid = [await stub.person(*who) for who in (("Ada", "admin"), ("Bob",), ("Cid",))]
    await stub.sql(DEAD_LETTER, id="evt_dead")
    report = {"target_type": "recipe", "target_id": await stub.recipe(bob), "reason": "spam"}
    assert (await cid.post("/reports", report)).status_code == 201
    await sign_in(page, ada)
    await live(page)
    await page.wait_for("document.querySelector('[data-count=deadLetters]').textContent === '1'")
    await open_view(page, "/ops/webhooks")
    await click(page, "#retry-evt_dead")
    await page.wait_for("document.getElementById('notice').textContent === '1 event is due again.'")
    await page.wait_for("document.querySelector('#webhooks .empty') !== null")
    stored = await stub.sql("select status from stripe_webhook_events where event_id = 'evt_dead'")
    assert stored == [("processed",)]

    await open_view(page, "/ops/reports")
    await page.evaluate("document.querySelector('#reports input[name=note]').value = 'An ad.'")
    await click(page, "#reports button[value=hide]")
    await page.wait_for("document.querySelector('#reports .empty') !== null")
    assert await stub.sql("select action, note from moderation_actions") == [("hide", "An ad.")]


@pytest.mark.external
async def test_drain_is_watched_until_the_process_is_empty(
    page: Page, stub: ContractServer, nursery: trio.Nursery
) -> None:
    cid = await stub.person("Cid")
    await sign_in(page, await stub.person("Ada", "admin"))
    await live(page)
    await open_view(page, "/ops/process")
    for _ in range(3):
        await nursery.start(connected, stub, cid)
    left = "document.getElementById('left-socket').textContent"
    await page.wait_for(f"{left} === '3'")
    await click(page, "#drain-button")
    assert await page.evaluate("document.getElementById('confirm-drain').open")
    await page.evaluate(
        "window.seen = [];"
        "new MutationObserver(() => window.seen.push("
        "  [document.querySelector('.phases .now')?.textContent, " + left + "]"
        ")).observe(document.getElementById('drain'), {childList: true})"
    )
    await click(page, "#confirm-drain button.danger")
    await page.wait_for("document.getElementById('banner').textContent.includes('has ended')")
    seen = await page.evaluate("window.seen")
    assert ["Notice to sockets", "3"] in seen
    assert seen[-1] == ["Finishing requests and sockets", "0"]
    with trio.fail_after(10):
        await stub.server.ended.wait()
    assert (stub.server.status, stub.server.report and stub.server.report.reason) == (0, "operator")
    assert stub.server.report is not None
    assert stub.server.report.cut == {}
    assert await stub.sql("select action from operator_actions order by id") == [
        ("sign in",),
        ("drain",),
    ]


async def connected(
    stub: ContractServer, person: ApiUser, task_status: trio.TaskStatus[WebSocketConnection]
) -> None:
    """A client that reads until the server closes."""
    url = f"{stub.server.url.replace('http', 'ws')}/api/v1/realtime"
    headers = [(b"authorization", f"Bearer {person.token}".encode())]
    async with open_websocket_url(url, extra_headers=headers) as socket:
        await socket.get_message()
        task_status.started(socket)
        with suppress(ConnectionClosed):
            while True:
                await socket.get_message()


async def test_samples_are_rates_and_maxima_of_their_second() -> None:
    metrics, now = Metrics(), 100.0
    sampler = Sampler(metrics, lambda: 7, lambda: POOL, lambda: now)
    sampler._remember(now)  # pyright: ignore[reportPrivateUsage]
    for status, seconds in ((200, 0.004), (200, 0.004), (500, 0.15), (200, 3.0)):
        metrics.record_response("/x", "GET", status, seconds)
    sampler.observe_loop_lag(0.02)
    sampler.observe_loop_lag(0.01)
    now = 102.0
    await sampler.sample()
    now = 103.0
    await sampler.sample()
    first, second = sampler.samples
    assert (first.at, first.requests, first.failed, first.loop_lag) == (102_000, 2.0, 0.5, 20.0)
    assert (first.sockets, first.pool_in_use, first.pool_size) == (7, 2, 3)
    assert (second.requests, second.p95, second.loop_lag) == (0.0, 0.0, 0.0)


def test_percentile_is_interpolated_within_its_bucket() -> None:
    counts = [0] * (len(DURATION_BUCKETS) + 1)
    assert percentile(counts, 0.5) == 0.0
    counts[0] = 100
    assert percentile(counts, 0.5) == pytest.approx(DURATION_BUCKETS[0] / 2)
    counts[-1] = 900
    assert percentile(counts, 0.95) == DURATION_BUCKETS[-1]


def test_previous_run_is_shown_with_what_was_cut(tmp_path: Path) -> None:
    RunRecord.begin(str(tmp_path), 3000).end(1, CUT)
    shown = render("sections/last_run.html", record=RunRecord.begin(str(tmp_path), 3000))
    for text in ("Work was cut", "after operator", "Requests finished", "Sockets cut", "GET /slow"):
        assert text in shown
    (tmp_path / "run-3000.json").unlink()
    assert "first run" in render(
        "sections/last_run.html", record=RunRecord.begin(str(tmp_path), 3000)
    )


def test_services_that_fail_and_open_circuits_are_named_and_values_are_escaped() -> None:
    health = DetailedHealthResponse(
        status="unhealthy",
        timestamp="2026-01-31T12:34:56.789Z",
        version="<b>",
        environment="test",
        uptime=61,
        mode="read_only",
        services={"database": ServiceHealthResponse("down", error="TIMEOUT")},
        circuits={"openai": "open", "stripe": "closed"},
        system=SystemUsage(cpu=ProcessorUsage(50, 2), disk=SpaceUsage(1, 2, 50)),
    )
    sockets = {"websocket": {"connected_users": 1, "connections": 2, "cooking_sessions": 0}}
    shown = render("sections/health.html", health=health, sockets=sockets)
    for text in (
        "Unhealthy",
        "TIMEOUT",
        "circuit open",
        "1 of 2 circuits",
        "read only",
        "&lt;b&gt;",
        "1m01s",
    ):
        assert text in shown
    assert "<b>" not in shown
