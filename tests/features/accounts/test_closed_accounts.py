"""Banned and deleted accounts: their tokens stop at once, over HTTP as on sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionRejected, open_websocket_url

from cookcam.realtime.accounts import CHANNEL
from cookcam.sandbox.stripe import Fault
from tests.features.conftest import ApiUser, Response
from tests.identity.project import PASSWORD
from tests.support.generation import FOODS, PREFERENCES, open_generation_app
from tests.support.owners import OwnersApp, open_owners_app

BAN = "update auth.users set banned_until = now() + '1 hour' where id = %(id)s"
UNBAN = "update auth.users set banned_until = null where id = %(id)s"
DELETE = "delete from auth.users where id = %(id)s"

AT_ONCE = 5.0
"""Seconds within which an announcement takes effect on a busy machine; the cache holds for ten."""

OPEN_TO_DELETED = {
    ("get", "/auth/me"),
    ("get", "/users/profile"),
    ("post", "/auth/logout"),
    ("post", "/auth/signout"),
    ("delete", "/auth/account"),
}
"""Routes on which a client learns of a deletion, repeats it, or signs out."""


@pytest.fixture
async def house(database_url: str, tmp_path: Path) -> AsyncIterator[OwnersApp]:
    async with open_owners_app(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(house: OwnersApp) -> ApiUser:
    return await house.person("Ann")


def assert_rejected(response: Response) -> None:
    assert response.status_code == 401, response.text
    body = response.json()
    assert (body["error"], body["code"]) == ("Token expired or invalid", "TOKEN_EXPIRED")


LISTENING = "select 1 from pg_stat_activity where datname = current_database() and query = %(q)s"


async def rejected_soon(person: ApiUser) -> None:
    with trio.fail_after(AT_ONCE):
        while (await person.get("/recipes/saved/my")).status_code == 200:
            await trio.sleep(0.01)
    assert_rejected(await person.get("/recipes/saved/my"))


async def routes_that_require_a_token(house: OwnersApp) -> set[tuple[str, str]]:
    document = (await house.http.get("/openapi.json")).json()
    return {
        (method, path.removeprefix("/api/v1"))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if {"bearerAuth": []} in operation.get("security", [])
        and {} not in operation.get("security", [])
    }


@pytest.mark.parametrize("statement", [BAN, DELETE])
async def test_token_of_a_closed_account_is_rejected_at_once(
    house: OwnersApp, ann: ApiUser, statement: str
) -> None:
    assert (await ann.get("/recipes/saved/my")).status_code == 200  # the state is cached now
    await house.sql(statement, id=ann.id)
    await rejected_soon(ann)


@pytest.mark.parametrize("statement", [BAN, DELETE])
async def test_every_route_that_requires_a_token_rejects_a_closed_account(
    house: OwnersApp, ann: ApiUser, statement: str
) -> None:
    await house.sql(statement, id=ann.id)
    routes = await routes_that_require_a_token(house)
    assert len(routes) > 60
    allowed = OPEN_TO_DELETED if statement == DELETE else set[Any]()
    for method, path in sorted(routes - allowed):
        response = await ann.request(
            method.upper(), path.replace("{", "").replace("}", ""), json={}
        )
        assert_rejected(response)


async def test_banned_account_may_act_again_after_its_ban(
    house: OwnersApp, ann: ApiUser, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.sql(BAN, id=ann.id)
    assert_rejected(await ann.get("/auth/me"))
    await house.sql(UNBAN, id=ann.id)
    monkeypatch.setattr("cookcam.identity.account_states.TTL", 0.05)
    await trio.sleep(0.1)
    assert (await ann.get("/auth/me")).status_code == 200


async def test_account_whose_deletion_is_under_way_is_rejected(
    house: OwnersApp, ann: ApiUser
) -> None:
    await house.subscribe(ann)
    house.stripe.behaviour.fault = Fault("status", status=503)
    response = await ann.delete("/auth/account", json={"confirmPassword": PASSWORD})
    assert response.json()["code"] == "DELETION_UNDER_WAY"
    assert_rejected(await ann.post("/recipes", {"title": "After the request"}))
    house.stripe.behaviour.fault = None


async def test_closed_account_is_a_guest_where_guests_are_allowed(
    house: OwnersApp, ann: ApiUser
) -> None:
    await house.sql(BAN, id=ann.id)
    assert (await ann.get("/users")).status_code == 200


async def test_sockets_refuse_the_token_of_a_closed_account(house: OwnersApp, ann: ApiUser) -> None:
    assert house.server is not None
    url = f"ws://127.0.0.1:{house.server.port}/api/v1/realtime"
    await house.sql(BAN, id=ann.id)
    headers = [(b"authorization", f"Bearer {ann.token}".encode())]
    with pytest.raises(ConnectionRejected) as rejected:
        async with open_websocket_url(url, extra_headers=headers):
            pass
    assert rejected.value.status_code == 401


async def test_ban_is_announced_to_http_without_sockets(database_url: str, tmp_path: Path) -> None:
    async with open_owners_app(database_url, tmp_path, ENABLE_WEBSOCKETS="false") as house:
        ann = await house.person("Ann")
        assert (await ann.get("/recipes/saved/my")).status_code == 200
        with trio.fail_after(20):
            while not await house.sql(LISTENING, q=f'listen "{CHANNEL}"'):
                await trio.sleep(0.01)
        await house.sql(BAN, id=ann.id)
        await rejected_soon(ann)


async def test_model_is_not_requested_for_a_deleted_account(database_url: str) -> None:
    async with open_generation_app(database_url) as live:
        ann = await live.person()
        await live.sql(DELETE, id=ann.id)
        ideas: dict[str, Any] = {"detectedIngredients": FOODS, "userPreferences": PREFERENCES}
        for path in ("generate-previews", "suggestions", "generate", "generate-full"):
            assert_rejected(await ann.post(f"/recipes/{path}", ideas))
        assert live.model.received == []
