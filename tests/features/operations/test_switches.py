"""Maintenance and read-only mode: every instance follows, and nothing else stops."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import trio
from click.testing import CliRunner
from trio_websocket import ConnectionRejected, open_websocket_url

from cookcam.cli import main
from cookcam.features.operations.switches.service import INTERVAL
from cookcam.sandbox.gotrue import User
from cookcam.sandbox.stripe.outbox import signature
from tests.contract.server import ContractServer, open_contract_server
from tests.identity.project import PASSWORD, open_project
from tests.support.live_clients import LiveClient, LiveServer, run_live_server

WEBHOOK_SECRET = "whsec_test"
FOLLOWED = INTERVAL + 3.0
"""Seconds until every instance has followed a switch, with time for a busy machine."""


@pytest.fixture
async def instances(fresh_database_url: str) -> AsyncIterator[tuple[LiveServer, LiveServer]]:
    environ = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
    async with (
        open_project(fresh_database_url) as gotrue,
        run_live_server(fresh_database_url, gotrue, **environ) as one,
        run_live_server(fresh_database_url, gotrue, **environ) as two,
    ):
        yield one, two


async def cli(database_url: str, *arguments: str) -> str:
    """Runs `cookcam` with the database in its environment; returns its output."""
    runner = CliRunner(env={"DATABASE_URL": database_url, "APP_ENV": "test"})
    result = await trio.to_thread.run_sync(partial(runner.invoke, main, arguments))
    assert result.exit_code == 0, result.output
    return result.output


async def switch(live: LiveServer, *arguments: str) -> None:
    await cli(live.database_url, *arguments)


async def mode_of(live: LiveServer) -> str:
    return (await live.server.http.get(f"{live.server.url}/health/detailed")).json()["mode"]


async def wait_for_mode(mode: str, *instances: LiveServer) -> None:
    with trio.fail_after(FOLLOWED):
        for live in instances:
            while await mode_of(live) != mode:
                await trio.sleep(0.05)


def bearer(live: LiveServer, user: User) -> dict[str, str]:
    return {"Authorization": f"Bearer {live.gotrue.issue_token(user)}"}


async def deliver_event(live: LiveServer) -> httpx.Response:
    """Delivers a Stripe event that concerns no subscription."""
    event = {
        "id": f"evt_{uuid4().hex}",
        "object": "event",
        "type": "customer.created",
        "created": int(time.time()),
        "livemode": False,
        "data": {"object": {"id": "cus_1", "object": "customer"}},
    }
    body = json.dumps(event).encode()
    signed = {"Stripe-Signature": signature(body, [WEBHOOK_SECRET], int(time.time()))}
    return await live.server.http.post("/subscription/webhook/stripe", content=body, headers=signed)


async def closing_of(client: LiveClient) -> tuple[int, str | None]:
    """Waits for the close; returns its code and reason."""
    with trio.fail_after(FOLLOWED):
        await client.closed.wait()
    reason = client.socket.closed
    assert reason is not None
    return int(reason.code), reason.reason


async def test_maintenance_mode_rejects_requests_and_sockets_on_every_instance(
    instances: tuple[LiveServer, LiveServer],
) -> None:
    one, two = instances
    ann = await one.connect("Ann")
    bob = await two.connect("Bob", plain=True)
    await switch(one, "maintenance", "on", "--retry-after", "120")
    await wait_for_mode("maintenance", one, two)

    for live in instances:
        http, root = live.server.http, live.server.url
        for path in ("/recipes", "/users/profile", "/subscription/tiers", "/no-such-route"):
            response = await http.get(path)
            body = response.json()
            assert (response.status_code, response.headers["retry-after"]) == (503, "120")
            assert (body["code"], body["statusCode"], body["retryAfter"]) == (
                "MAINTENANCE",
                503,
                120,
            )
            assert body["requestId"] == response.headers["x-request-id"]
            assert response.headers["x-frame-options"] == "DENY"
        for path in ("/health", "/health/live", "/health/ready", "/health/detailed", "/metrics"):
            assert (await http.get(f"{root}{path}")).status_code == 200, path
        page = await http.get(f"{root}/status")
        assert page.status_code == 200
        assert "under maintenance" in page.text
        assert (await deliver_event(live)).status_code == 200
        preflight = await http.options(
            "/recipes",
            headers={"Origin": "http://localhost:8081", "Access-Control-Request-Method": "GET"},
        )
        assert preflight.status_code == 204

    for client in (ann, bob):
        notice = await client.expect("server_shutdown")
        assert 121_000 <= notice["reconnectAfterMs"] <= 130_000
        assert await closing_of(client) == (1001, "under maintenance")
    for path in ("/socket.io/?EIO=4&transport=websocket", "/api/v1/realtime"):
        with pytest.raises(ConnectionRejected) as rejected:
            async with open_websocket_url(f"ws://127.0.0.1:{one.server.port}{path}"):
                pass
        assert rejected.value.status_code == 503
        assert (b"retry-after", b"120") in [
            (name.lower(), value) for name, value in rejected.value.headers or ()
        ]
    polling = await one.server.http.get(f"{one.server.url}/socket.io/?EIO=4&transport=polling")
    assert polling.status_code == 503
    assert (polling.json()["error"], polling.headers["retry-after"]) == ("MAINTENANCE", "120")

    await switch(one, "maintenance", "off")
    await wait_for_mode("normal", one, two)
    assert (await two.server.http.get("/recipes")).status_code == 200
    await one.connect(ann.user)


async def test_maintenance_mode_survives_a_restart(fresh_database_url: str) -> None:
    await cli(fresh_database_url, "maintenance", "on")
    async with (
        open_project(fresh_database_url) as gotrue,
        run_live_server(fresh_database_url, gotrue) as live,
    ):
        response = await live.server.http.get("/recipes")  # the first request
        assert (response.status_code, response.headers["retry-after"]) == (503, "60")


async def test_read_only_mode_serves_reads_and_rejects_changes(
    instances: tuple[LiveServer, LiveServer],
) -> None:
    one, two = instances
    ann = await one.person("Ann")
    recipe = await one.recipe(ann)
    device = await two.connect(ann)
    await switch(one, "read-only", "on")
    await wait_for_mode("read_only", one, two)

    for live in instances:
        http, headers = live.server.http, bearer(live, ann)
        for path in (f"/recipes/{recipe}", "/users/profile", "/notifications"):
            assert (await http.get(path, headers=headers)).status_code == 200, path
        for method, path in (
            ("POST", "/recipes"),
            ("PUT", "/users/profile"),
            ("DELETE", f"/recipes/{recipe}"),
            ("POST", "/subscription/create-checkout"),
        ):
            response = await http.request(method, path, headers=headers, json={"title": "Soup"})
            assert (response.status_code, response.json()["code"]) == (503, "READ_ONLY"), path
            assert response.headers["retry-after"] == "60"
        session = await http.post("/auth/login", json={"email": ann.email, "password": PASSWORD})
        assert session.status_code == 200
        refreshed = await http.post(
            "/auth/refresh", json={"refreshToken": session.json()["refreshToken"]}
        )
        assert refreshed.status_code == 200
        # Nothing may be stored: the provider delivers the event again.
        delivery = await deliver_event(live)
        assert (delivery.status_code, delivery.json()["code"]) == (503, "READ_ONLY")
        page = await http.get(f"{live.server.url}/status")
        assert "nothing can be changed" in page.text

    reply = await device.ask("create_cooking_session", {"recipeId": recipe, "title": "Tonight"})
    assert reply["ok"] is False
    assert (await device.expect("error"))["code"] == "READ_ONLY"

    await switch(two, "read-only", "off")
    await wait_for_mode("normal", one, two)
    response = await two.server.http.post(
        "/recipes", headers=bearer(two, ann), json={"title": "Stew"}
    )
    assert response.status_code == 201
    assert (await deliver_event(one)).status_code == 200
    await device.ask("create_cooking_session", {"recipeId": recipe, "title": "Tonight"})
    await device.expect("cooking_session_created")


async def test_every_read_of_the_api_is_served_in_read_only_mode(
    fresh_database_url: str, tmp_path: Path
) -> None:
    async with open_contract_server(fresh_database_url, tmp_path / "files") as contract:
        admin = await contract.person("Ann", role="admin")
        await contract.subscribe(admin, "creator")
        recipe = await contract.recipe(admin)
        scan_free = {"recipe_id": recipe, "user_id": str(admin.id)}
        document = (await contract.http.get("/openapi.json")).json()
        paths = [
            re.sub(r"\{(\w+)\}", lambda found: scan_free.get(found[1], str(uuid4())), path)
            for path, operations in document["paths"].items()
            if "get" in operations and "servers" not in operations
        ]
        assert len(paths) > 40
        before = await statuses(contract, admin, paths)
        await cli(fresh_database_url, "read-only", "on")
        with trio.fail_after(FOLLOWED):
            while (await contract.http.get("/health/detailed")).json()["mode"] != "read_only":
                await trio.sleep(0.05)
        assert await statuses(contract, admin, paths) == before


async def statuses(contract: ContractServer, caller: Any, paths: list[str]) -> dict[str, int]:
    return {path: (await caller.get(path)).status_code for path in paths}


async def test_status_is_printed(fresh_database_url: str) -> None:
    status = partial(cli, fresh_database_url)
    assert await status("maintenance", "status") == "maintenance is off\n"
    assert await status("maintenance", "on") == "maintenance is on; Retry-After 60 s\n"
    assert (await status("maintenance", "status")).startswith("maintenance is on since 2")
    assert await status("read-only", "status") == "read-only is off\n"
    assert await status("maintenance", "off") == "maintenance is off\n"
    assert await status("maintenance", "status") == "maintenance is off\n"
