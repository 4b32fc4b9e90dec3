"""XP awards, achievements, leaderboards and mystery boxes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
import trio

from cookcam.config import DatabaseConfig
from cookcam.config.secret import Secret
from cookcam.database import SERVICE, Database
from cookcam.errors import DatabaseError
from tests.support.users import create_user

AWARD = """
    select * from add_user_xp(%(user)s, %(amount)s::int, %(action)s, '{}', %(key)s::text)
"""
LEDGER = "select * from user_progress where user_id = %(user)s order by total_xp"
PERSON = "select level, xp, total_xp from users where id = %(user)s"
BADGES = """
    select a.key from user_achievements ua join achievements a on a.id = ua.achievement_id
    where ua.user_id = %(user)s and ua.unlocked_at is not null order by 1
"""


@pytest.fixture
async def ann(database_url: str) -> UUID:
    return await create_user(database_url)


async def award(
    database: Database, user: UUID, action: str, key: str | None = None, amount: int | None = None
) -> dict[str, Any]:
    async with database.transaction() as tx:
        return await tx.fetch_one(dict, AWARD, user=user, amount=amount, action=action, key=key)


async def call(database: Database, statement: LiteralString, **params: object) -> Any:
    async with database.transaction() as tx:
        return await tx.fetch_value(statement, **params)


async def rows(database: Database, statement: LiteralString, **params: object) -> list[Any]:
    return await database.fetch_all_as(SERVICE, dict, statement, **params)


async def rejected(database: Database, *args: Any, **kwargs: Any) -> str | None:
    with pytest.raises(DatabaseError) as raised:
        await award(database, *args, **kwargs)
    assert isinstance(raised.value.__cause__, psycopg.Error)
    return raised.value.__cause__.sqlstate


# Levels


async def test_level_thresholds(database: Database) -> None:
    found = await rows(
        database,
        "select level, xp_threshold(level) as xp from unnest("
        " array[1,2,3,4,5,6,7,8,9,10,15,20,25,50,75,100]) as level order by 1",
    )
    assert [row["xp"] for row in found] == [
        0, 160, 400, 740, 1200, 1800, 2560, 3500, 4640, 6000, 16800, 36100, 66400, 470400, 1524400,
        3540900,
    ]  # fmt: skip


async def test_level_is_reached_at_its_threshold_and_ends_at_100(database: Database) -> None:
    wrong = await rows(
        database,
        "select level from generate_series(1, 99) as level"
        " where level_for_xp(xp_threshold(level)) <> level"
        " or level_for_xp(xp_threshold(level + 1) - 1) <> level",
    )
    assert wrong == []
    assert await call(database, "select level_for_xp(2147483647)") == 100
    assert await call(database, "select level_for_xp(-5)") == 1


# Awards


async def test_award_is_in_the_ledger_and_in_the_profile(database: Database, ann: UUID) -> None:
    first = await award(database, ann, "full_recipe_generated", "r:1")
    assert first == {
        "user_id": ann, "xp_gained": 100, "old_xp": 0, "new_xp": 100, "old_level": 1,
        "new_level": 1, "level_up": False, "capped": False, "duplicate": False,
    }  # fmt: skip
    second = await award(database, ann, "full_recipe_generated", "r:2", amount=9000)
    assert (second["xp_gained"], second["new_level"], second["level_up"]) == (100, 2, True)
    ledger = await rows(database, LEDGER, user=ann)
    assert [(row["xp_gained"], row["total_xp"], row["new_level"]) for row in ledger] == [
        (100, 100, 1),
        (100, 200, 2),
    ]
    assert await rows(database, PERSON, user=ann) == [{"level": 2, "xp": 200, "total_xp": 200}]


async def test_concurrent_awards_pay_each_key_once(database: Database, ann: UUID) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(30):
            nursery.start_soon(award, database, ann, "recipe_favorited", f"r:{number % 16}")
    ledger = await rows(database, LEDGER, user=ann)
    assert len(ledger) == 16
    assert sum(row["xp_gained"] for row in ledger) == 160
    assert await rows(database, PERSON, user=ann) == [{"level": 2, "xp": 160, "total_xp": 160}]


async def test_same_subject_pays_once(database: Database, ann: UUID) -> None:
    await award(database, ann, "ingredient_scan", "scan:1")
    again = await award(database, ann, "ingredient_scan", "scan:1")
    assert (again["xp_gained"], again["duplicate"], again["new_xp"]) == (0, True, 10)


async def test_one_time_action_pays_once_for_any_key(database: Database, ann: UUID) -> None:
    assert (await award(database, ann, "BECOME_CREATOR", "a"))["xp_gained"] == 500
    again = await award(database, ann, "BECOME_CREATOR", "b")
    assert (again["xp_gained"], again["duplicate"]) == (0, True)


async def test_daily_limits_count_the_current_day(database: Database, ann: UUID) -> None:
    outcomes = [await award(database, ann, "COMPLETE_RECIPE") for _ in range(6)]
    assert [row["xp_gained"] for row in outcomes] == [75] * 5 + [0]
    assert [row["capped"] for row in outcomes] == [False] * 5 + [True]
    async with database.transaction() as tx:
        await tx.execute(
            "update user_progress set created_at = created_at - interval '1 day'"
            " where user_id = %(user)s",
            user=ann,
        )
    assert (await award(database, ann, "COMPLETE_RECIPE"))["xp_gained"] == 75


async def test_monthly_limits_count_the_current_month(database: Database, ann: UUID) -> None:
    async def claimed(before_the_month: str) -> None:
        async with database.transaction() as tx:
            await tx.execute(
                "insert into user_progress"
                " (user_id, action, xp_gained, total_xp, old_level, new_level, created_at)"
                " select %(user)s, 'CLAIM_RECIPE', 200, 0, 1, 1,"
                "  date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'"
                "  - %(before)s::interval"
                " from generate_series(1, 120)",
                user=ann,
                before=before_the_month,
            )

    await claimed("1 second")
    assert (await award(database, ann, "CLAIM_RECIPE"))["xp_gained"] == 200
    await claimed("0")
    capped = await award(database, ann, "CLAIM_RECIPE")
    assert (capped["xp_gained"], capped["capped"]) == (0, True)


async def test_variable_action_pays_the_requested_xp_up_to_its_maximum(
    database: Database, ann: UUID
) -> None:
    assert (await award(database, ann, "MYSTERY_BOX", "box:1", 15))["xp_gained"] == 15
    assert (await award(database, ann, "MYSTERY_BOX", "box:2", 5000))["xp_gained"] == 1000
    for amount in (None, 0, -5):
        assert await rejected(database, ann, "MYSTERY_BOX", "box:3", amount) == "22023"


async def test_hint_awards_no_xp(database: Database, ann: UUID) -> None:
    hint = await award(database, ann, "SUCCESSFUL_SCAN")
    assert (hint["xp_gained"], hint["new_xp"], hint["level_up"]) == (0, 0, False)
    assert await rows(database, LEDGER, user=ann) == []


async def test_invalid_award_is_rejected(database: Database, ann: UUID) -> None:
    assert await rejected(database, ann, "INVENTED") == "22023"
    assert await rejected(database, ann, "ingredient_scan") == "22023"
    assert await rejected(database, ann, "BECOME_CREATOR") == "22023"
    assert await rejected(database, uuid4(), "COMPLETE_RECIPE") == "P0002"


async def test_every_action_of_the_catalogue_has_sensible_rules(database: Database) -> None:
    assert await rows(database, "select count(*) as n from xp_actions") == [{"n": 65}]
    assert await rows(
        database,
        "select action from xp_actions where (source = 'hint') <> (xp_amount = 0)"
        " or source = 'client' and daily_limit is null"
        " or source = 'server' and scope = 'unlimited'",
    ) == []  # fmt: skip


# Achievements


async def test_there_are_26_achievements(database: Database) -> None:
    assert await rows(
        database,
        "select rarity, count(*)::int as n, sum(xp_reward)::int as xp from achievements"
        " group by 1 order by 1",
    ) == [
        {"rarity": "common", "n": 5, "xp": 175},
        {"rarity": "legendary", "n": 3, "xp": 1500},
        {"rarity": "rare", "n": 9, "xp": 1650},
        {"rarity": "uncommon", "n": 9, "xp": 600},
    ]


async def test_achievement_is_unlocked_and_paid_once(database: Database, ann: UUID) -> None:
    unlock = "select award_achievement(%(user)s, 'first_recipe')"
    assert [await call(database, unlock, user=ann) for _ in range(2)] == [True, False]
    (paid,) = await rows(database, LEDGER, user=ann)
    assert (paid["action"], paid["xp_gained"]) == ("UNLOCK_ACHIEVEMENT", 75)
    assert paid["idempotency_key"] == "achievement:first_recipe"


async def test_achievement_in_progress_is_completed(database: Database, ann: UUID) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "insert into user_achievements (user_id, achievement_id, progress)"
            " select %(user)s, id, 3 from achievements where key = 'scan_master_10'",
            user=ann,
        )
    unlock = "select award_achievement(%(user)s, 'scan_master_10')"
    assert [await call(database, unlock, user=ann) for _ in range(2)] == [True, False]


async def test_levels_crossed_in_one_award_unlock_their_badges(
    database: Database, ann: UUID
) -> None:
    async with database.transaction() as tx:
        await tx.execute(
            "update users set total_xp = 5990, level = 4 where id = %(user)s", user=ann
        )
    assert (await award(database, ann, "recipe_favorited", "r"))["new_level"] == 10
    assert await rows(database, BADGES, user=ann) == [{"key": "level_10"}, {"key": "level_5"}]


# Leaderboards


@pytest.fixture
async def quiet(fresh_database_url: str) -> AsyncIterator[tuple[Database, str]]:
    """A database without any XP."""
    async with Database.open(DatabaseConfig(url=Secret(fresh_database_url), pool_min=1)) as opened:
        yield opened, fresh_database_url


EARN = """
    with earned as (
      insert into user_progress
        (user_id, action, xp_gained, total_xp, old_level, new_level, created_at)
      select id, 'x', %(xp)s, total_xp + %(xp)s, 1, 1, now() - make_interval(days => %(days)s)
      from users where id = %(user)s
    )
    update users set total_xp = total_xp + %(xp)s where id = %(user)s
