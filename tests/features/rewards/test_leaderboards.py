"""Leaderboards and ranks over HTTP, on the whole program."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import trio

from cookcam.features.rewards.leaderboards.redis_store import STATE
from cookcam.features.rewards.leaderboards.responses import LeaderboardResponse
from tests.features.conftest import ApiUser, Client
from tests.support.redis import redis_server
from tests.support.social import UNKNOWN, ApiServer, open_api_server, refused

BOARD = "/gamification/leaderboard"
RANK = "/gamification/rank"


@pytest.fixture(params=["sql", pytest.param("redis", marks=pytest.mark.external)])
async def api(
    request: pytest.FixtureRequest, fresh_database_url: str, tmp_path: Path
) -> AsyncIterator[ApiServer]:
    """A database without any XP; leaderboards from SQL or from Redis."""
    if request.param == "sql":
        async with open_api_server(fresh_database_url, tmp_path) as opened:
            yield opened
        return
    with redis_server() as redis:
        await redis.start()
        async with open_api_server(fresh_database_url, tmp_path, REDIS_URL=redis.url) as opened:
            with trio.fail_after(20):
                while b":1" not in await redis.ask(f"EXISTS {STATE}"):
                    await trio.sleep(0.05)
            yield opened


async def earn(api: ApiServer, user: ApiUser, xp: int, *, days_ago: int = 0) -> None:
    await api.sql(
        "with earned as (update users set total_xp = total_xp + %(xp)s where id = %(id)s"
        " returning id, total_xp)"
        " insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level,"
        " created_at) select id, 'x', %(xp)s, total_xp, 1, 1,"
        " now() - make_interval(days => %(ago)s) from earned",
        id=user.id,
        xp=xp,
        ago=days_ago,
    )


async def board(client: Client, **query: Any) -> dict[str, Any]:
    response = await client.get(BOARD, params=query)
    assert response.status_code == 200, response.text
    return response.json()


def names(body: dict[str, Any]) -> list[str]:
    return [entry["users"]["name"] for entry in body["leaderboard"]]


async def rank(client: Client, path: str = RANK, period: str = "weekly") -> dict[str, Any]:
    response = await client.get(path, params={"period": period})
    assert response.status_code == 200, response.text
    return response.json()


async def test_empty_leaderboard(api: ApiServer):
    ann = await api.person("Ann")
    for client in (api.guest, ann):
        body = await board(client)
        assert (body["leaderboard"], body["userRank"]) == ([], None)
        assert (body["metadata"]["type"], body["metadata"]["period"]) == ("global", "weekly")
    nothing = {"rank": None, "total_users": 0, "user_xp": 0, "period_xp": 0}
    assert await rank(ann) == nothing
    assert await rank(ann, f"{RANK}/{ann.id}", "allTime") == nothing


async def test_periods_have_their_own_xp_and_order(api: ApiServer):
    ann, bob, cid = [await api.person(name) for name in ("Ann", "Bob", "Cid")]
    await api.sql("update achievements set is_active = false")  # they would pay for the cooks
    for user, xp, days_ago in (
        (cid, 500, 800), (bob, 40, 1), (ann, 10, 1), (ann, 55, 0), (bob, 20, 0)
    ):  # fmt: skip
        await earn(api, user, xp, days_ago=days_ago)
    await api.sql(
        "insert into daily_cooks (user_id, cook_date, recipes_cooked)"
        " select %(id)s, (now() at time zone 'UTC')::date - n, 2 from generate_series(0, 900) n",
        id=ann.id,
    )
    body = await board(ann, period="daily")
    msgspec.convert(body, LeaderboardResponse)
    first, second = body["leaderboard"]
    assert first == {
        "rank": 1,
        "xp_total": 65,
        "xp_gained": 55,
        "movement": 1,
        "recipes_cooked": 2,
        "users": {
            "id": ann.id,
            "name": "Ann",
            "level": 1,
            "avatar_url": None,
            "is_creator": False,
            "creator_tier": 0,
        },
    }
    assert (second["rank"], second["xp_gained"], second["movement"]) == (2, 20, -1)
    assert second["users"]["id"] == bob.id
    assert body["userRank"] == 1
    lifetime = await board(bob, period="allTime")
    assert [
        (entry["users"]["name"], entry["xp_total"], entry["xp_gained"], entry["movement"])
        for entry in lifetime["leaderboard"]
    ] == [("Cid", 500, 500, 0), ("Ann", 65, 65, 0), ("Bob", 60, 60, 0)]
    assert lifetime["leaderboard"][1]["recipes_cooked"] == 1802
    assert lifetime["userRank"] == 3

    assert await rank(bob, period="daily") == {
        "rank": 2, "total_users": 2, "user_xp": 60, "period_xp": 20
    }  # fmt: skip
    assert await rank(ann, f"{RANK}/{cid.id}", "daily") == {
        "rank": None, "total_users": 2, "user_xp": 500, "period_xp": 0
    }  # fmt: skip
    assert (await rank(cid, period="allTime"))["rank"] == 1


async def test_ties_are_ordered_by_lifetime_xp_then_time_then_id(api: ApiServer):
    users = [await api.person(name) for name in ("Rich", "Early", "Late", "Later")]
    rich, early, late, later = users
    await earn(api, rich, 1, days_ago=800)
    for user in (early, late, later, rich):
        await earn(api, user, 30)
    # The last two reached the XP in the same instant: their ids decide.
    await api.sql(
        "update xp_periods set reached_at = now() + interval '1 minute'"
        " where user_id = any(%(ids)s) and period in ('daily', 'allTime')",
        ids=[UUID(late.id), UUID(later.id)],
    )
    last = sorted((late, later), key=lambda user: UUID(user.id))
    expected = [rich.id, early.id, *(user.id for user in last)]
    for period in ("daily", "allTime"):
        page = (await board(api.guest, period=period))["leaderboard"]
        assert [entry["users"]["id"] for entry in page] == expected
        assert [entry["rank"] for entry in page] == [1, 2, 3, 4]
        places = {user.id: (await board(user, period=period))["userRank"] for user in users}
        assert [places[user_id] for user_id in expected] == [1, 2, 3, 4]
    # A rank counts the users with more XP: those with the same XP share it.
    assert [(await rank(user, period="daily"))["rank"] for user in users] == [1, 1, 1, 1]
    assert [(await rank(user, period="allTime"))["rank"] for user in users] == [1, 2, 2, 2]


async def test_pages_follow_each_other(api: ApiServer):
    users = [await api.person(f"User{number}") for number in range(5)]
    for number, user in enumerate(users):
        await earn(api, user, 100 - number)
    pages = [await board(users[3], limit=2, offset=offset) for offset in (0, 2, 4, 6)]
    assert [names(page) for page in pages] == [
        ["User0", "User1"], ["User2", "User3"], ["User4"], []
    ]  # fmt: skip
    assert [entry["rank"] for page in pages for entry in page["leaderboard"]] == [1, 2, 3, 4, 5]
    assert {page["userRank"] for page in pages} == {4}


async def test_friends_are_the_followed_users_and_the_caller(api: ApiServer):
    ann, bob, cid = [await api.person(name) for name in ("Ann", "Bob", "Cid")]
    for user, xp in ((cid, 30), (bob, 20), (ann, 10)):
        await earn(api, user, xp)
    await ann.post(f"/users/{bob.id}/follow")
    for period in ("weekly", "allTime"):
        body = await board(ann, type="friends", period=period)
        assert (names(body), body["userRank"]) == (["Bob", "Ann"], 2)
        assert body["metadata"]["type"] == "friends"
        body = await board(ann, type="xp", period=period)
        assert (names(body), body["userRank"]) == (["Cid", "Bob", "Ann"], 3)
    refused(await api.guest.get(f"{BOARD}?type=friends"), 401, "Authentication required")


async def test_awards_count_at_once_and_pages_are_cached(api: ApiServer):
    ann, bob = await api.person("Ann"), await api.person("Bob")
    claim = {"xp_amount": 75, "action": "COMPLETE_RECIPE"}
    await ann.post("/gamification/add-xp", claim)
    assert names(await board(api.guest)) == ["Ann"]
    for _ in range(2):
        await bob.post("/gamification/add-xp", claim)
    assert names(await board(api.guest)) == ["Ann"]
    assert names(await board(api.guest, limit=49)) == ["Bob", "Ann"]
    # The own place is never cached.
    assert (await board(ann))["userRank"] == 2
    assert await rank(bob) == {"rank": 1, "total_users": 2, "user_xp": 150, "period_xp": 150}


async def test_concurrent_awards_leave_the_sums_of_the_ledger(api: ApiServer):
    users = [await api.person(f"User{number}") for number in range(3)]

    async def award(number: int) -> None:
        action = ("STEP_COMPLETE", "ADD_REAL_INGREDIENT", "APPLY_FILTERS")[number % 3]
        body = {"xp_amount": 5, "action": action}
        response = await users[number % 2].post("/gamification/add-xp", body)
        assert response.status_code == 200, response.text

    async with trio.open_nursery() as nursery:
        for number in range(60):
            nursery.start_soon(award, number)
    wrong = await api.sql(
        "select * from xp_periods x join users u on u.id = x.user_id where x.xp <> u.total_xp"
    )
    assert wrong == []
    assert await api.value("select count(*) from xp_periods") == 2 * 5
    assert await api.value("select sum(xp_gained) from user_progress") == await api.value(
        "select sum(xp) from xp_periods where period = 'weekly'"
    )


async def test_invalid_queries_are_rejected(api: ApiServer):
    ann = await api.person("Ann")
    for query, error in (
        ("period=hourly", "Invalid period"),
        ("period=yearly", "Invalid period"),
        ("type=enemies", "Invalid type"),
        ("limit=0", "Invalid limit parameter (1-100)"),
        ("limit=101", "Invalid limit parameter (1-100)"),
        ("offset=-1", "Invalid offset parameter"),
    ):
        refused(await ann.get(f"{BOARD}?{query}"), 400, error)
    for path in (RANK, f"{RANK}/{ann.id}"):
        refused(await ann.get(f"{path}?period=hourly"), 400, "Invalid period")
        refused(await api.guest.get(path), 401, "Authentication required")
    for unknown in (UNKNOWN, "ann"):
        refused(await ann.get(f"{RANK}/{unknown}"), 404, "User not found")
