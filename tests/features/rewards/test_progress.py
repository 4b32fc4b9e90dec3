"""XP claims, progress, achievements and streaks over HTTP, on the whole program."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
import trio

from cookcam.database import SERVICE, Database
from cookcam.features.rewards.achievements.routes import AchievementsResponse
from cookcam.features.rewards.streaks.responses import (
    StreakHistoryResponse,
    StreakStatusResponse,
)
from cookcam.features.rewards.streaks.service import Streaks
from cookcam.features.rewards.streaks.store import StreakStore
from cookcam.features.rewards.xp.models import XpClaim
from cookcam.features.rewards.xp.responses import ProgressResponse
from cookcam.features.rewards.xp.service import Progress
from cookcam.features.rewards.xp.store import ProgressStore
from cookcam.identity import Identity
from tests.features.conftest import ApiUser
from tests.support.social import ApiServer, open_api_server, refused
from tests.support.users import create_user

ADD_XP = "/gamification/add-xp"
TODAY = "(now() at time zone 'UTC')::date"


@pytest.fixture
async def api(database_url: str, tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with open_api_server(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def ann(api: ApiServer) -> ApiUser:
    return await api.person("Ann")


async def claim(user: ApiUser, action: str, amount: float = 5, **metadata: Any) -> dict[str, Any]:
    body = {"xp_amount": amount, "action": action, "metadata": metadata}
    response = await user.post(ADD_XP, body)
    assert response.status_code == 200, response.text
    return response.json()


async def set_streak(api: ApiServer, user: ApiUser, *, days: int, days_ago: int) -> None:
    """Gives the user a streak whose last cooked day was `days_ago`."""
    await api.sql(
        "update user_streaks set current_streak = %(days)s, longest_streak = %(days)s,"
        f" last_cook_date = {TODAY} - %(ago)s where user_id = %(id)s",
        id=user.id,
        days=days,
        ago=days_ago,
    )


async def day(api: ApiServer, days_ago: int) -> str:
    return str(await api.value(f"select {TODAY} - %(ago)s", ago=days_ago))


class TestClaims:
    async def test_inflated_amount_awards_the_amount_of_the_catalogue(
        self, api: ApiServer, ann: ApiUser
    ):
        body = await claim(ann, "COMPLETE_RECIPE", 1_000_000)
        assert body == {
            "success": True,
            "result": [
                {
                    "user_id": ann.id,
                    "action": "COMPLETE_RECIPE",
                    "xp_gained": 75,
                    "old_xp": 0,
                    "new_xp": 75,
                    "old_total_xp": 0,
                    "new_total_xp": 75,
                    "old_level": 1,
                    "new_level": 1,
                    "level_up": False,
                }
            ],
            "xp_awarded": 75,
            "new_total_xp": 75,
            "new_level": 1,
            "level_up": False,
            "capped": False,
            "duplicate": False,
            "badges_unlocked": [],
        }
        assert await api.xp(ann) == 75

    async def test_daily_limit_answers_200_with_unchanged_totals(
        self, api: ApiServer, ann: ApiUser
    ):
        awarded = [(await claim(ann, "APPLY_FILTERS"))["xp_awarded"] for _ in range(4)]
        assert awarded == [5, 5, 5, 0]
        capped = await claim(ann, "APPLY_FILTERS")
        assert (capped["capped"], capped["new_total_xp"], capped["duplicate"]) == (True, 15, False)
        assert await api.xp(ann) == 15

    @pytest.mark.parametrize(
        "action",
        ["SUCCESSFUL_SCAN", "RECIPE_COMPLETION_PHOTO", "BECOME_CREATOR", "MYSTERY_BOX", "LEVEL_UP"],
    )
    async def test_actions_of_the_server_earn_nothing_when_claimed(
        self, api: ApiServer, ann: ApiUser, action: str
    ):
        body = await claim(ann, action, 500)
        assert (body["xp_awarded"], body["capped"]) == (0, True)
        assert body["result"][0]["new_total_xp"] == 0
        assert await api.xp(ann) == 0

    async def test_weekly_bonus_needs_seven_check_ins(self, api: ApiServer, ann: ApiUser):
        assert (await claim(ann, "WEEKLY_CHECK_IN_BONUS"))["capped"] is True
        await api.sql(
            "insert into user_progress (user_id, action, xp_gained, total_xp, old_level,"
            " new_level, created_at) select %(id)s, 'DAILY_CHECK_IN', 5, 5, 1, 1,"
            " now() - make_interval(days => n) from generate_series(1, 7) as n",
            id=ann.id,
        )
        assert (await claim(ann, "WEEKLY_CHECK_IN_BONUS"))["xp_awarded"] == 50
        assert (await claim(ann, "WEEKLY_CHECK_IN_BONUS"))["xp_awarded"] == 0

    async def test_subject_earns_xp_once(self, ann: ApiUser):
        first = await claim(ann, "SAVE_RECIPE", recipe_id="r1")
        again = await claim(ann, "SAVE_RECIPE", recipe_id="r1", idempotency_key="other")
        other = await claim(ann, "SAVE_RECIPE", recipe_id="r2")
        assert [body["xp_awarded"] for body in (first, again, other)] == [15, 0, 15]
        assert (again["duplicate"], again["capped"]) == (True, False)

    async def test_idempotency_key_makes_one_award_for_each_action(self, ann: ApiUser):
        repeated = [await claim(ann, "STEP_COMPLETE", idempotency_key="k1") for _ in range(2)]
        other = await claim(ann, "COMPLETE_RECIPE", idempotency_key="k1")
        assert [body["xp_awarded"] for body in (*repeated, other)] == [5, 0, 75]

    async def test_client_key_does_not_block_an_award_of_the_server(
        self, api: ApiServer, ann: ApiUser
    ):
        today = await day(api, 0)
        await claim(ann, "STEP_COMPLETE", idempotency_key=f"streak:{today}")
        response = await ann.post("/gamification/streak/cook")
        assert response.json()["xp_awarded"] == 2

    async def test_header_replays_the_response(self, api: ApiServer, ann: ApiUser):
        keyed = {"Idempotency-Key": uuid4().hex}
        body = {"xp_amount": 5, "action": "STEP_COMPLETE"}
        first = await ann.post(ADD_XP, body, headers=keyed)
        again = await ann.post(ADD_XP, body, headers=keyed)
        assert again.json() == first.json()
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await api.xp(ann) == 5

    async def test_concurrent_claims_make_one_award_for_each_key(
        self, api: ApiServer, ann: ApiUser
    ):
        responses: list[dict[str, Any]] = []

        async def one(number: int) -> None:
            key = f"step {number % 10}"
            responses.append(await claim(ann, "STEP_COMPLETE", idempotency_key=key))

        async with trio.open_nursery() as nursery:
            for number in range(100):
                nursery.start_soon(one, number)
        assert Counter(body["xp_awarded"] for body in responses) == {5: 10, 0: 90}
        assert await api.xp(ann) == 50
        assert (
            await api.value("select count(*) from user_progress where user_id = %(id)s", id=ann.id)
            == 10
        )

    async def test_invalid_claims_are_rejected(self, api: ApiServer, ann: ApiUser):
        required = "XP amount and action are required"
        for body in (
            None, {}, {"action": "STEP_COMPLETE"}, {"xp_amount": 5},
            {"xp_amount": 0, "action": "STEP_COMPLETE"},
            {"xp_amount": -5, "action": "STEP_COMPLETE"},
            {"xp_amount": True, "action": "STEP_COMPLETE"},
            {"xp_amount": "5", "action": "STEP_COMPLETE"},
            {"xp_amount": 5, "action": ""},
        ):  # fmt: skip
            refused(await ann.post(ADD_XP, body), 400, required)
        refused(await ann.post(ADD_XP, {"xp_amount": 5, "action": "CHEAT"}), 400, "Unknown action")
        for metadata in ({"idempotency_key": "k" * 201}, {"recipe_id": 7}, "text"):
            body = {"xp_amount": 5, "action": "STEP_COMPLETE", "metadata": metadata}
            response = await ann.post(ADD_XP, body)
            assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
        assert await api.xp(ann) == 0

    async def test_new_level_unlocks_its_badge(self, api: ApiServer, ann: ApiUser):
        # Level 5 begins at 1200 XP.
        await api.sql("update users set total_xp = 1190, level = 4 where id = %(id)s", id=ann.id)
        body = await claim(ann, "CREATE_RECIPE")
        assert (body["level_up"], body["new_level"]) == (True, 5)
        assert body["badges_unlocked"] == [{"key": "level_5", "name": "Level 5", "points": 0}]


class TestReads:
    async def test_progress_of_a_new_user_is_empty(self, ann: ApiUser):
        body = (await ann.get("/gamification/progress")).json()
        stats = {"level": 1, "xp": 0, "total_xp": 0, "streak_current": 0, "streak_shields": 3}
        assert body == {"user_stats": stats, "recent_progress": {}, "achievements": []}
        msgspec.convert(body, ProgressResponse)

    async def test_progress_has_the_newest_award_and_the_unlocked_achievements(
        self, api: ApiServer, ann: ApiUser
    ):
        await api.sql("update users set total_xp = 1190 where id = %(id)s", id=ann.id)
        await claim(ann, "STEP_COMPLETE", idempotency_key="secret")
        await claim(ann, "SAVE_RECIPE", recipe_id="r1")
        await set_streak(api, ann, days=9, days_ago=5)
        body = (await ann.get("/gamification/progress")).json()
        progress = msgspec.convert(body, ProgressResponse)
        assert body["user_stats"] == {
            "level": 5, "xp": 1210, "total_xp": 1210, "streak_current": 0, "streak_shields": 3
        }  # fmt: skip
        recent = body["recent_progress"]
        assert (recent["action"], recent["xp_gained"]) == ("SAVE_RECIPE", 15)
        assert recent["metadata"] == {"recipe_id": "r1"}
        assert "idempotency_key" not in recent
        (unlocked,) = progress.achievements
        assert (unlocked.achievements.name, unlocked.achievements.type) == (
            "Level 5", "progression"
        )  # fmt: skip

    async def test_achievements_have_the_state_of_the_caller(self, api: ApiServer, ann: ApiUser):
        bob = await api.person("Bob")
        await api.sql(
            "insert into user_achievements (user_id, achievement_id, progress, unlocked_at)"
            " select %(id)s, id, 10, now() from achievements where key = 'scan_master_10'",
            id=ann.id,
        )
        body = (await ann.get("/gamification/achievements")).json()
        msgspec.convert(body, AchievementsResponse)
        assert (body["total"], body["unlocked"]) == (26, 1)
        (mine,) = [row for row in body["achievements"] if row["unlocked"]]
        assert (mine["key"], mine["progress"], mine["points"]) == ("scan_master_10", 10, 100)
        others = (await bob.get("/gamification/achievements")).json()
        assert (others["total"], others["unlocked"]) == (26, 0)

    async def test_guests_are_rejected(self, api: ApiServer):
        for method, path in (
            ("POST", "add-xp"), ("GET", "progress"), ("GET", "achievements"),
            ("POST", "check-streak"), ("POST", "streak/cook"), ("POST", "streak/freeze"),
            ("GET", "streak"),
        ):  # fmt: skip
            response = await api.guest.request(method, f"/gamification/{path}")
            refused(response, 401, "Authentication required")


class TestStreaks:
    async def test_cook_starts_a_streak_once_a_day(self, api: ApiServer, ann: ApiUser):
        first = (await ann.post("/gamification/streak/cook")).json()
        today = await day(api, 0)
        status = {
            "current_streak": 1,
            "longest_streak": 1,
            "checked_in_today": True,
            "last_check_in": today,
            "streak_shields": 3,
        }
        assert first == {
            "success": True,
            "streak_data": status,
            "already_cooked_today": False,
            "xp_awarded": 2,
            "new_total_xp": 2,
            "new_level": 1,
            "level_up": False,
            "badges_unlocked": [],
        }
        again = (await ann.post("/gamification/streak/cook", {})).json()
        assert (again["already_cooked_today"], again["xp_awarded"]) == (True, 0)
        assert again["streak_data"] == status
        history = (await ann.get("/gamification/streak")).json()
        assert history["days"] == [
            {"date": today, "recipes_cooked": 2, "xp_earned": 2, "freeze_used": False}
        ]

    async def test_seventh_day_pays_its_milestone_and_unlocks_its_badge(
        self, api: ApiServer, ann: ApiUser
    ):
        await set_streak(api, ann, days=6, days_ago=1)
        body = (await ann.post("/gamification/streak/cook")).json()
        # min(2 x 7, 50) for the day, 50 for the week, 100 of the badge
        assert (body["xp_awarded"], body["new_total_xp"], body["level_up"]) == (164, 164, True)
        assert body["streak_data"]["streak_shields"] == 4
        assert body["badges_unlocked"] == [
            {"key": "streak_7", "name": "Week Warrior", "points": 100}
        ]

    async def test_repeated_idempotency_key_counts_one_recipe(self, ann: ApiUser):
        keyed = {"Idempotency-Key": uuid4().hex}
        for _ in range(2):
            response = await ann.post("/gamification/streak/cook", headers=keyed)
            assert response.status_code == 200, response.text
        (today,) = (await ann.get("/gamification/streak")).json()["days"]
        assert today["recipes_cooked"] == 1

    async def test_check_records_no_cook(self, api: ApiServer, ann: ApiUser):
        await set_streak(api, ann, days=4, days_ago=1)
        body = (await ann.post("/gamification/check-streak")).json()
        msgspec.convert(body, StreakStatusResponse)
        assert body == {
            "success": True,
            "streak_data": {
                "current_streak": 4,
                "longest_streak": 4,
                "checked_in_today": False,
                "last_check_in": await day(api, 1),
                "streak_shields": 3,
            },
        }
        assert (await ann.get("/gamification/streak")).json()["days"] == []

    async def test_freeze_spends_one_token_on_yesterday(self, api: ApiServer, ann: ApiUser):
        await set_streak(api, ann, days=4, days_ago=2)
        path, yesterday = "/gamification/streak/freeze", await day(api, 1)
        for date in (await day(api, 0), await day(api, 2), "2031-01-01"):
            assert (await ann.post(path, {"date": date})).json() == {"success": False}
        results = [(await ann.post(path, {"date": yesterday})).json() for _ in range(2)]
        assert results == [{"success": True}, {"success": False}]
        body = (await ann.post("/gamification/streak/cook")).json()
        assert body["streak_data"]["current_streak"] == 5
        assert body["streak_data"]["streak_shields"] == 2

    async def test_freeze_needs_a_date(self, ann: ApiUser):
        for body in (None, {}, {"date": "yesterday"}, {"date": "2026-02-30"}, {"date": 7}):
            response = await ann.post("/gamification/streak/freeze", body)
            assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
            assert response.json()["details"]["field"] == "date"

    async def test_day_is_in_the_users_time_zone(self, api: ApiServer, ann: ApiUser):
        zone = "Pacific/Kiritimati"  # UTC+14
        changed = await ann.put("/users/profile", {"timezone": zone})
        assert changed.status_code == 200, changed.text
        body = (await ann.post("/gamification/streak/cook")).json()
        local = await api.value("select (now() at time zone %(zone)s)::date", zone=zone)
        assert body["streak_data"]["last_check_in"] == str(local)

    async def test_history_lists_the_days_of_its_range(self, api: ApiServer, ann: ApiUser):
        await api.sql(
            "insert into daily_cooks (user_id, cook_date, recipes_cooked, freeze_used)"
            f" select %(id)s, {TODAY} - n, 1, n = 3 from generate_series(0, 500) as n",
            id=ann.id,
        )
        path, days = "/gamification/streak", [await day(api, ago) for ago in range(501)]
        body = (await ann.get(path)).json()
        msgspec.convert(body, StreakHistoryResponse)
        assert (body["from"], body["to"], len(body["days"])) == (days[29], days[0], 30)
        body = (await ann.get(f"{path}?from={days[4]}&to={days[2]}")).json()
        found = [(row["date"], row["freeze_used"]) for row in body["days"]]
        assert found == [(days[4], False), (days[3], True), (days[2], False)]
        body = (await ann.get(f"{path}?from={days[500]}")).json()
        assert [row["date"] for row in body["days"]] == days[365::-1]
        bob = await api.person("Bob")
        assert (await bob.get(f"{path}?from={days[500]}")).json()["days"] == []

    async def test_invalid_range_is_rejected(self, ann: ApiUser):
        for query in ("from=2026-02-02&to=2026-02-01", "from=soon", "to=2026-02-30"):
            response = await ann.get(f"/gamification/streak?{query}")
            assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")


async def test_new_level_and_badge_are_notified_in_order(database: Database, database_url: str):
    user_id = await create_user(database_url)
    caller = Identity(user_id=user_id, claims={"sub": str(user_id)})
    async with database.transaction() as tx:
        await tx.execute(
            "update users set total_xp = 1190, level = 4 where id = %(id)s", id=user_id
        )
    await Progress(ProgressStore(database)).claim(caller, XpClaim("CREATE_RECIPE"), {})
    await Streaks(StreakStore(database)).cook(caller)
    rows = await database.fetch_all_as(
        SERVICE,
        dict,
        "select type, body, data from notification_logs where user_id = %(id)s order by created_at",
        id=user_id,
    )
    assert [tuple(row.values()) for row in rows] == [
        (
            "level_up",
            "You have 1290 XP now.",
            {"old_level": 4, "new_level": 5, "total_xp": 1290},
        ),
        ("achievement", "Level 5", {"key": "level_5", "name": "Level 5", "points": 0}),
    ]
