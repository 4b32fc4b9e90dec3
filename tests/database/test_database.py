"""Transactions and reads as an actor, on a real database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import psycopg
import pytest
import trio
from attrs import frozen

from cookcam.config import DatabaseConfig
from cookcam.config.secret import Secret
from cookcam.database import ANONYMOUS, SERVICE, Database, Jsonb
from cookcam.database.actors import Actor, FixedActor
from cookcam.database.connecting import connect
from cookcam.database.connection import Connection
from cookcam.errors import (
    DatabaseError,
    DeadlineExceeded,
    DuplicateEntry,
    InsufficientPermissions,
    InvalidInput,
    NotFound,
    ReadOnlyMode,
    ServiceOverloaded,
    ServiceUnavailable,
)
from tests.support.postgres import as_owner
from tests.support.users import create_user, person


@frozen
class Recipe:
    id: UUID
    title: str
    ingredients: list[object]
    tags: list[str]


CREATE = """
    insert into public.recipes (title, ingredients, tags, created_by)
    values (%(title)s, %(ingredients)s, %(tags)s, %(author)s)
    returning id, title, ingredients, tags
"""
BY_TITLE = "select id, title, ingredients, tags from public.recipes where title = %(title)s"
CURRENT_ACTOR = """
    select current_user::text as role, session_user::text as login, auth.uid() as id,
           auth.role() as claimed, auth.jwt() as claims
