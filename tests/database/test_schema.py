"""Triggers and constraints of the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from psycopg.types.json import Jsonb

from cookcam.database import SERVICE, Database, Transaction
from cookcam.database.connecting import connect
from cookcam.database.connection import Connection
from cookcam.errors import ConstraintViolation, DuplicateEntry
from tests.support.postgres import as_owner
from tests.support.users import create_user

ADD = """
    insert into recipes (title, created_by, is_generated, is_published)
    values (%(title)s, %(author)s, %(generated)s, %(published)s) returning id
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(as_owner(database_url)) as connection:
        yield connection


async def add(
    tx: Transaction, author: UUID, title: str, *, generated: bool = False, published: bool = False
) -> UUID:
    return await tx.fetch_value(
        ADD, title=title, author=author, generated=generated, published=published
    )


# Profiles


@pytest.mark.parametrize(
    ("metadata", "email", "name"),
    [
        ({"name": "  Ann  "}, "ann@example.test", "Ann"),
        ({"name": "x" * 300}, "ann@example.test", "x" * 100),
        ({"name": "  "}, "ann@example.test", "ann"),
        ({"name": "A"}, "ann@example.test", "ann"),
        ({}, "ann@example.test", "ann"),
        ({}, "a@example.test", None),
        ({"name": 5}, "a@example.test", None),
        ({"name": None}, None, None),
        ({"name": {"first": "Ann"}}, "ann@example.test", '{"first": "Ann"}'),
    ],
)
async def test_sign_up_creates_a_profile_with_any_name(
    admin: Connection, metadata: dict[str, object], email: str | None, name: str | None
) -> None:
    async with admin.transaction(force_rollback=True):
        cursor = await admin.execute(
            "insert into auth.users (email, raw_user_meta_data) values (%s, %s) returning id",
            (email, Jsonb(metadata)),
        )
        (user_id,) = await cursor.fetchone() or (None,)
        cursor = await admin.execute("select name, email from users where id = %s", (user_id,))
        assert await cursor.fetchone() == (name, email)


async def test_changed_email_is_copied_to_the_profile(
    database: Database, database_url: str, admin: Connection
) -> None:
    user_id = await create_user(database_url)
    await admin.execute(
        "update auth.users set email = %s where id = %s", (f"{user_id}@new.test", user_id)
    )
    email = await database.fetch_value_as(
        SERVICE, "select email from users where id = %(id)s", id=user_id
    )
    assert email == f"{user_id}@new.test"


async def test_xp_equals_the_total(database: Database, database_url: str) -> None:
    user_id = await create_user(database_url)
    async with database.transaction() as tx:
        xp = await tx.fetch_value(
            "update users set total_xp = 160, xp = 3 where id = %(id)s returning xp", id=user_id
        )
    assert xp == 160


@pytest.mark.parametrize(
    "change",
    [
        "name = 'x'",
        "avatar_url = 'http://example.test/a.png'",
        "level = 101",
        "total_xp = -1",
        "creator_tier = 6",
        "kitchen_appliances = '{}'",
        "dietary_preferences = '[1]'",
        "notification_preferences = '[]'",
        "cooking_skill_level = 'expert'",
        "default_serving_size = 0",
    ],
)
async def test_profile_value_out_of_range_violates_a_constraint(
    database: Database, database_url: str, change: str
) -> None:
    user_id = await create_user(database_url)
    with pytest.raises(ConstraintViolation):  # noqa: PT012
        async with database.transaction() as tx:
            statement = f"update users set {change} where id = %(id)s"
            await tx.execute(statement, id=user_id)  # type: ignore[arg-type]


async def test_deleting_a_user_deletes_drafts_and_keeps_published_recipes(
    database: Database, database_url: str, admin: Connection
) -> None:
    user_id = await create_user(database_url)
    async with database.transaction() as tx:
        draft = await add(tx, user_id, "Draft")
        published = await add(tx, user_id, "Published", published=True)
    await admin.execute("delete from auth.users where id = %s", (user_id,))
    rows = await database.fetch_all_as(
        SERVICE,
        dict,
        "select id, created_by from recipes where id in (%(draft)s, %(published)s)",
        draft=draft,
        published=published,
    )
    assert rows == [{"id": published, "created_by": None}]


# Recipes


async def test_title_is_unique_per_author_ignoring_case_unless_generated(
    database: Database, database_url: str
) -> None:
    ann, bob = await create_user(database_url), await create_user(database_url)
    async with database.transaction() as tx:
        await add(tx, ann, "Soup")
        await add(tx, bob, "Soup")
        await add(tx, ann, "Soup", generated=True)
        await add(tx, ann, "Soup", generated=True)
    with pytest.raises(DuplicateEntry):
        async with database.transaction() as tx:
            await add(tx, ann, "SOUP")


async def test_recipe_needs_only_a_title(database: Database, database_url: str) -> None:
    ann = await create_user(database_url)
    async with database.transaction() as tx:
        recipe_id = await add(tx, ann, "Toast")
        row = await tx.fetch_one(dict, "select * from recipes where id = %(id)s", id=recipe_id)
    assert row["ingredients"] == row["instructions"] == row["tags"] == []
    assert (row["is_published"], row["rating_avg"], row["nutrition"]) == (False, 0, None)
    assert row["search_tsv"] == "'toast':1"


async def test_updated_at_is_the_last_change_of_the_recipe_itself(
    database: Database, database_url: str
) -> None:
    ann = await create_user(database_url)
    async with database.transaction() as tx:
        recipe_id = await add(tx, ann, "Tea")
    changed = "select updated_at > created_at from recipes where id = %(id)s"
    async with database.transaction() as tx:
        await tx.execute(
            "update recipes set view_count = 1, rating_sum = 9, rating_count = 2 where id = %(id)s",
            id=recipe_id,
        )
    assert await database.fetch_value_as(SERVICE, changed, id=recipe_id) is False
    async with database.transaction() as tx:
        await tx.execute("update recipes set tags = '{hot}' where id = %(id)s", id=recipe_id)
    assert await database.fetch_value_as(SERVICE, changed, id=recipe_id) is True
    average = "select rating_avg::float from recipes where id = %(id)s"
    assert await database.fetch_value_as(SERVICE, average, id=recipe_id) == 4.5
