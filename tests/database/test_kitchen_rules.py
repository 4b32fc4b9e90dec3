"""Counters on recipes, quotas, push tokens and constraints."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, LiteralString
from uuid import UUID

import pytest
import trio

from cookcam.database import SERVICE, Database, Jsonb
from cookcam.database.connecting import connect
from cookcam.database.connection import Connection
from cookcam.errors import AppError, ConstraintViolation, DuplicateEntry
from tests.support.postgres import as_owner
from tests.support.users import create_user, person

COUNTS = """
    select saves_count, rating_sum, rating_count, rating_avg::float, view_count
    from recipes where id = %(recipe)s
"""
RATE = """
    insert into recipe_ratings (user_id, recipe_id, rating)
    values (%(user)s, %(recipe)s, %(rating)s)
    on conflict (user_id, recipe_id) do update set rating = excluded.rating
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(as_owner(database_url)) as connection:
        yield connection


@pytest.fixture
async def ann(database_url: str) -> UUID:
    return await create_user(database_url)


@pytest.fixture
async def recipe(database: Database, ann: UUID) -> UUID:
    return await call(
        database,
        "insert into recipes (title, created_by, is_published) values ('Soup', %(ann)s, true)"
        " returning id",
        ann=ann,
    )


async def call(database: Database, statement: LiteralString, **params: object) -> Any:
    async with database.transaction() as tx:
        return await tx.fetch_value(statement, **params)


async def do(database: Database, statement: LiteralString, **params: object) -> int:
    async with database.transaction() as tx:
        return await tx.execute(statement, **params)


async def counts(database: Database, recipe: UUID) -> tuple[Any, ...]:
    row = await database.fetch_one_as(SERVICE, dict, COUNTS, recipe=recipe)
    return tuple(row.values())


async def test_ratings_are_counted_except_the_authors_own(
    database: Database, database_url: str, ann: UUID, recipe: UUID, admin: Connection
) -> None:
    bob, cid = await create_user(database_url), await create_user(database_url)
    for user, rating in ((ann, 5), (bob, 2), (cid, 3)):
        async with database.transaction_as(person(user)) as tx:
            assert await tx.execute(RATE, user=user, recipe=recipe, rating=rating) == 1
    assert (await counts(database, recipe))[1:4] == (5, 2, 2.5)
    await do(database, RATE, user=bob, recipe=recipe, rating=5)
    assert (await counts(database, recipe))[1:4] == (8, 2, 4.0)
    await admin.execute("delete from auth.users where id = %s", (cid,))
    assert (await counts(database, recipe))[1:4] == (5, 1, 5.0)
    await admin.execute("delete from auth.users where id = %s", (ann,))
    assert (await counts(database, recipe))[1:4] == (5, 1, 5.0), "hers was never counted"
    await do(database, "delete from recipe_ratings where user_id = %(bob)s", bob=bob)
    assert (await counts(database, recipe))[1:4] == (0, 0, 0.0)


async def test_saves_are_counted(database: Database, database_url: str, recipe: UUID) -> None:
    people = [await create_user(database_url) for _ in range(3)]
    save = "insert into saved_recipes (user_id, recipe_id) values (%(user)s, %(recipe)s)"
    async with trio.open_nursery() as nursery:
        for user in people:
            nursery.start_soon(lambda user=user: do(database, save, user=user, recipe=recipe))
    assert (await counts(database, recipe))[0] == 3
    with pytest.raises(DuplicateEntry):
        await do(database, save, user=people[0], recipe=recipe)
    async with database.transaction_as(person(people[0])) as tx:
        assert await tx.execute("delete from saved_recipes") == 1
    assert (await counts(database, recipe))[0] == 2


async def test_counting_does_not_change_updated_at(
    database: Database, ann: UUID, recipe: UUID
) -> None:
    await do(
        database,
        "insert into saved_recipes (user_id, recipe_id) values (%(user)s, %(recipe)s)",
        user=ann,
        recipe=recipe,
    )
    changed = "select updated_at > created_at from recipes where id = %(recipe)s"
    assert await call(database, changed, recipe=recipe) is False


async def test_views_of_published_recipes_are_counted(database: Database, recipe: UUID) -> None:
    view = "select increment_recipe_views(%(recipe)s)"
    await do(database, view, recipe=recipe)
    await do(database, view, recipe=recipe)
    assert (await counts(database, recipe))[4] == 2
    await do(database, "update recipes set is_published = false where id = %(r)s", r=recipe)
    await do(database, view, recipe=recipe)
    assert (await counts(database, recipe))[4] == 2


# Quotas


QUOTA = "select consume_quota(%(user)s, 'daily_scans', %(limit)s::int, '2026-01-31')"
USED = "select coalesce(sum(used), 0)::int from usage_counters where user_id = %(user)s"


async def test_concurrent_consumers_do_not_exceed_the_quota(database: Database, ann: UUID) -> None:
    passed: list[bool] = []

    async def consume() -> None:
        passed.append(await call(database, QUOTA, user=ann, limit=5))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(consume)
    assert passed.count(True) == 5
    assert await call(database, USED, user=ann) == 5


async def test_quota_of_zero_and_unlimited_quota(database: Database, ann: UUID) -> None:
    assert await call(database, QUOTA, user=ann, limit=0) is False
    assert await call(database, QUOTA, user=ann, limit=None) is True
    assert await call(database, USED, user=ann) == 0


async def test_rolled_back_consumption_is_not_counted(database: Database, ann: UUID) -> None:
    with pytest.raises(KeyError):  # noqa: PT012
        async with database.transaction() as tx:
            assert await tx.fetch_value(QUOTA, user=ann, limit=5) is True
            raise KeyError
    assert await call(database, USED, user=ann) == 0


