"""Access by actor, decided by row-level security alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import LiteralString
from uuid import UUID, uuid4

import pytest
from attrs import frozen

from cookcam.database import ANONYMOUS, SERVICE, Database
from cookcam.database.actors import Actor
from cookcam.database.connecting import connect
from cookcam.database.connection import Connection
from cookcam.errors import AppError, DuplicateEntry, ForeignKeyError, InsufficientPermissions
from tests.support.postgres import as_owner
from tests.support.users import create_user, person

DENIED = InsufficientPermissions
NO_USER = ForeignKeyError


@frozen
class World:
    """Ann has a draft and a published recipe, follows Bob, hosts a private and a public session
    with a message in each, and has shared a recipe. Bob has nothing."""

    ann: UUID
    bob: UUID
    draft: UUID
    published: UUID

    def actor(self, who: str) -> Actor:
        people = {
            "owner": person(self.ann, email="claimed@example.test"),
            "other": person(self.bob),
            "guest": ANONYMOUS,
            "server": SERVICE,
        }
        return people[who]


LIVE = """
with sessions as (
  insert into live_cooking_sessions (id, host_id, title, is_public)
  values (%(private)s, %(ann)s, 'Private', false), (%(public)s, %(ann)s, 'Public', true)
  returning id
), participants as (
  insert into live_cooking_participants (session_id, user_id) select id, %(ann)s from sessions
), messages as (
  insert into live_cooking_messages (session_id, seq, user_id, message)
  select id, 1, %(ann)s, 'Hi' from sessions
), shares as (
  insert into live_recipe_shares (id, user_id, title) values (%(public)s, %(ann)s, 'Soup')
  returning id
), likes as (
  insert into live_recipe_likes (share_id, user_id) select id, %(ann)s from shares
)
insert into live_recipe_comments (share_id, user_id, comment) select id, %(ann)s, 'Yum' from shares
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(as_owner(database_url)) as connection:
        yield connection


@pytest.fixture
async def world(database: Database, database_url: str) -> World:
    ann = await create_user(database_url)
    bob = await create_user(database_url, name="Bob")
    insert = """
        insert into recipes (title, created_by, is_published)
        values (%(title)s, %(author)s, %(published)s) returning id
    """
    async with database.transaction() as tx:
        draft = await tx.fetch_value(insert, title="Draft", author=ann, published=False)
        published = await tx.fetch_value(insert, title="Published", author=ann, published=True)
        await tx.execute(
            "insert into recipe_ingredients (recipe_id) values (%(draft)s), (%(published)s)",
            draft=draft,
            published=published,
        )
        await tx.execute(
            "insert into user_follows (follower_id, following_id) values (%(ann)s, %(bob)s)",
            ann=ann,
            bob=bob,
        )
        await tx.execute(LIVE, ann=ann, private=f"private {ann}", public=f"public {ann}")
    return World(ann, bob, draft, published)


async def outcome(
    database: Database, actor: Actor, statement: LiteralString, **params: object
) -> int | type[AppError]:
    """Return the number of rows read or written, or the error; rolled back in either case."""
    count = -1
    try:
        async with database.transaction_as(actor) as tx:
            count = await tx.execute(statement, **params)
            raise RolledBack
    except RolledBack:
        return count
    except AppError as error:
        return type(error)


class RolledBack(Exception):
    pass


