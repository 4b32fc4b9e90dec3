"""Cooking days, streaks and freeze tokens."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
import trio

from cookcam.database import SERVICE, Database
from cookcam.errors import DatabaseError, InsufficientPermissions
from tests.support.users import create_user, person

TODAY = "(now() at time zone 'UTC')::date"
COOK = "select record_cook(%(user)s)"
CHECK = "select check_user_streak(%(user)s)"
STREAK = "select * from user_streaks where user_id = %(user)s"
GAINED = """
    select action, xp_gained from user_progress where user_id = %(user)s
    order by xp_gained, action
"""


@pytest.fixture
async def ann(database_url: str) -> UUID:
    return await create_user(database_url)


async def call(database: Database, statement: LiteralString, **params: object) -> Any:
    async with database.transaction() as tx:
        return await tx.fetch_value(statement, **params)


async def one(database: Database, statement: LiteralString, **params: object) -> dict[str, Any]:
    return await database.fetch_one_as(SERVICE, dict, statement, **params)


async def given(
    database: Database, user: UUID, *, streak: int, days_ago: int, frozen: tuple[int, ...] = ()
) -> None:
    """Give the user a streak whose last cook was some days ago; later days may be frozen."""
    async with database.transaction() as tx:
        await tx.execute(
            "update user_streaks set current_streak = %(streak)s, longest_streak = %(streak)s,"
            f" last_cook_date = {TODAY} - %(days)s where user_id = %(user)s",
            user=user,
            streak=streak,
            days=days_ago,
        )
        for day in frozen:
            await tx.execute(
                "insert into daily_cooks (user_id, cook_date, recipes_cooked, freeze_used)"
                f" values (%(user)s, {TODAY} - %(day)s, 0, true)",
                user=user,
                day=day,
            )


async def freeze(database: Database, user: UUID, days_ago: int = 1) -> bool:
    return await call(
        database, f"select use_freeze_token(%(user)s, {TODAY} - %(days)s)", user=user, days=days_ago
    )


async def test_first_cook_starts_a_streak_and_records_the_day(
    database: Database, ann: UUID
) -> None:
    assert await call(database, COOK, user=ann) == {
        "current_streak": 1,
        "longest_streak": 1,
        "already_cooked_today": False,
    }
    assert (await call(database, COOK, user=ann))["already_cooked_today"] is True
    day = await one(database, "select * from daily_cooks where user_id = %(user)s", user=ann)
    assert (day["recipes_cooked"], day["xp_earned"], day["freeze_used"]) == (2, 2, False)
    assert await one(database, GAINED, user=ann) == {
        "action": "DAILY_STREAK_BONUS",
        "xp_gained": 2,
    }
    profile = "select streak_current, streak_shields from users where id = %(user)s"
    assert await one(database, profile, user=ann) == {"streak_current": 1, "streak_shields": 3}


@pytest.mark.parametrize(
    ("days_ago", "frozen", "streak"),
    [
        (1, (), 5),
        (2, (), 1),
        (2, (1,), 5),
        (3, (1,), 1),
        (3, (2,), 1),
        (3, (1, 2), 5),
        (30, (1,), 1),
    ],
)
async def test_streak_goes_on_when_every_missed_day_is_frozen(
    database: Database, ann: UUID, days_ago: int, frozen: tuple[int, ...], streak: int
) -> None:
    await given(database, ann, streak=4, days_ago=days_ago, frozen=frozen)
    status = await call(database, CHECK, user=ann)
    assert status["current_streak"] == (4 if streak == 5 else 0)
    cooked = await call(database, COOK, user=ann)
    assert (cooked["current_streak"], cooked["longest_streak"]) == (streak, max(streak, 4))


@pytest.mark.parametrize(
    ("streak", "gained", "tokens"),
    [
        (6, [("DAILY_STREAK_BONUS", 14), ("WEEK_STREAK_BONUS", 50),
             ("UNLOCK_ACHIEVEMENT", 100)], 4),
        (13, [("DAILY_STREAK_BONUS", 28)], 4),
        (29, [("DAILY_STREAK_BONUS", 50), ("MONTH_STREAK_BONUS", 200),
              ("UNLOCK_ACHIEVEMENT", 400)], 3),
        (99, [("DAILY_STREAK_BONUS", 50), ("CENTURY_STREAK_BONUS", 500),
              ("UNLOCK_ACHIEVEMENT", 1000)], 3),
    ],
)  # fmt: skip
async def test_milestones_award_xp(
    database: Database, ann: UUID, streak: int, gained: list[tuple[str, int]], tokens: int
) -> None:
    await given(database, ann, streak=streak, days_ago=1)
    await call(database, COOK, user=ann)
    ledger = await database.fetch_all_as(SERVICE, dict, GAINED, user=ann)
    assert [(row["action"], row["xp_gained"]) for row in ledger] == gained
    assert (await one(database, STREAK, user=ann))["total_freeze_tokens"] == tokens
    earned = "select xp_earned from daily_cooks where user_id = %(user)s"
    assert (await one(database, earned, user=ann))["xp_earned"] == sum(xp for _, xp in gained)


async def test_concurrent_cooks_count_as_one_day(database: Database, ann: UUID) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(lambda: call(database, COOK, user=ann))
    day = await one(database, "select * from daily_cooks where user_id = %(user)s", user=ann)
    assert day["recipes_cooked"] == 10
    assert (await one(database, STREAK, user=ann))["current_streak"] == 1
    assert (await one(database, GAINED, user=ann))["xp_gained"] == 2


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago"])
async def test_day_is_in_the_users_time_zone(database: Database, ann: UUID, zone: str) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "update users set timezone = %(zone)s where id = %(user)s", zone=zone, user=ann
        )
        await tx.execute(COOK, user=ann)
        today = await tx.fetch_value("select (now() at time zone %(zone)s)::date", zone=zone)
    assert (await one(database, STREAK, user=ann))["last_cook_date"] == today


async def test_invalid_time_zone_is_utc(database: Database) -> None:
    assert await call(database, f"select today_in('Nowhere/Atlantis') = {TODAY}") is True


async def test_travelling_west_does_not_count_a_day_twice(database: Database, ann: UUID) -> None:
    await given(database, ann, streak=4, days_ago=-1)
    cooked = await call(database, COOK, user=ann)
    assert (cooked["current_streak"], cooked["already_cooked_today"]) == (4, True)


# Freezing


async def test_yesterday_can_be_frozen_once(database: Database, ann: UUID) -> None:
    await given(database, ann, streak=4, days_ago=2)
    assert await freeze(database, ann) is True
    assert await freeze(database, ann) is False
    streak = await one(database, STREAK, user=ann)
    assert (streak["freeze_tokens_used"], streak["total_freeze_tokens"]) == (1, 3)
    day = await one(database, "select * from daily_cooks where user_id = %(user)s", user=ann)
    assert (day["recipes_cooked"], day["freeze_used"]) == (0, True)
    assert (await call(database, CHECK, user=ann))["streak_shields"] == 2


@pytest.mark.parametrize("days_ago", [-1, 0, 2, 30])
async def test_only_yesterday_can_be_frozen(database: Database, ann: UUID, days_ago: int) -> None:
    await given(database, ann, streak=4, days_ago=3)
    assert await freeze(database, ann, days_ago) is False


async def test_ended_streak_cannot_be_frozen(database: Database, ann: UUID) -> None:
    assert await freeze(database, ann) is False, "no streak yet"
    await given(database, ann, streak=4, days_ago=3)
    assert await freeze(database, ann) is False, "the day before is missing too"
    await given(database, ann, streak=4, days_ago=1)
    assert await freeze(database, ann) is False, "cooked on that day"
    await given(database, ann, streak=4, days_ago=0)
    assert await freeze(database, ann) is False, "cooked since"
    assert (await one(database, STREAK, user=ann))["freeze_tokens_used"] == 0


async def test_tokens_run_out(database: Database, ann: UUID) -> None:
    await given(database, ann, streak=4, days_ago=2)
    async with database.transaction() as tx:
        await tx.execute(
            "update user_streaks set freeze_tokens_used = 3 where user_id = %(user)s", user=ann
        )
    assert await freeze(database, ann) is False


async def test_concurrent_freezes_spend_one_token(database: Database, ann: UUID) -> None:
    await given(database, ann, streak=4, days_ago=2)
    outcomes: list[bool] = []

    async def attempt() -> None:
        outcomes.append(await freeze(database, ann))

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(attempt)
    assert sorted(outcomes) == [False] * 7 + [True]
    assert (await one(database, STREAK, user=ann))["freeze_tokens_used"] == 1


# Reading, and the app's own calls


async def test_reading_a_streak_changes_nothing(database: Database, ann: UUID) -> None:
    assert await call(database, CHECK, user=ann) == {
        "current_streak": 0,
        "longest_streak": 0,
        "checked_in_today": False,
        "last_check_in": None,
        "streak_shields": 3,
    }
    await call(database, COOK, user=ann)
    status = await database.fetch_value_as(SERVICE, CHECK, user=ann)
    assert (status["current_streak"], status["checked_in_today"]) == (1, True)


async def test_unknown_user_has_no_streak(database: Database) -> None:
    for statement in (COOK, CHECK):
        with pytest.raises(DatabaseError) as raised:
            await call(database, statement, user=uuid4())
        assert isinstance(raised.value.__cause__, psycopg.errors.NoDataFound)


async def test_app_updates_only_its_own_streak(
    database: Database, database_url: str, ann: UUID
) -> None:
    bob = await create_user(database_url)
    update = "select update_user_streak(%(user)s)"
    async with database.transaction_as(person(ann)) as tx:
        await tx.execute(update, user=ann)
    assert (await one(database, STREAK, user=ann))["current_streak"] == 1
    with pytest.raises(InsufficientPermissions):
        async with database.transaction_as(person(bob)) as tx:
            await tx.execute(update, user=ann)
