"""Row-level security of scans, sessions, ratings, XP and the server's own tables."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

import pytest

from cookcam.database import ANONYMOUS, SERVICE, Database
from cookcam.database.actors import Actor
from cookcam.errors import AppError, DuplicateEntry, ForeignKeyError, InsufficientPermissions
from tests.database.test_row_level_security import outcome
from tests.support.users import create_user, person

DENIED = InsufficientPermissions
DUPLICATE = DuplicateEntry

ARRANGE = """
    insert into recipes (id, title, created_by, is_published)
      values (%(draft)s, 'Draft', %(ann)s, false), (%(published)s, 'Published', %(ann)s, true),
        (%(reviewed)s, 'Reviewed', %(ann)s, true);
    insert into ingredient_scans (id, user_id, detected_ingredients)
      values (%(scan)s, %(ann)s, '[]');
    insert into mystery_boxes (user_id, source_scan_id, rarity, reward_type, reward_value)
      values (%(ann)s, %(scan)s, 'common', 'xp', '{"amount": 10}');
    insert into recipe_sessions (user_id, input_data, suggestions) values (%(ann)s, '{}', '[]');
    insert into cooking_sessions (user_id, session_id, original_ingredients, user_preferences)
      values (%(ann)s, 's', '[]', '{}');
    insert into recipe_previews (user_id, session_id, preview_id, title)
      values (%(ann)s, 's', 'p', 'Preview');
    insert into recipe_nutrition
      select id, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 from recipes where created_by = %(ann)s;
    insert into saved_recipes (user_id, recipe_id) values (%(ann)s, %(published)s);
    insert into recipe_ratings (user_id, recipe_id, rating, review) values
      (%(ann)s, %(published)s, 5, null), (%(ann)s, %(reviewed)s, 5, 'Good'),
      (%(ann)s, %(draft)s, 5, 'Good');
    insert into recipe_completion_photos (user_id, recipe_id, photo_url)
      values (%(ann)s, %(draft)s, 'https://x.test/1'), (%(ann)s, %(published)s, 'https://x.test/2');
    insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level)
      values (%(ann)s, 'COMPLETE_RECIPE', 75, 75, 1, 1);
    insert into daily_cooks (user_id, cook_date) values (%(ann)s, '2026-01-31');
    delete from user_progress where user_id = %(ann)s and action = 'UNLOCK_ACHIEVEMENT';
    delete from user_achievements where user_id = %(ann)s;
    insert into user_achievements (user_id, achievement_id)
      select %(ann)s, id from achievements where key = 'first_scan';
    insert into usage_counters (user_id, metric, period_start)
      values (%(ann)s, 'daily_scans', '2026-01-31');
    insert into device_tokens (token, user_id) values (%(ann)s::text, %(ann)s);
    insert into notification_logs (user_id, channel, type, title, body)
      select %(ann)s, channel, 'x', 'x', 'x' from unnest(array['app', 'reminder', 'mail']) channel;