"""
BOARD = """
    select rank, name, xp_total, xp_gained, movement
    from get_leaderboard_data(%(period)s, %(many)s, %(friends)s::uuid)
"""
RANK = """
    select user_rank, total_users, user_xp, period_xp from get_user_rank(%(user)s, %(period)s)
"""


async def test_leaderboards_and_ranks(quiet: tuple[Database, str]) -> None:
    database, url = quiet
    ann, bob, cid, dee = [
        await create_user(url, name=name) for name in ("Ann", "Bob", "Cid", "Dee")
    ]
    async with database.transaction() as tx:
        # Yesterday Bob led; today Ann does. Cid earned long ago, Dee never.
        for user, xp, days in (
            (ann, 55, 0), (ann, 10, 1), (bob, 20, 0), (bob, 40, 1), (cid, 500, 800)
        ):  # fmt: skip
            await tx.execute(EARN, user=user, xp=xp, days=days)
        await tx.execute(
            "insert into user_follows (follower_id, following_id) values (%(dee)s, %(bob)s)",
            dee=dee,
            bob=bob,
        )

    async def board(period: str, many: int | None = 50, friends: UUID | None = None) -> list[Any]:
        found = await rows(database, BOARD, period=period, many=many, friends=friends)
        return [tuple(row.values()) for row in found]

    assert await board("daily") == [(1, "Ann", 65, 55, 1), (2, "Bob", 60, 20, -1)]
    assert await board("allTime") == [
        (1, "Cid", 500, 500, 0), (2, "Ann", 65, 65, 0), (3, "Bob", 60, 60, 0)
    ]  # fmt: skip
    assert [row[1] for row in await board("allTime", many=1)] == ["Cid"]
    assert [row[1] for row in await board("allTime", many=-3)] == ["Cid"]
    assert [row[1] for row in await board("daily", friends=dee)] == ["Bob"]
    assert [row[1] for row in await board("allTime", friends=dee)] == ["Bob"]
    for period in ("weekly", "monthly", "yearly"):
        assert (1, "Ann") in [row[:2] for row in await board(period)]
    with pytest.raises(DatabaseError) as raised:
        await board("hourly")
    assert isinstance(raised.value.__cause__, psycopg.errors.InvalidParameterValue)

    async def rank(user: UUID, period: str) -> list[Any]:
        found = await rows(database, RANK, user=user, period=period)
        return [tuple(row.values()) for row in found]

    assert await rank(ann, "daily") == [(1, 2, 65, 55)]
    assert await rank(bob, "daily") == [(2, 2, 60, 20)]
    assert await rank(cid, "daily") == [(None, 2, 500, 0)]
    assert await rank(bob, "allTime") == [(3, 3, 60, 60)]
    assert await rank(dee, "allTime") == [(None, 3, 0, 0)]
    assert await rank(uuid4(), "daily") == []


async def test_ties_are_broken_by_total_xp_then_by_time(
    quiet: tuple[Database, str],
) -> None:
    database, url = quiet
    names = ["Late", "Early", "Rich"]
    late, early, rich = [await create_user(url, name=name) for name in names]
    async with database.transaction() as tx:
        await tx.execute(EARN, user=rich, xp=1, days=800)
    for user in (early, late, rich):
        async with database.transaction() as tx:
            await tx.execute(EARN, user=user, xp=30, days=0)
    for period in ("daily", "allTime"):
        found = await rows(database, BOARD, period=period, many=2, friends=None)
        assert [row["name"] for row in found] == ["Rich", "Early"]


async def test_weeks_begin_on_monday(database: Database) -> None:
    found = await rows(
        database,
        "select extract(isodow from begins at time zone 'UTC')::int as day,"
        " begins - previous_begins = interval '7 days' as apart from period_bounds('weekly')",
    )
    assert found == [{"day": 1, "apart": True}]


# Boxes


BOX = """
    select open_mystery_box(%(user)s, %(scan)s, %(rarity)s, %(type)s, %(value)s::jsonb)
      ->> 'box_available' = 'true'
