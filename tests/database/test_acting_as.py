"""Statements of one transaction that run as several actors."""

from __future__ import annotations

import pytest
import trio

from cookcam.database import ANONYMOUS, SERVICE, Database, Transaction
from cookcam.database.actors import Actor, FixedActor
from cookcam.database.connection import Connection
from cookcam.errors import DatabaseError, InsufficientPermissions
from tests.support.users import create_user, person

CURRENT_ACTOR = "select current_user || ' ' || coalesce(auth.jwt() ->> 'sub', '-')"


@pytest.fixture
async def ann(database_url: str) -> Actor:
    return person(await create_user(database_url))


async def current_actor(tx: Transaction) -> tuple[str, str]:
    role, sub = (await tx.fetch_value(CURRENT_ACTOR)).split()
    return role, sub


async def test_actor_applies_inside_the_block_and_the_outer_actor_after_it(
    database: Database, ann: Actor
) -> None:
    own = ("authenticated", ann.claims["sub"])
    async with database.transaction_as(ann) as tx:
        assert await current_actor(tx) == own
        async with tx.acting_as(SERVICE):
            assert await current_actor(tx) == ("service_role", "-")
            async with tx.acting_as(ANONYMOUS):
                assert await current_actor(tx) == ("anon", "-")
            assert await current_actor(tx) == ("service_role", "-")
        assert await current_actor(tx) == own


async def test_both_actors_write_in_one_transaction(database: Database, ann: Actor) -> None:
    rename = "update users set name = 'Renamed' where id = %(id)s"
    push = "update users set push_token = null where id = %(id)s"
    async with database.transaction_as(ann) as tx:
        assert await tx.execute(push, id=ann.claims["sub"]) == 1
        async with tx.acting_as(SERVICE):
            assert await tx.execute(rename, id=ann.claims["sub"]) == 1
    with pytest.raises(InsufficientPermissions):  # noqa: PT012
        async with database.transaction_as(ann) as tx:
            async with tx.acting_as(SERVICE):
                assert await tx.execute(rename, id=ann.claims["sub"]) == 1
            await tx.execute(rename, id=ann.claims["sub"])


async def test_switching_actors_costs_no_round_trip(
    database: Database, ann: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = 0
    real = Connection.wait

    async def counted(self: Connection, *args: object, **kwargs: object) -> object:
        nonlocal waits
        waits += 1
        return await real(self, *args, **kwargs)  # type: ignore[arg-type]

    await database.ping()
    monkeypatch.setattr(Connection, "wait", counted)
    async with database.transaction_as(ann) as tx:
        async with tx.acting_as(SERVICE):
            await tx.execute("select 1")
        await tx.execute("select 1")
    assert waits == 2 + 1


async def test_python_error_in_the_block_restores_the_outer_actor(
    database: Database, ann: Actor
) -> None:
    async with database.transaction_as(ann) as tx:
        with pytest.raises(KeyError):  # noqa: PT012
            async with tx.acting_as(SERVICE):
                await tx.execute("select 1")
                raise KeyError
        assert (await current_actor(tx))[0] == "authenticated"


async def test_rollback_to_a_savepoint_restores_the_right_actor(
    database: Database, ann: Actor
) -> None:
    async with database.transaction_as(ann) as tx:
        await tx.execute("savepoint outside")
        with pytest.raises(DatabaseError):  # noqa: PT012
            async with tx.acting_as(SERVICE):
                await tx.execute("select 1")
                await tx.execute("select 1 / 0")
        await tx.execute("rollback to savepoint outside")
        assert (await current_actor(tx))[0] == "authenticated"
        async with tx.acting_as(SERVICE):
            await tx.execute("savepoint inside")
            with pytest.raises(DatabaseError):
                await tx.execute("select 1 / 0")
            await tx.execute("rollback to savepoint inside")
            assert (await current_actor(tx))[0] == "service_role"
        assert (await current_actor(tx))[0] == "authenticated"


async def test_failed_first_statement_of_the_block_is_rolled_back_to_the_savepoint(
    database: Database, ann: Actor
) -> None:
    async with database.transaction_as(ann) as tx:
        await tx.execute("savepoint before")
        async with tx.acting_as(SERVICE):
            with pytest.raises(DatabaseError):
                await tx.execute("select 1 / 0")
            await tx.execute("rollback to savepoint before")
            assert (await current_actor(tx))[0] == "service_role"
        assert (await current_actor(tx))[0] == "authenticated"


async def test_cancelled_statement_in_the_block_ends_the_transaction(
    database: Database, ann: Actor
) -> None:
    with trio.move_on_after(0.05) as scope:
        async with database.transaction_as(ann) as tx, tx.acting_as(SERVICE):
            await tx.execute("select pg_sleep(60)")
    assert scope.cancelled_caught
    async with database.transaction_as(ann) as tx:
        assert (await current_actor(tx))[0] == "authenticated"


async def test_unknown_role_is_rejected_at_once(database: Database, ann: Actor) -> None:
    unknown_role = FixedActor("postgres")  # type: ignore[arg-type]
    async with database.transaction_as(ann) as tx:
        with pytest.raises(ValueError, match="no such database role"):
            async with tx.acting_as(unknown_role):
                pytest.fail("entered")
        assert (await current_actor(tx))[0] == "authenticated"


async def test_parameters_and_percent_signs_mean_the_same(database: Database, ann: Actor) -> None:
    async with database.transaction_as(ann) as tx, tx.acting_as(SERVICE):
        assert await tx.fetch_value("select %(a)s || '%%'", a="100") == "100%"
        async with tx.acting_as(ann):
            assert await tx.fetch_value("select '%%'") == "%"