# statement, and its outcome for: owner, other, guest, server
CASES: list[tuple[LiteralString, *tuple[int | type[AppError], ...]]] = [
    # Profiles
    ("select id, name, avatar_url, level, xp, total_xp, is_creator, creator_tier, created_at"
     " from users where id = %(ann)s", 1, 1, DENIED, 1),
    ("select email from users where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("select * from users where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("select push_token from users where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("update users set push_token = 'x' where id = %(ann)s", 1, 0, DENIED, 1),
    ("update users set name = 'Mallory' where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("update users set total_xp = 1000 where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("update users set is_creator = true where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("delete from users where id = %(ann)s", DENIED, DENIED, DENIED, 1),
    ("truncate users cascade", DENIED, DENIED, DENIED, DENIED),
    ("insert into users (id, name) values (%(ann)s, 'Again')", 0, 0, DENIED, DuplicateEntry),
    ("insert into users (id, name) values (%(unknown)s, 'New')", DENIED, DENIED, DENIED, NO_USER),
    # Recipes
    ("select * from recipes where id = %(draft)s", 1, 0, 0, 1),
    ("select * from recipes where id = %(published)s", 1, 1, 1, 1),
    ("insert into recipes (title, created_by) values ('New', %(ann)s)", 1, DENIED, DENIED, 1),
    ("insert into recipes (title) values ('Ownerless')", DENIED, DENIED, DENIED, 1),
    ("insert into recipes (title, created_by, is_featured) values ('New', %(ann)s, true)",
     DENIED, DENIED, DENIED, 1),
    ("insert into recipes (title, created_by, rating_sum) values ('New', %(ann)s, 5)",
     DENIED, DENIED, DENIED, 1),
    ("update recipes set title = 'Changed' where id = %(draft)s", 1, 0, DENIED, 1),
    ("update recipes set title = 'Changed' where id = %(published)s", 1, 0, DENIED, 1),
    ("update recipes set created_by = %(bob)s where id = %(draft)s", DENIED, DENIED, DENIED, 1),
    ("update recipes set is_featured = true where id = %(draft)s", DENIED, DENIED, DENIED, 1),
    ("update recipes set trending_score = 9 where id = %(published)s", DENIED, DENIED, DENIED, 1),
    ("update recipes set is_generated = true where id = %(draft)s", DENIED, DENIED, DENIED, 1),
    ("delete from recipes where id = %(draft)s", 1, 0, DENIED, 1),
    ("delete from recipes where id = %(published)s", 1, 0, DENIED, 1),
    # Parts of a recipe, and the catalogue
    ("select * from recipe_ingredients where recipe_id = %(draft)s", 1, 0, 0, 1),
    ("select * from recipe_ingredients where recipe_id = %(published)s", 1, 1, 1, 1),
    ("delete from recipe_ingredients where recipe_id = %(draft)s", DENIED, DENIED, DENIED, 1),
    ("select * from ingredients where false", 0, 0, 0, 0),
    ("insert into ingredients (name) values ('Salt')", DENIED, DENIED, DENIED, 1),
    # Follows are public; users create and delete only their own
    ("select * from user_follows where following_id = %(bob)s", 1, 1, 1, 1),
    ("insert into user_follows (follower_id, following_id) values (%(bob)s, %(ann)s)",
     DENIED, 1, DENIED, 1),
    ("delete from user_follows where follower_id = %(ann)s", 1, 0, DENIED, 1),
    ("update user_follows set following_id = %(ann)s where false", DENIED, DENIED, DENIED, 0),
    # Only the server writes the live tables; users read public sessions, their own, and the feed
    ("select * from live_cooking_sessions where false", DENIED, DENIED, DENIED, 0),
    ("insert into live_cooking_sessions (id, host_id, title) values ('s', %(ann)s, 'T')",
     DENIED, DENIED, DENIED, 1),
    ("select invite_code_hash from live_cooking_sessions where false", DENIED, DENIED, DENIED, 0),
    ("select id from live_cooking_sessions where host_id = %(ann)s", 2, 1, DENIED, 2),
    ("select * from live_cooking_participants where user_id = %(ann)s", 2, 1, DENIED, 2),
    ("select * from live_cooking_messages where user_id = %(ann)s", 2, 1, DENIED, 2),
    ("insert into live_cooking_messages (session_id, seq, message) values ('s', 1, 'Hi')",
     DENIED, DENIED, DENIED, ForeignKeyError),
    ("select * from live_recipe_shares where user_id = %(ann)s", 1, 1, DENIED, 1),
    ("select * from live_recipe_likes where user_id = %(ann)s", 1, 1, DENIED, 1),
    ("select * from live_recipe_comments where user_id = %(ann)s", 1, 1, DENIED, 1),
    ("delete from live_recipe_shares where user_id = %(ann)s", DENIED, DENIED, DENIED, 1),
    # Hidden from clients
    ("select * from auth.users where id = %(ann)s", DENIED, DENIED, DENIED, DENIED),
    ("select * from cookcam.migrations", DENIED, DENIED, DENIED, DENIED),
    ("create table mine (n int)", DENIED, DENIED, DENIED, DENIED),
    ("set local role postgres", DENIED, DENIED, DENIED, DENIED),
]  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "expected"),
    [pytest.param(statement, outcomes, id=statement[:70]) for statement, *outcomes in CASES],
)
async def test_access_by_actor(
    database: Database,
    world: World,
    statement: LiteralString,
    expected: list[int | type[AppError]],
) -> None:
    params = {
        "ann": world.ann,
        "bob": world.bob,
        "draft": world.draft,
        "published": world.published,
        "unknown": uuid4(),
    }
    outcomes = [
        await outcome(database, world.actor(who), statement, **params)
        for who in ("owner", "other", "guest", "server")
    ]
    assert outcomes == expected


async def test_login_role_has_no_access(database: Database) -> None:
    async with database._pool.connection() as connection:
        cursor = await connection.execute(
            "select bool_or(has_table_privilege(c.oid, 'select')) from pg_class c"
            " where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'"
        )
        assert await cursor.fetchone() == (False,)


async def test_profile_inserted_by_a_client_has_the_defaults(
    database: Database, world: World, admin: Connection
) -> None:
    await admin.execute("delete from users where id = %s", (world.ann,))
    async with database.transaction_as(world.actor("owner")) as tx:
        written = await tx.execute(
            "insert into users (id, email, name, is_creator, level, xp, total_xp, streak_current)"
            " values (%(id)s, 'other@example.test', 'Ann', true, 50, 9, 7, 3)",
            id=world.ann,
        )
    assert written == 1
    row = await database.fetch_one_as(
        SERVICE, dict, "select * from users where id = %(id)s", id=world.ann
    )
    defaults = await database.fetch_one_as(
        SERVICE, dict, "select * from users where id = %(id)s", id=world.bob
    )
    own = {"id", "name", "email", "created_at", "updated_at"}
    assert {key: row[key] for key in row.keys() - own} == {
        key: defaults[key] for key in defaults.keys() - own
    }
    assert (row["name"], row["email"]) == ("Ann", "claimed@example.test")


# The schema as a whole


async def test_every_table_has_row_level_security(admin: Connection) -> None:
    cursor = await admin.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace"
        " and relkind in ('r', 'p') and not relrowsecurity"
    )
    assert await cursor.fetchall() == []


async def test_clients_may_execute_only_the_functions_of_the_app(
    admin: Connection,
) -> None:
    cursor = await admin.execute(
        "select proname::text, has_function_privilege('anon', oid, 'execute') from pg_proc"
        " where pronamespace = 'public'::regnamespace and ("
        " has_function_privilege('anon', oid, 'execute')"
        " or has_function_privilege('authenticated', oid, 'execute')) order by 1"
    )
    assert await cursor.fetchall() == [
        ("is_admitted_to_session", False),
        ("level_for_xp", False),
        ("update_user_streak", False),
        ("use_freeze_token", False),
        ("user_card", True),  # what GET /users/{user_id} shows to guests
        ("xp_threshold", False),
    ]


async def test_functions_are_not_overloaded(admin: Connection) -> None:
    cursor = await admin.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " group by 1 having count(*) > 1"
    )
    assert await cursor.fetchall() == []