"""


async def scan(database: Database, user: UUID, days: int = 0) -> UUID:
    return await call(
        database,
        "insert into ingredient_scans (user_id, detected_ingredients, created_at)"
        " values (%(user)s, '[]', now() - make_interval(days => %(days)s)) returning id",
        user=user,
        days=days,
    )


async def test_one_box_per_scan_and_three_per_day(
    database: Database, database_url: str, ann: UUID
) -> None:
    async def try_box(
        scanned: UUID, user: UUID = ann, rarity: str | None = "common", reward: str = "xp"
    ) -> bool:
        value = '{"amount": 15}' if reward == "xp" else '{"id": "mystery_hunter"}'
        return await call(
            database, BOX, user=user, scan=scanned, rarity=rarity, type=reward, value=value
        )

    mine = await scan(database, ann)
    bob = await create_user(database_url)
    assert not await try_box(mine, user=bob)
    assert await try_box(mine)
    assert not await try_box(mine)
    unlucky = await scan(database, ann)
    assert not await try_box(unlucky, rarity=None)
    assert not await try_box(unlucky)
    assert not await try_box(await scan(database, ann, days=1))
    assert await try_box(await scan(database, ann), rarity="rare", reward="badge")
    assert await rows(database, BADGES, user=ann) == [
        {"key": "first_scan"},
        {"key": "mystery_hunter"},
    ]
    assert await try_box(await scan(database, ann))
    assert not await try_box(await scan(database, ann))
    # Besides the award of the first scan's achievement.
    _, *ledger = await rows(database, LEDGER, user=ann)
    assert [row["xp_gained"] for row in ledger] == [15, 15]
    assert ledger[0]["idempotency_key"] == f"box:{mine}"


async def test_concurrent_tries_for_one_scan_open_one_box(database: Database, ann: UUID) -> None:
    scanned = await scan(database, ann)
    opened: list[bool] = []

    async def try_box() -> None:
        opened.append(
            await call(
                database, BOX, user=ann, scan=scanned, rarity="common", type="tip", value="{}"
            )
        )

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(try_box)
    assert sorted(opened) == [False] * 9 + [True]