"""


@pytest.fixture
async def ann(database_url: str) -> Actor:
    return person(await create_user(database_url), email="ann@example.test")


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await connect(as_owner(database_url)) as connection:
        yield connection


def fields_of(ann: Actor, title: str) -> dict[str, object]:
    return {
        "title": title,
        "ingredients": Jsonb([{"name": "eggs", "amount": 2.5}]),
        "tags": ["quick", 'quo"ted, {x}'],
        "author": ann.claims["sub"],
    }


# Actors


async def test_transaction_runs_as_its_actor(database: Database, ann: Actor) -> None:
    async with database.transaction_as(ann) as tx:
        who = await tx.fetch_one(dict, CURRENT_ACTOR)
    assert (who["role"], who["login"]) == ("authenticated", "cookcam_app")
    assert str(who["id"]) == ann.claims["sub"]
    assert who["claims"] == {**ann.claims, "role": "authenticated"}


@pytest.mark.parametrize(("actor", "role"), [(ANONYMOUS, "anon"), (SERVICE, "service_role")])
async def test_guest_and_server_have_no_user_id(
    database: Database, actor: Actor, role: str
) -> None:
    who = await database.fetch_one_as(actor, dict, CURRENT_ACTOR)
    assert (who["role"], who["claimed"], who["id"]) == (role, role, None)


async def test_plain_transaction_runs_as_the_server(database: Database) -> None:
    async with database.transaction() as tx:
        assert await tx.fetch_value("select current_user::text") == "service_role"


async def test_connection_keeps_no_state_of_the_actor(database: Database, ann: Actor) -> None:
    await database.fetch_one_as(ann, dict, CURRENT_ACTOR)
    async with database.transaction_as(ann) as tx:
        await tx.fetch_one(dict, CURRENT_ACTOR)
    async with database._pool.connection() as connection:
        cursor = await connection.execute(
            "select current_user::text, current_setting('request.jwt.claims', true),"
            " current_setting('statement_timeout'), current_setting('transaction_read_only')"
        )
        assert await cursor.fetchone() == ("cookcam_app", "", "0", "off")


async def test_unknown_role_is_rejected(database: Database) -> None:
    unknown_role = FixedActor("postgres")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no such database role"):
        await database.fetch_one_as(unknown_role, dict, CURRENT_ACTOR)
    with pytest.raises(ValueError, match="no such database role"):
        async with database.transaction_as(unknown_role):
            pass


async def test_role_claim_is_the_database_role(database: Database) -> None:
    actor = FixedActor("anon", {"role": "service_role"})
    who = await database.fetch_one_as(actor, dict, CURRENT_ACTOR)
    assert (who["role"], who["claimed"]) == ("anon", "anon")


# Statements


async def test_rows_are_returned_as_the_model_class(database: Database, ann: Actor) -> None:
    fields = fields_of(ann, f"Omelette {uuid4()}")
    async with database.transaction_as(ann) as tx:
        recipe = await tx.fetch_one(Recipe, CREATE, **fields)
        assert recipe.ingredients == [{"name": "eggs", "amount": 2.5}]
        assert recipe.tags == ["quick", 'quo"ted, {x}']
        assert await tx.fetch_all(Recipe, BY_TITLE, title=recipe.title) == [recipe]
        assert await tx.fetch_value("select count(*) from users where id = %(id)s", id=uuid4()) == 0
        changed = await tx.execute(
            "update recipes set servings = 2 where id = %(id)s", id=recipe.id
        )
    assert changed == 1
    assert await database.fetch_one_as(ann, Recipe, BY_TITLE, title=recipe.title) == recipe
    assert await database.fetch_all_as(ann, Recipe, BY_TITLE, title=recipe.title) == [recipe]
    assert await database.fetch_all_as(ANONYMOUS, Recipe, BY_TITLE, title=recipe.title) == []


async def test_missing_row_is_not_found_or_none(database: Database) -> None:
    nothing = "select 1 as n where false"
    with pytest.raises(NotFound):
        await database.fetch_one_as(ANONYMOUS, dict, nothing)
    with pytest.raises(NotFound):
        await database.fetch_value_as(ANONYMOUS, nothing)
    assert await database.fetch_optional_as(ANONYMOUS, dict, nothing) is None
    async with database.transaction() as tx:
        with pytest.raises(NotFound):
            await tx.fetch_one(dict, nothing)
        with pytest.raises(NotFound):
            await tx.fetch_value(nothing)
        assert await tx.fetch_optional(dict, nothing) is None


async def test_json_is_returned_undecoded(database: Database) -> None:
    built = """select json_build_object('name', 'Crème "<3"', 'n', %(n)s::int)::text"""
    encoded = await database.fetch_json_as(ANONYMOUS, built, n=1)
    assert encoded == '{"name" : "Crème \\"<3\\"", "n" : 1}'.encode()
    assert await database.fetch_optional_json_as(ANONYMOUS, built, n=2) is not None
    nothing = "select '{}' where false"
    assert await database.fetch_optional_json_as(ANONYMOUS, nothing) is None
    with pytest.raises(NotFound):
        await database.fetch_json_as(ANONYMOUS, nothing)


async def test_null_value_is_none(database: Database) -> None:
    assert await database.fetch_value_as(ANONYMOUS, "select null") is None


@pytest.fixture
async def trips(
    database: Database, ann: Actor, monkeypatch: pytest.MonkeyPatch
) -> list[Connection]:
    """Records the connection of every message. Depends on `ann`, whose creation sends some."""
    made: list[Connection] = []
    real = Connection.wait

    async def counted(self: Connection, *args: object, **kwargs: object) -> object:
        made.append(self)
        return await real(self, *args, **kwargs)  # type: ignore[arg-type]

    await database.ping()
    monkeypatch.setattr(Connection, "wait", counted)
    return made


async def test_read_is_one_message_to_the_server(
    database: Database, trips: list[Connection]
) -> None:
    await database.fetch_value_as(ANONYMOUS, "select 1")
    assert len(trips) == 1


async def test_transaction_begins_with_its_first_statement(
    database: Database, trips: list[Connection]
) -> None:
    async with database.transaction() as tx:
        await tx.execute("select 1")
        await tx.execute("select 2")
    assert len(trips) == 2 + 1


async def test_transaction_without_a_statement_sends_nothing(
    database: Database, trips: list[Connection]
) -> None:
    async with database.transaction():
        pass
    assert trips == []


async def test_deferred_statement_is_sent_with_the_next_one(
    database: Database, ann: Actor, trips: list[Connection]
) -> None:
    async with database.transaction_as(ann) as tx:
        tx.defer(CREATE, **fields_of(ann, "100 % later"))
        found = await tx.fetch_one(Recipe, BY_TITLE, title="100 % later")
        tx.defer("update public.recipes set title = 'Last' where id = %(id)s", id=found.id)
    assert len(trips) == 2
    last = await database.fetch_one_as(ann, Recipe, BY_TITLE, title="Last")
    assert last.id == found.id


async def test_deferred_statement_is_rolled_back_with_the_transaction(
    database: Database, ann: Actor
) -> None:
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with database.transaction_as(ann) as tx:
            tx.defer(CREATE, **fields_of(ann, "Never"))
            raise RuntimeError
    assert await database.fetch_optional_as(ann, Recipe, BY_TITLE, title="Never") is None


async def test_error_of_a_deferred_statement_is_raised_by_the_next_one(
    database: Database, ann: Actor
) -> None:
    bad = {**fields_of(ann, "Fine"), "author": uuid4()}
    with pytest.raises(InsufficientPermissions):
        async with database.transaction_as(ann) as tx:
            tx.defer(CREATE, **bad)
    # A failed deferred statement fails the commit.
    with pytest.raises(DatabaseError):  # noqa: PT012
        async with database.transaction_as(ann) as tx:
            tx.defer(CREATE, **bad)
            with pytest.raises(InsufficientPermissions):
                await tx.execute("select 1")


async def test_statement_after_a_failed_begin_is_rejected(database: Database, ann: Actor) -> None:
    with pytest.raises(DatabaseError):  # noqa: PT012
        async with database.transaction_as(ann) as tx:
            with pytest.raises(DatabaseError):
                await tx.execute("selekt 1")
            with pytest.raises(DatabaseError):
                await tx.execute(CREATE, **fields_of(ann, "Outside"))
    assert await database.fetch_optional_as(ann, Recipe, BY_TITLE, title="Outside") is None


async def test_write_one_is_one_message(
    database: Database, ann: Actor, trips: list[Connection]
) -> None:
    written = await database.write_one_as(ann, Recipe, CREATE, **fields_of(ann, "At once"))
    assert len(trips) == 1
    assert await database.fetch_one_as(ann, Recipe, BY_TITLE, title="At once") == written
    no_rows = "update public.recipes set title = 'x' where id = %(id)s returning id"
    assert await database.write_one_as(ann, dict, no_rows, id=uuid4()) is None
    with pytest.raises(InsufficientPermissions):
        await database.write_one_as(ANONYMOUS, Recipe, CREATE, **fields_of(ann, "A guest's"))


async def test_write_one_is_not_cancelled_once_sent(database: Database, ann: Actor) -> None:
    slow = "insert into public.recipes (title, ingredients, tags, created_by) select "
    async with trio.open_nursery() as nursery:

        async def add() -> None:
            await database.write_one_as(
                ann,
                dict,
                "with slept as (select pg_sleep(0.2)) " + slow + "%(title)s, %(ingredients)s,"
                " %(tags)s, %(author)s from slept",
                **fields_of(ann, "Sent"),
            )

        nursery.start_soon(add)
        while not database.stats.in_use:
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert await database.fetch_optional_as(ann, Recipe, BY_TITLE, title="Sent") is not None


async def test_read_cannot_write(database: Database, ann: Actor) -> None:
    with pytest.raises(ReadOnlyMode) as raised:
        await database.fetch_one_as(ann, Recipe, CREATE, **fields_of(ann, "Read only"))
    assert isinstance(raised.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)


# Ends of a transaction


async def test_block_that_raises_writes_nothing(database: Database, ann: Actor) -> None:
    title = f"Lost {uuid4()}"
    with pytest.raises(KeyError):  # noqa: PT012
        async with database.transaction_as(ann) as tx:
            await tx.fetch_one(Recipe, CREATE, **fields_of(ann, title))
            raise KeyError
    assert await database.fetch_all_as(ann, Recipe, BY_TITLE, title=title) == []


async def test_caught_error_rolls_back_the_transaction_and_fails_the_commit(
    database: Database, ann: Actor
) -> None:
    title = f"Twice {uuid4()}"
    with pytest.raises(DatabaseError):  # noqa: PT012
        async with database.transaction_as(ann) as tx:
            await tx.fetch_one(Recipe, CREATE, **fields_of(ann, title))
            with pytest.raises(DuplicateEntry) as raised:
                await tx.fetch_one(Recipe, CREATE, **fields_of(ann, title.upper()))
            assert isinstance(raised.value.__cause__, psycopg.errors.UniqueViolation)
    assert await database.fetch_all_as(ann, Recipe, BY_TITLE, title=title) == []


async def test_ended_transaction_is_unusable(database: Database) -> None:
    async with database.transaction() as tx:
        pass
    with pytest.raises(RuntimeError, match="ended"):
        await tx.execute("select 1")


async def test_cancelled_block_is_rolled_back_and_leaves_no_statement(
    database: Database, ann: Actor, admin: Connection
) -> None:
    title = f"Cancelled {uuid4()}"
    with trio.move_on_after(0.1) as scope:
        async with database.transaction_as(ann) as tx:
            await tx.fetch_one(Recipe, CREATE, **fields_of(ann, title))
            await tx.execute("select pg_sleep(60)")
    assert scope.cancelled_caught
    assert await running(admin) == 0
    assert await database.fetch_all_as(ann, Recipe, BY_TITLE, title=title) == []
    assert (database.stats.in_use, database.stats.broken) == (0, 0)


async def test_cancelled_read_leaves_no_statement_and_a_usable_connection(
    database: Database, admin: Connection
) -> None:
    await database.ping()
    opened = database.stats.opened
    for _ in range(3):
        with trio.move_on_after(0.05) as scope:
            await database.fetch_value_as(ANONYMOUS, "select pg_sleep(60)")
        assert scope.cancelled_caught
        assert await running(admin) == 0
    await database.ping()
    assert database.stats.opened == opened


async def running(admin: Connection) -> object:
    cursor = await admin.execute(
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and usename = 'cookcam_app' and state <> 'idle'"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def test_block_cancelled_before_its_end_does_not_commit(
    database: Database, ann: Actor
) -> None:
    title = f"Too late {uuid4()}"
    with trio.CancelScope() as scope:
        async with database.transaction_as(ann) as tx:
            await tx.fetch_one(Recipe, CREATE, **fields_of(ann, title))
            scope.cancel()
    assert scope.cancelled_caught
    assert await database.fetch_all_as(ann, Recipe, BY_TITLE, title=title) == []


# Failures


async def test_statement_over_the_timeout_is_ended_by_the_server(database_url: str) -> None:
    config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=1)
    async with Database.open(config, statement_timeout=0.05) as database:
        with pytest.raises(DeadlineExceeded):
            await database.fetch_value_as(ANONYMOUS, "select pg_sleep(60)")
        with pytest.raises(DeadlineExceeded):
            async with database.transaction() as tx:
                await tx.execute("select pg_sleep(60)")
        await database.ping()


async def test_text_that_postgresql_cannot_store_is_invalid_input(
    database: Database, ann: Actor
) -> None:
    with pytest.raises(InvalidInput):
        await database.fetch_all_as(ANONYMOUS, Recipe, BY_TITLE, title="nul \0")
    fields = fields_of(ann, "x") | {"ingredients": Jsonb(["nul \0"])}
    with pytest.raises(InvalidInput):
        async with database.transaction_as(ann) as tx:
            await tx.fetch_one(Recipe, CREATE, **fields)


async def test_session_ended_by_the_server_is_service_unavailable(
    database: Database, admin: Connection
) -> None:
    with pytest.raises(ServiceUnavailable):  # noqa: PT012
        async with database.transaction() as tx:
            pid = await tx.fetch_value("select pg_backend_pid()")
            await admin.execute("select pg_terminate_backend(%s, 5000)", (pid,))
            await tx.execute("select 1")
    await database.ping()


async def test_busy_pool_is_service_overloaded(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DatabaseConfig(url=Secret(database_url), pool_min=1, pool_max=1)
    async with Database.open(config) as database:
        await database.ping()
        monkeypatch.setattr(database._pool, "_settings", type(database._pool._settings)(1, 1, 0.02))
        async with database.transaction():
            with pytest.raises(ServiceOverloaded):
                await database.ping()


async def test_server_at_its_connection_limit_is_service_overloaded(
    database_url: str, admin: Connection
) -> None:
    await admin.execute("create role crowded login connection limit 0 in role anon")
    crowded = database_url.replace("cookcam_app@", "crowded@")
    try:
        async with Database.open(DatabaseConfig(url=Secret(crowded), pool_min=0)) as database:
            with pytest.raises(ServiceOverloaded):
                await database.ping()
    finally:
        await admin.execute("drop role crowded")


UNREACHABLE = DatabaseConfig(url=Secret("postgresql://cookcam_app@/cookcam?host=/nowhere"))


async def test_pool_opens_while_the_database_is_unreachable() -> None:
    async with Database.open(UNREACHABLE) as database:
        with pytest.raises(ServiceUnavailable):
            await database.ping()


async def test_must_connect_raises_while_the_database_is_unreachable() -> None:
    with pytest.raises(ServiceUnavailable):
        async with Database.open(UNREACHABLE, must_connect=True):
            pytest.fail("opened")


async def test_invalid_url_is_rejected_without_revealing_it() -> None:
    config = DatabaseConfig(url=Secret("postgresql://me:secret@[::1/x"))
    with pytest.raises(ValueError, match="URL") as raised:
        async with Database.open(config):
            pytest.fail("opened")
    assert "secret" not in str(raised.value)
