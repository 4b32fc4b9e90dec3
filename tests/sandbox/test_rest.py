"""The data API of the sandbox, asked exactly as the shipped app does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from attrs import frozen

from cookcam.sandbox.gotrue import Gotrue, User, open_gotrue
from cookcam.sandbox.rest import include_rest
from tests.identity.project import new_user
from tests.support.postgres import as_owner

OBJECT = {"Accept": "application/vnd.pgrst.object+json"}
RETURNED = {"Prefer": "return=representation"}


@frozen
class App:
    """The app of one user, or of nobody."""

    gotrue: Gotrue
    http: httpx.AsyncClient
    user: User | None = None

    async def ask(self, method: str, path: str, json: Any = None, **headers: str) -> httpx.Response:
        key = self.gotrue.anon_key
        token = self.gotrue.issue_token(self.user) if self.user else key
        return await self.http.request(
            method,
            f"{self.gotrue.url}/rest/v1/{path}",
            json=json,
            headers={"apikey": key, "Authorization": f"Bearer {token}", **headers},
        )

    async def rows(self, path: str, **headers: str) -> Any:
        response = await self.ask("GET", path, **headers)
        assert response.status_code in (200, 206), response.text
        return response.json()


@pytest.fixture
async def gotrue(database_url: str) -> AsyncIterator[Gotrue]:
    url = as_owner(database_url)
    async with open_gotrue(url, include=partial(include_rest, database_url=url)) as opened:
        yield opened


@pytest.fixture
async def ann(gotrue: Gotrue) -> AsyncIterator[App]:
    async with httpx.AsyncClient() as http:
        yield App(gotrue, http, await new_user(gotrue, "Ann"))


async def another(ann: App) -> App:
    return App(ann.gotrue, ann.http, await new_user(ann.gotrue, "Bob"))


def own(app: App) -> str:
    assert app.user is not None
    return str(app.user.id)


async def test_profile_rows_are_read_and_only_the_push_token_is_written(ann: App):
    bob = await another(ann)
    row = await ann.rows(f"users?select=total_xp,xp,level&id=eq.{own(ann)}", **OBJECT)
    assert row == {"total_xp": 0, "xp": 0, "level": 1}
    none = await ann.ask("GET", f"users?select=id&id=eq.{ann.gotrue.url[-4:]}", **OBJECT)
    assert (none.status_code, none.json()["code"]) == (400, "22P02")
    missing = "users?select=id&id=eq.00000000-0000-4000-8000-000000000000"
    none = await ann.ask("GET", missing, **OBJECT)
    assert (none.status_code, none.json()["code"]) == (406, "PGRST116")
    # Sign-up: the row exists already, the app ignores the error.
    profile = {
        "id": own(ann), "email": "a@x.test", "name": "Ann", "is_creator": True, "level": 1,
        "xp": 0, "total_xp": 0, "streak_current": 0,
    }  # fmt: skip
    assert (await ann.ask("POST", "users", profile)).status_code in (201, 409)
    row = await ann.rows(f"users?select=name,is_creator&id=eq.{own(ann)}", **OBJECT)
    assert row == {"name": "Ann", "is_creator": False}
    # An existing row, of whichever user, is left as it is.
    assert (await ann.ask("POST", "users", {**profile, "id": own(bob)})).status_code == 201
    row = await ann.rows(f"users?select=name,is_creator&id=eq.{own(bob)}", **OBJECT)
    assert row == {"name": "Bob", "is_creator": False}
    token = {"push_token": "ExponentPushToken[abc]"}
    assert (await ann.ask("PATCH", f"users?id=eq.{own(ann)}", token)).status_code == 204
    for change in ({"total_xp": 9}, {"is_creator": True}, {"level": 9}):
        rejected = await ann.ask("PATCH", f"users?id=eq.{own(ann)}", change)
        assert (rejected.status_code, rejected.json()["code"]) == (403, "42501")
    nobody = App(ann.gotrue, ann.http)
    rejected = await nobody.ask("GET", "users?select=id")
    assert (rejected.status_code, rejected.json()["code"]) == (401, "42501")


async def test_leaderboard_and_count_of_the_app(ann: App, database_url: str):
    columns = "id,name,avatar_url,level,total_xp,is_creator,creator_tier"
    page = await ann.rows(f"users?select={columns}&total_xp=gt.0&order=total_xp.desc&limit=50")
    assert [row["total_xp"] for row in page] == sorted(
        (row["total_xp"] for row in page), reverse=True
    )
    head = await ann.ask("HEAD", "users?select=id&total_xp=gte.0&limit=1", Prefer="count=exact")
    assert head.content == b""
    assert int(head.headers["Content-Range"].partition("/")[2]) >= 1


async def test_streaks_are_the_users_own(ann: App):
    bob = await another(ann)
    mine = f"user_streaks?select=*&user_id=eq.{own(ann)}"
    row = {"user_id": own(ann), "current_streak": 0, "longest_streak": 0}
    created = await ann.ask("POST", "user_streaks", row, **RETURNED)
    assert created.status_code in (201, 409)
    assert (await ann.ask("POST", "rpc/update_user_streak", {"p_user_id": own(ann)})).content == b""
    streak = await ann.rows(mine, **OBJECT)
    assert (streak["current_streak"], streak["total_freeze_tokens"]) == (1, 3)
    assert await bob.rows(mine) == []
    days = await ann.rows(
        "daily_cooks?select=cook_date,recipes_cooked,freeze_used"
        f"&user_id=eq.{own(ann)}&cook_date=gte.2020-01-01&cook_date=lte.2999-01-01"
    )
    assert [(day["recipes_cooked"], day["freeze_used"]) for day in days] == [(1, False)]
    used = await ann.ask(
        "POST", "rpc/use_freeze_token", {"p_user_id": own(ann), "p_date": "2020-01-01"}
    )
    assert (used.status_code, used.json()) == (200, False)
    stolen = await bob.ask("POST", "rpc/update_user_streak", {"p_user_id": own(ann)})
    assert (stolen.status_code, stolen.json()["code"]) == (403, "42501")


async def test_what_the_app_does_not_use_is_not_served(ann: App):
    unknown = await ann.ask("GET", "recipes?select=id")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "PGRST205")
    for function in ("add_user_xp", "hold_user"):
        unknown = await ann.ask("POST", f"rpc/{function}", {"p_user_id": own(ann)})
        assert (unknown.status_code, unknown.json()["code"]) == (404, "PGRST202")
    for query in ("select=id;drop", "select=id&id=eq", "select=id&order=id.up", "limit=x"):
        broken = await ann.ask("GET", f"users?{query}")
        assert broken.status_code == 400, query
    response = await ann.http.get(f"{ann.gotrue.url}/rest/v1/users")
    assert response.status_code == 401
    expired = ann.gotrue.issue_token(own(ann), exp=1)
    headers = {"apikey": ann.gotrue.anon_key, "Authorization": f"Bearer {expired}"}
    response = await ann.http.get(f"{ann.gotrue.url}/rest/v1/users", headers=headers)
    assert (response.status_code, response.json()["message"]) == (401, "JWT expired")
