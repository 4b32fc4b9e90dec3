"""Every seeded achievement is unlocked by what its requirements declare."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from cookcam.database import SERVICE, Database
from cookcam.database.connecting import connect
from tests.support.postgres import as_owner
from tests.support.users import create_user, person

UNLOCKED: LiteralString = """
select a.key from user_achievements ua join achievements a on a.id = ua.achievement_id
where ua.user_id = %(user)s and ua.unlocked_at is not null"""

SCAN: LiteralString = """
insert into ingredient_scans (user_id, detected_ingredients, confidence_score)
select %(user)s, jsonb_build_array(
  jsonb_build_object('name', 'food ' || n), jsonb_build_object('name', 'Food ' || n + %(more)s)
), %(confidence)s from generate_series(1, %(times)s) n"""

GENERATE: LiteralString = """
insert into recipes (title, created_by, is_generated, cuisine)
select 'r', %(user)s, true, 'cuisine ' || n from generate_series(1, %(times)s) n"""

XP: LiteralString = "select add_user_xp(%(user)s, null, %(action)s, %(metadata)s, %(key)s)"


async def unlocked(database: Database, user: UUID) -> set[str]:
    rows = await database.fetch_all_as(SERVICE, dict, UNLOCKED, user=user)
    return {row["key"] for row in rows}


async def do(database: Database, statement: LiteralString, **params: Any) -> None:
    async with database.transaction() as tx:
        await tx.execute(statement, **params)


async def test_every_achievement_is_reachable(database: Database, database_url: str):
    ann = await create_user(database_url)
    others = [await create_user(database_url) for _ in range(10)]
    reached: set[str] = set()

    async def new() -> set[str]:
        """The achievements unlocked since the last call, without those of the level."""
        found = {key for key in await unlocked(database, ann) if not key.startswith("level_")}
        before = set(reached)
        reached.update(found)
        return found - before

    assert await new() == set()
    await do(database, SCAN, user=ann, times=1, more=1, confidence=0.5)
    assert await new() == {"first_scan"}
    await do(database, SCAN, user=ann, times=4, more=4, confidence=0.95)
    assert await new() == set()
    await do(database, SCAN, user=ann, times=5, more=5, confidence=0.96)
    assert await new() == {"scan_master_10", "ai_whisperer"}
    await do(database, SCAN, user=ann, times=25, more=24, confidence=None)
    assert await new() == set()  # 49 different ingredients
    await do(database, SCAN, user=ann, times=25, more=25, confidence=None)
    assert await new() == {"ingredient_hunter_50"}

    await do(database, GENERATE, user=ann, times=1)
    assert await new() == {"first_recipe"}
    await do(database, GENERATE, user=ann, times=23)
    assert await new() == set()
    await do(database, GENERATE, user=ann, times=1)
    assert await new() == {"recipe_creator_25"}

    cook: LiteralString = """
        insert into daily_cooks (user_id, cook_date, recipes_cooked)
        values (%(user)s, %(day)s, %(times)s)"""
    for day, times, expected in (
        ("2025-01-01", 9, set[str]()),
        ("2025-01-02", 1, {"recipes_10"}),
        ("2025-01-03", 40, {"recipes_50"}),
        ("2025-01-04", 50, {"master_chef"}),
    ):
        await do(database, cook, user=ann, day=day, times=times)
        assert await new() == expected

    for number in range(10):
        await do(
            database,
            "insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level,"
            " metadata) values (%(user)s, 'DISCOVER_NEW_CUISINE', 1, 1, 1, 1,"
            " jsonb_build_object('cuisine', %(cuisine)s::text))",
            user=ann,
            cuisine=f"C{number % 9}" if number < 9 else "c8 ",
        )
    assert await new() == {"cuisine_explorer"}

    for number in range(5):
        await do(
            database,
            XP,
            user=ann,
            action="SHARE_RECIPE",
            metadata=None,
            key=f"SHARE_RECIPE:{number}",
        )
        await do(
            database,
            "insert into live_recipe_shares (id, user_id, title)"
            " values (gen_random_uuid()::text, %(user)s, 'x')",
            user=ann,
        )
    assert await new() == {"share_master"}

    async with database.transaction_as(person(ann)) as tx:  # triggers run with their own rights
        for other in others:
            await tx.execute(
                "insert into user_follows (follower_id, following_id) values (%(user)s, %(other)s)",
                user=ann,
                other=other,
            )
    assert await new() == {"social_butterfly"}
    async with await connect(as_owner(database_url)) as connection:
        await connection.execute(
            "insert into auth.users (email) select %s || n || '@fan.test'"
            " from generate_series(1, 100) n",
            (str(ann),),
        )
    await do(
        database,
        "insert into user_follows (follower_id, following_id) select u.id, %(user)s from users u"
        " where u.email like %(user)s || '%%@fan.test'",
        user=ann,
    )
    assert await new() == {"community_leader"}

    await do(
        database,
        "with rated as (insert into recipes (title, created_by, is_published)"
        " select 'r' || n, %(other)s, true from generate_series(1, 20) n returning id)"
        " insert into recipe_ratings (user_id, recipe_id, rating)"
        " select %(user)s, id, case when row_number() over () = 1 then 4 else 5 end from rated",
        user=ann,
        other=others[0],
    )
    assert await new() == set()
    await do(database, "update recipe_ratings set rating = 5 where user_id = %(user)s", user=ann)
    assert await new() == {"perfectionist"}

    await do(
        database,
        "insert into mystery_boxes (user_id, rarity, reward_type, reward_value)"
        " select %(user)s, 'common', 'tip', '{}' from generate_series(1, 50)",
        user=ann,
    )
    assert await new() == {"mystery_box_legend"}
    await do(database, "select award_achievement(%(user)s, 'mystery_hunter')", user=ann)
    await do(database, "update users set created_at = '2025-06-30' where id = %(user)s", user=ann)
    await do(database, "select evaluate_achievements(%(user)s, '{joined_before}')", user=ann)
    assert await new() == {"mystery_hunter", "early_adopter"}

    for days in (6, 29, 99):
        await do(
            database,
            "update user_streaks set current_streak = %(days)s, longest_streak = %(days)s,"
            " last_cook_date = (now() at time zone 'UTC')::date - 1 where user_id = %(user)s",
            user=ann,
            days=days,
        )
        await do(database, "select record_cook(%(user)s)", user=ann)
        assert await new() == {f"streak_{days + 1}"}
    await do(database, "update users set total_xp = 3540899 where id = %(user)s", user=ann)
    await do(database, XP, user=ann, action="ADD_REAL_INGREDIENT", metadata=None, key=None)

    seeded = await database.fetch_all_as(SERVICE, dict, "select key from achievements")
    assert await unlocked(database, ann) == {row["key"] for row in seeded}
    assert len(seeded) == 26


async def test_reward_is_paid_once_and_progress_is_shown(database: Database, database_url: str):
    ann = await create_user(database_url)
    for _ in range(3):
        await do(database, SCAN, user=ann, times=1, more=1, confidence=0.5)
    paid = await database.fetch_all_as(
        SERVICE,
        dict,
        "select action, xp_gained, idempotency_key from user_progress where user_id = %(user)s",
        user=ann,
    )
    assert paid == [
        {
            "action": "UNLOCK_ACHIEVEMENT",
            "xp_gained": 50,
            "idempotency_key": "achievement:first_scan",
        }
    ]
    progress = await database.fetch_all_as(
        SERVICE,
        dict,
        "select a.key, ua.progress from user_achievements ua"
        " join achievements a on a.id = ua.achievement_id where ua.user_id = %(user)s order by 1",
        user=ann,
    )
    assert progress == [
        {"key": "first_scan", "progress": 1},
        {"key": "ingredient_hunter_50", "progress": 2},
        {"key": "scan_master_10", "progress": 3},
    ]