# Push tokens


async def test_push_token_follows_the_device(
    database: Database, database_url: str, ann: UUID
) -> None:
    bob = await create_user(database_url)
    token = f"ExponentPushToken[{ann}]"
    tokens = "select user_id, active, provider from device_tokens where token = %(token)s"

    async def push(user: UUID, value: str | None) -> dict[str, Any]:
        async with database.transaction_as(person(user)) as tx:
            written = await tx.execute(
                "update users set push_token = %(value)s where id = %(user)s",
                value=value,
                user=user,
            )
        assert written == 1
        return await database.fetch_one_as(SERVICE, dict, tokens, token=token)

    assert await push(ann, token) == {"user_id": ann, "active": True, "provider": "expo"}
    assert await push(bob, token) == {"user_id": bob, "active": True, "provider": "expo"}
    assert (await push(ann, None))["active"] is True, "it is Bob's by now"
    assert (await push(bob, ""))["active"] is False
    assert (await push(bob, token))["active"] is True


# Constraints


@pytest.mark.parametrize(
    "statement",
    [
        "insert into ingredient_scans (user_id, detected_ingredients) values (%(ann)s, '{}')",
        "insert into ingredient_scans (user_id, detected_ingredients, confidence_score)"
        " values (%(ann)s, '[]', 1.1)",
        "insert into recipe_completion_photos (user_id, recipe_id, photo_url)"
        " values (%(ann)s, %(recipe)s, 'data:image/png;base64,AAAA')",
        "insert into recipe_ratings (user_id, recipe_id, rating) values (%(ann)s, %(recipe)s, 6)",
        "insert into cooking_sessions (user_id, session_id, original_ingredients,"
        " user_preferences) values (%(ann)s, '', '[]', '{}')",
        "insert into cooking_sessions (user_id, original_ingredients, user_preferences, completed)"
        " values (%(ann)s, '[]', '{}', true)",
        "insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level)"
        " values (%(ann)s, 'x', 0, 0, 1, 1)",
        "update user_streaks set current_streak = 5 where user_id = %(ann)s",
        "update user_streaks set freeze_tokens_used = 4 where user_id = %(ann)s",
        "insert into usage_counters (user_id, metric, period_start)"
        " values (%(ann)s, 'saved_recipes', '2026-01-01')",
        "insert into account_deletions (user_hash) values (repeat('a', 64))",
        "insert into account_deletions (user_hash, user_id) values ('short', %(ann)s)",
        "insert into analytics_events (user_id, event_type) values (%(ann)s, 'a b')",
        "insert into security_events (type, severity) values ('gossip', 'low')",
        "insert into security_alerts (type, severity, message, acknowledged)"
        " values ('x', 'low', 'x', true)",
        "insert into idempotency_keys (user_id, key, endpoint, request_hash)"
        " values (%(ann)s, repeat('x', 201), 'e', 'h')",
    ],
)
async def test_value_out_of_range_violates_a_constraint(
    database: Database, ann: UUID, recipe: UUID, statement: LiteralString
) -> None:
    with pytest.raises(ConstraintViolation):
        await do(database, statement, ann=ann, recipe=recipe)


@pytest.mark.parametrize(
    "statement",
    [
        "insert into cooking_sessions (user_id, session_id, original_ingredients,"
        " user_preferences) values (%(ann)s, 's', '[]', '{}')",
        "insert into notification_logs (user_id, type, title, body, dedupe_key)"
        " values (%(ann)s, 't', 't', 'b', 'd')",
        "insert into analytics_events (id, event_type) values (%(ann)s, 'a')",
        "insert into user_progress (user_id, action, xp_gained, total_xp, old_level, new_level,"
        " idempotency_key) values (%(ann)s, 'x', 1, 1, 1, 1, 'k')",
    ],
)
async def test_duplicate_row_is_rejected(
    database: Database, ann: UUID, statement: LiteralString
) -> None:
    await do(database, statement, ann=ann)
    with pytest.raises(DuplicateEntry):
        await do(database, statement, ann=ann)


async def test_preview_belongs_to_a_session_of_the_same_user(
    database: Database, database_url: str, ann: UUID
) -> None:
    bob = await create_user(database_url)
    await do(
        database,
        "insert into cooking_sessions (user_id, session_id, original_ingredients,"
        " user_preferences) values (%(ann)s, 's', %(json)s, %(json)s)",
        ann=ann,
        json=Jsonb({}),
    )
    preview = """
        insert into recipe_previews (user_id, session_id, preview_id, title)
        values (%(user)s, 's', 'p', 'Soup')
    """
    assert await do(database, preview, user=ann) == 1
    with pytest.raises(AppError, match="FOREIGN_KEY_ERROR"):
        await do(database, preview, user=bob)


async def test_deleting_an_account_deletes_its_rows(
    database: Database, ann: UUID, recipe: UUID, admin: Connection
) -> None:
    await do(database, "select record_cook(%(ann)s)", ann=ann)
    await do(database, RATE, user=ann, recipe=recipe, rating=5)
    await do(
        database,
        "insert into analytics_events (user_id, event_type) values (%(ann)s, 'opened')",
        ann=ann,
    )
    await admin.execute("delete from auth.users where id = %s", (ann,))
    cursor = await admin.execute(
        "select conrelid::regclass::text, attname::text, confdeltype = 'c'"
        " from pg_constraint join pg_attribute a on a.attrelid = conrelid and a.attnum = conkey[1]"
        " where contype = 'f' and confrelid = 'public.users'::regclass"
    )
    for table, column, cascades in await cursor.fetchall():
        left = await admin.execute(
            f"select from {table} where {column} = %s",
            (ann,),  # type: ignore[arg-type]
        )
        assert left.rowcount == 0, (table, cascades)