"""


@pytest.fixture
async def users(database: Database, database_url: str) -> dict[str, UUID]:
    ann, bob = await create_user(database_url), await create_user(database_url, name="Bob")
    async with database.transaction() as tx:
        ids = await tx.fetch_one(
            dict,
            "select gen_random_uuid() as draft, gen_random_uuid() as published,"
            " gen_random_uuid() as reviewed, gen_random_uuid() as scan",
        )
        params = {"ann": ann, "bob": bob, **ids}
        await tx.execute(ARRANGE, **params)
    return params


# statement, and its outcome for: owner, other, guest, server
CASES: list[tuple[LiteralString, *tuple[int | type[AppError], ...]]] = [
    # Only the server writes the XP ledger
    ("select * from user_progress where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level)"
     " values (%(ann)s, 'x', 9000, 9000, 1, 9)", DENIED, DENIED, DENIED, 1),
    ("update user_progress set xp_gained = 9000 where user_id = %(ann)s",
     DENIED, DENIED, DENIED, 1),
    ("delete from user_progress where user_id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("select * from xp_periods where user_id = %(ann)s and period = 'weekly'",
     DENIED, DENIED, DENIED, 1),
    ("update xp_periods set xp = 9000 where user_id = %(ann)s and period = 'weekly'",
     DENIED, DENIED, DENIED, 1),
    ("select * from xp_actions where action = 'COMPLETE_RECIPE'", DENIED, DENIED, DENIED, 1),
    # Streaks
    ("select * from user_streaks where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("update user_streaks set current_streak = 365, longest_streak = 365 where user_id = %(ann)s",
     DENIED, DENIED, DENIED, 1),
    ("insert into user_streaks (user_id, current_streak, longest_streak) values (%(ann)s, 0, 0)",
     DUPLICATE, DENIED, DENIED, DUPLICATE),
    ("insert into user_streaks (user_id, current_streak, longest_streak) values (%(ann)s, 9, 9)",
     DENIED, DENIED, DENIED, DUPLICATE),
    ("insert into user_streaks (user_id, total_freeze_tokens) values (%(ann)s, 999)",
     DENIED, DENIED, DENIED, DUPLICATE),
    ("select * from daily_cooks where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("insert into daily_cooks (user_id, cook_date) values (%(ann)s, '2026-01-30')",
     DENIED, DENIED, DENIED, 1),
    # Achievements
    ("select * from achievements where key = 'first_scan'", 1, 1, 1, 1),
    ("update achievements set xp_reward = 9 where key = 'first_scan'", DENIED, DENIED, DENIED, 1),
    ("select * from user_achievements where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("update user_achievements set unlocked_at = now() where user_id = %(ann)s",
     DENIED, DENIED, DENIED, 1),
    ("select * from mystery_boxes where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("delete from mystery_boxes where user_id = %(ann)s", DENIED, DENIED, DENIED, 1),
    # The user's own scans and sessions
    ("select * from ingredient_scans where id = %(scan)s", 1, 0, DENIED, 1),
    ("insert into ingredient_scans (user_id, detected_ingredients) values (%(ann)s, '[]')",
     1, DENIED, DENIED, 1),
    ("update ingredient_scans set corrected = true where id = %(scan)s", 1, 0, DENIED, 1),
    ("update ingredient_scans set user_id = %(bob)s where id = %(scan)s",
     DENIED, DENIED, DENIED, 1),
    ("update ingredient_scans set box_tried_at = null where id = %(scan)s",
     DENIED, DENIED, DENIED, 1),
    ("delete from ingredient_scans where id = %(scan)s", 1, 0, DENIED, 1),
    ("select * from recipe_sessions where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("insert into recipe_sessions (user_id, input_data, suggestions)"
     " values (%(ann)s, '{}', '[]')", 1, DENIED, DENIED, 1),
    ("select * from cooking_sessions where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("update cooking_sessions set previews_generated = 3 where user_id = %(ann)s",
     1, 0, DENIED, 1),
    ("update cooking_sessions set user_id = %(bob)s where session_id = 's' and user_id = %(ann)s",
     DENIED, 0, DENIED, ForeignKeyError),
    ("select * from recipe_previews where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("update recipe_previews set selected_for_details = true where user_id = %(ann)s",
     1, 0, DENIED, 1),
    ("delete from cooking_sessions where user_id = %(ann)s", 1, 0, DENIED, 1),
    # Ratings and saved recipes
    ("select * from saved_recipes where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("insert into saved_recipes (user_id, recipe_id) values (%(bob)s, %(published)s)",
     DENIED, 1, DENIED, 1),
    ("delete from saved_recipes where user_id = %(ann)s", 1, 0, DENIED, 1),
    # Reviews are public like their recipe; stars without a review are not
    ("select * from recipe_ratings where recipe_id = %(published)s", 1, 0, 0, 1),
    ("select * from recipe_ratings where recipe_id = %(reviewed)s", 1, 1, 1, 1),
    ("select * from recipe_ratings where recipe_id = %(draft)s", 1, 0, 0, 1),
    ("update recipe_ratings set rating = 4 where recipe_id = %(reviewed)s", 1, 0, DENIED, 1),
    ("delete from recipe_ratings where recipe_id = %(reviewed)s", 1, 0, DENIED, 1),
    ("insert into recipe_ratings (user_id, recipe_id, rating) values (%(bob)s, %(published)s, 1)",
     DENIED, 1, DENIED, 1),
    ("update recipe_ratings set rating = 4 where recipe_id = %(published)s", 1, 0, DENIED, 1),
    ("select * from recipe_nutrition where recipe_id = %(draft)s", 1, 0, 0, 1),
    ("select * from recipe_nutrition where recipe_id = %(published)s", 1, 1, 1, 1),
    ("delete from recipe_nutrition where recipe_id = %(published)s", DENIED, DENIED, DENIED, 1),
    ("select * from recipe_completion_photos where recipe_id = %(draft)s", 1, 0, 0, 1),
    ("select * from recipe_completion_photos where recipe_id = %(published)s", 1, 1, 1, 1),
    ("insert into recipe_completion_photos (user_id, recipe_id, photo_url)"
     " values (%(bob)s, %(published)s, 'https://x.test/3')", DENIED, 1, DENIED, 1),
    ("insert into recipe_completion_photos (user_id, recipe_id, photo_url)"
     " values (%(bob)s, %(draft)s, 'https://x.test/3')", DENIED, DENIED, DENIED, 1),
    ("update recipe_completion_photos set description = 'x' where user_id = %(ann)s",
     DENIED, DENIED, DENIED, 2),
    ("delete from recipe_completion_photos where recipe_id = %(published)s", 1, 0, DENIED, 1),
    # Quotas are readable
    ("select * from usage_counters where user_id = %(ann)s", 1, 0, DENIED, 1),
    ("update usage_counters set used = 0 where user_id = %(ann)s", DENIED, DENIED, DENIED, 1),
    # The server's own tables
    ("select * from device_tokens where user_id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("select * from idempotency_keys where false", DENIED, DENIED, DENIED, 0),
    ("select * from account_deletions where false", DENIED, DENIED, DENIED, 0),
    ("select * from analytics_events where false", DENIED, DENIED, DENIED, 0),
    ("select * from notification_logs where false", DENIED, DENIED, DENIED, 0),
    # The inbox, with the notification of the first scan's achievement
    ("select id, title, read_at from notification_logs where user_id = %(ann)s",
     2, 0, DENIED, 4),
    ("select dedupe_key from notification_logs where false", DENIED, DENIED, DENIED, 0),
    ("update notification_logs set read_at = now() where user_id = %(ann)s", 2, 0, DENIED, 4),
    ("update notification_logs set body = 'x' where false", DENIED, DENIED, DENIED, 0),
    ("delete from notification_logs where user_id = %(ann)s", 2, 0, DENIED, 4),
    ("insert into notification_logs (user_id, type, title, body) values (%(ann)s, 'x', 'x', 'x')",
     DENIED, DENIED, DENIED, 1),
    ("select notify_user(%(ann)s, 'x', 'x', 'x', '{}', 'x')", DENIED, DENIED, DENIED, 1),
    ("select * from security_events where false", DENIED, DENIED, DENIED, 0),
    ("select * from security_alerts where false", DENIED, DENIED, DENIED, 0),
    # Functions
    ("select * from add_user_xp(%(ann)s, 100, 'COMPLETE_RECIPE')", DENIED, DENIED, DENIED, 1),
    ("select award_achievement(%(ann)s, 'first_scan')", DENIED, DENIED, DENIED, 1),
    ("select record_cook(%(ann)s)", DENIED, DENIED, DENIED, 1),
    ("select open_mystery_box(%(ann)s, %(scan)s)", DENIED, DENIED, DENIED, 1),
    ("select consume_quota(%(ann)s, 'daily_scans', 5, current_date)", DENIED, DENIED, DENIED, 1),
    ("select * from get_leaderboard_data() limit 1", DENIED, DENIED, DENIED, 1),
    ("select increment_recipe_views(%(published)s)", DENIED, DENIED, DENIED, 1),
    ("select update_user_streak(%(ann)s)", 1, DENIED, DENIED, 1),
    ("select use_freeze_token(%(ann)s, current_date - 1)", 1, DENIED, DENIED, 1),
    ("select xp_threshold(2), level_for_xp(160)", 1, 1, DENIED, 1),
]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "expected"),
    [pytest.param(statement, outcomes, id=statement[:70]) for statement, *outcomes in CASES],
)
async def test_access_by_actor(
    database: Database,
    users: dict[str, UUID],
    statement: LiteralString,
    expected: list[int | type[AppError]],
) -> None:
    actors: list[Actor] = [person(users["ann"]), person(users["bob"]), ANONYMOUS, SERVICE]
    assert [await outcome(database, actor, statement, **users) for actor in actors] == expected


async def test_app_creates_the_missing_streak(database: Database, database_url: str) -> None:
    ann = await create_user(database_url)
    async with database.transaction() as tx:
        await tx.execute("delete from user_streaks where user_id = %(ann)s", ann=ann)
    async with database.transaction_as(person(ann)) as tx:
        written = await tx.execute(
            "insert into user_streaks (user_id, current_streak, longest_streak)"
            " values (%(ann)s, 0, 0)",
            ann=ann,
        )
    assert written == 1
    row = await database.fetch_one_as(
        person(ann), dict, "select * from user_streaks where user_id = %(ann)s", ann=ann
    )
    assert (row["total_freeze_tokens"], row["freeze_tokens_used"]) == (3, 0)


async def test_retired_achievement_is_hidden(database: Database) -> None:
    seen = "select count(*) from achievements where key = 'perfectionist'"
    counts: list[object] = []
    async with database.transaction() as tx:
        await tx.execute("savepoint active")
        await tx.execute("update achievements set is_active = false where key = 'perfectionist'")
        for actor in (ANONYMOUS, SERVICE):
            async with tx.acting_as(actor):
                counts.append(await tx.fetch_value(seen))
        await tx.execute("rollback to savepoint active")
    assert counts == [0, 1]
