"""Public profiles and follows, on the whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import trio

from cookcam.features.social.users.store import BY_PREFIX
from tests.features.conftest import ApiUser
from tests.support.social import UNKNOWN, ApiServer, open_api_server, refused

PUBLIC = {"id", "name", "avatar_url", "level", "total_xp", "is_creator", "creator_tier"}


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with open_api_server(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(api: ApiServer) -> ApiUser:
    return await api.person("Ann")


@pytest.fixture
async def bob(api: ApiServer) -> ApiUser:
    return await api.person("Bob")


async def names(api: ApiServer, search: str, limit: int | None = None) -> list[str]:
    params: dict[str, Any] = {"search": search} | ({"limit": limit} if limit else {})
    response = await api.guest.get("/users", params=params)
    assert response.status_code == 200, response.text
    assert all(set(user) == PUBLIC for user in response.json()["users"])
    return [user["name"] for user in response.json()["users"]]


class TestProfiles:
    async def test_profile_of_a_user_and_404_for_an_unknown_one(self, api: ApiServer, ann: ApiUser):
        user = (await api.guest.get(f"/users/{ann.id}")).json()["user"]
        assert user.pop("created_at").endswith("Z")
        assert user == {
            "id": ann.id,
            "name": "Ann",
            "avatar_url": None,
            "level": 1,
            "total_xp": 0,
            "is_creator": False,
            "creator_tier": 0,
        }
        for client in (api.guest, ann):
            for other in (UNKNOWN, "7", "preferences", "subscription", "follow", "x" * 36):
                refused(await client.get(f"/users/{other}"), 404, "User not found")
        for method, path in (
            ("POST", f"/users/follow/{UNKNOWN}"),
            ("DELETE", f"/users/follow/{UNKNOWN}"),
            ("POST", "/users/link-referral"),
            ("PUT", f"/users/{ann.id}"),
        ):
            assert (await ann.request(method, path)).json()["code"] == "NOT_FOUND"
        # One's own profile is no id either.
        assert (await ann.get("/users/profile")).json()["id"] == ann.id
        refused(await api.guest.get("/users/profile"), 401, "Authentication required")

    async def test_search_by_name_prefix(self, api: ApiServer):
        word = uuid4().hex[:12]
        for name in (f"{word} Low", f"{word.upper()} High", f"x{word}", f"{word}%", f"{word}_\\"):
            user = await api.person()
            await api.sql(
                "update users set name = %(name)s where id = %(id)s", name=name, id=user.id
            )
        await api.sql(
            "update users set total_xp = 500 where name = %(name)s", name=f"{word.upper()} High"
        )
        found = await names(api, f" {word} ")
        assert found[0] == f"{word.upper()} High"
        assert set(found) == {f"{word} Low", f"{word.upper()} High", f"{word}%", f"{word}_\\"}
        assert await names(api, word, limit=1) == [f"{word.upper()} High"]
        assert await names(api, f"{word}%") == [f"{word}%"]
        assert await names(api, f"{word}_") == [f"{word}_\\"]
        assert await names(api, f"{word}_\\") == [f"{word}_\\"]
        assert await names(api, "%%") == []
        assert await names(api, "__") == []
        assert await names(api, "' or 1=1 --") == []
        for query, literal in (
            ("limit=0", "Invalid limit parameter (1-100)"),
            ("limit=101", "Invalid limit parameter (1-100)"),
            ("search=a", "Search must be at least 2 characters"),
            ("search=%25", "Search must be at least 2 characters"),
            ("search=" + "a" * 101, "VALIDATION_ERROR"),
            ("search=ab%00", "BAD_REQUEST"),
        ):
            refused(await api.guest.get(f"/users?{query}"), 400, literal)
        # An index leads to them.
        statement = BY_PREFIX.replace("%(pattern)s", "'an%%'").replace("%(limit)s", "20")
        statement = statement.replace("%(reader)s", "null")
        plan = await api.sql(f"set enable_seqscan = off; explain {statement}")
        assert "users_by_name" in str(plan)

    async def test_list_of_users_with_the_most_xp(self, api: ApiServer, ann: ApiUser):
        await api.sql("update users set total_xp = 2000000000 where id = %(id)s", id=ann.id)
        await api.sql(
            "insert into auth.users (id, email, raw_user_meta_data)"
            " select gen_random_uuid(), gen_random_uuid() || '@x.test', '{}'"
            " from generate_series(1, 51)"
        )
        try:
            users = (await api.guest.get("/users")).json()["users"]
            assert len(users) == 20
            assert users[0]["id"] == ann.id
            experience = [user["total_xp"] for user in users]
            assert experience == sorted(experience, reverse=True)
            many = (await api.guest.get("/users?limit=100&search=")).json()["users"]
            assert len(many) == 50
            assert len({user["id"] for user in many}) == 50
        finally:
            await api.sql("update users set total_xp = 0 where id = %(id)s", id=ann.id)
            await api.sql("delete from auth.users where email like '%%@x.test'")


class TestSearchLimit:
    async def test_exhausted_search_quota_is_a_429(self, database_url: str, tmp_path: Path):
        async with open_api_server(
            database_url, tmp_path, ENABLE_RATE_LIMITING="true", RATE_LIMIT_MAX_REQUESTS="1000"
        ) as api:
            ann = await api.person("Ann")
            statuses = [(await ann.get("/users?search=an")).status_code for _ in range(11)]
            assert statuses == [200] * 10 + [429]
            # The list at the top, and everything else, goes on.
            assert (await ann.get("/users")).status_code == 200
            assert (await api.guest.get("/users?search=an")).status_code == 200


class TestFollowing:
    async def test_post_toggles_delete_removes_and_both_sides_are_listed(
        self, api: ApiServer, ann: ApiUser, bob: ApiUser
    ):
        states: list[Any] = []
        for method in ("POST", "POST", "POST", "DELETE", "DELETE", "POST"):
            response = await ann.request(method, f"/users/{bob.id}/follow")
            assert response.status_code == 200
            assert set(response.json()) == {"message", "following"}
            states.append(response.json()["following"])
        assert states == [True, False, True, False, False, True]
        # Both sides are listed, the latest first.
        carol = await api.person("Carol")
        await carol.post(f"/users/{bob.id}/follow")
        await ann.post(f"/users/{carol.id}/follow")
        body = (await api.guest.get(f"/users/{bob.id}/followers")).json()
        assert body["total"] == 2
        assert [item["follower"]["name"] for item in body["followers"]] == ["Carol", "Ann"]
        assert body["followers"][1]["follower"] == {
            "id": ann.id,
            "name": "Ann",
            "avatar_url": None,
            "level": 1,
            "total_xp": 0,
        }
        assert body["followers"][0]["created_at"].endswith("Z")
        body = (await api.guest.get(f"/users/{ann.id}/following?limit=1")).json()
        assert body["total"] == 2
        assert [item["following"]["name"] for item in body["following"]] == ["Carol"]
        assert set(body["following"][0]) == {"created_at", "following"}
        empty = (await api.guest.get(f"/users/{bob.id}/following")).json()
        assert empty == {"following": [], "total": 0}

    async def test_invalid_follows_are_rejected(self, api: ApiServer, ann: ApiUser, bob: ApiUser):
        for method in ("POST", "DELETE"):
            response = await ann.request(method, f"/users/{ann.id}/follow")
            refused(response, 400, "Cannot follow yourself")
            for other in (UNKNOWN, "7"):
                response = await ann.request(method, f"/users/{other}/follow")
                refused(response, 404, "User not found")
            response = await api.guest.request(method, f"/users/{bob.id}/follow")
            refused(response, 401, "Authentication required")
        for side in ("followers", "following"):
            for other in (UNKNOWN, "7"):
                response = await api.guest.get(f"/users/{other}/{side}")
                refused(response, 404, "User not found")
            response = await api.guest.get(f"/users/{ann.id}/{side}?limit=x")
            refused(response, 400, "Invalid limit parameter (1-100)")

    async def test_hundred_concurrent_toggles(self, api: ApiServer, ann: ApiUser, bob: ApiUser):
        states: list[bool] = []

        async def toggle(follower: ApiUser, followed: ApiUser) -> None:
            response = await follower.post(f"/users/{followed.id}/follow")
            assert response.status_code == 200, response.text
            if follower is ann:
                states.append(response.json()["following"])

        async with trio.open_nursery() as nursery:
            for _ in range(51):
                nursery.start_soon(toggle, ann, bob)
                nursery.start_soon(toggle, bob, ann)
        assert (states.count(True), states.count(False)) == (26, 25)
        for person in (ann, bob):
            body = (await api.guest.get(f"/users/{person.id}/followers")).json()
            assert body["total"] == 1


async def test_server_errors_use_the_message_of_the_endpoint(
    api: ApiServer, ann: ApiUser, bob: ApiUser
):
    await ann.post(f"/users/{bob.id}/follow")
    async with api.failing("delete", "user_follows"):
        refused(await ann.post(f"/users/{bob.id}/follow"), 500, "Failed to unfollow user")
        refused(await ann.delete(f"/users/{bob.id}/follow"), 500, "Failed to unfollow user")
    async with api.without("user_follows"):
        refused(await ann.post(f"/users/{bob.id}/follow"), 500, "Failed to follow user")
        refused(await ann.get(f"/users/{bob.id}/followers"), 500, "Failed to fetch followers")
        refused(await ann.get(f"/users/{bob.id}/following"), 500, "Failed to fetch following")
    async with api.without("users"):
        refused(await ann.get("/users"), 500, "Failed to search users")
        refused(await ann.get("/users?search=an"), 500, "Failed to search users")
        refused(await ann.get(f"/users/{bob.id}"), 500, "Internal server error")