async def test_every_function_has_an_empty_search_path(admin: Connection) -> None:
    cursor = await admin.execute(
        "select proname from pg_proc where pronamespace = 'public'::regnamespace"
        " and not coalesce('search_path=\"\"' = any (proconfig), false)"
    )
    assert await cursor.fetchall() == []


async def test_policies_evaluate_the_caller_once_per_statement(admin: Connection) -> None:
    cursor = await admin.execute(
        "select policyname, regexp_replace(concat(qual, with_check),"
        " 'SELECT auth\\.uid\\(\\) AS uid', '', 'g') from pg_policies where schemaname = 'public'"
    )
    assert [name for name, rest in await cursor.fetchall() if "auth.uid()" in rest] == []


async def test_every_foreign_key_has_an_index_that_begins_with_it(admin: Connection) -> None:
    cursor = await admin.execute(
        "select conrelid::regclass::text, conname from pg_constraint c"
        " where contype = 'f' and connamespace = 'public'::regnamespace"
        # References to catalogues whose rows are never deleted.
        " and confrelid <> 'subscription_tiers'::regclass and not exists ("
        "  select from pg_index i join pg_attribute a on a.attrelid = i.indrelid"
        "  and a.attnum = i.indkey[0]"
        "  where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]"
        "  and (i.indpred is null"
        "  or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)', a.attname)))"
    )
    # The alerts table is small.
    assert await cursor.fetchall() == [("security_alerts", "security_alerts_acknowledged_by_fkey")]
