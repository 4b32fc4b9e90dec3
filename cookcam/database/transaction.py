"""Statements in the name of an actor.

Every message to the server begins by saying in whose name it runs: role and claims are set for one
transaction, so that row-level security holds for the caller and nothing of it stays on a pooled
connection (`spec/database.md` §5.3). The statement timeout goes the same way, because a start-up
option does not survive a transaction pooler.

Parameters are bound on this side, as literals quoted by libpq. That is what allows several
statements in one message, and one statement means the same in a read as in a transaction.
Placeholders are psycopg's: `%(name)s`, and `%%` for a percent sign.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, LiteralString, TypeVar, cast, get_args

import trio
from attrs import define
from psycopg import AsyncClientCursor, pq
from psycopg.rows import AsyncRowFactory, class_row, dict_row, scalar_row

from cookcam.database.actors import Actor, DatabaseRole
from cookcam.database.connection import Connection
from cookcam.database.failures import translated
from cookcam.errors import DatabaseError, NotFound, ServiceUnavailable

T = TypeVar("T")

COMMIT_WAIT = 10.0

INTRANS = pq.TransactionStatus.INTRANS

NAME = """\
select
  set_config('role', %(actor__role)s, true),
  set_config('request.jwt.claims', %(actor__claims)s, true)"""
ACT = NAME + ",\n  set_config('statement_timeout', %(actor__timeout)s, true)"
BEGIN = "begin;\n" + ACT
READ = ACT + ",\n  set_config('transaction_read_only', 'on', true);\n"


@define(eq=False)
class Transaction:
    """Statements inside `Database.transaction` or `transaction_as`; over when the block is."""

    _connection: Connection
    _over: bool = False
    _actor: Actor | None = None
    # Whom the server takes us for. None when that has to be said again: after an error, going back
    # to a savepoint also goes back to the name of then.
    _known_as: Actor | None = None

    @asynccontextmanager
    async def acting_as(self, actor: Actor) -> AsyncGenerator[None]:
        """Statements inside the block run in this actor's name, in the same transaction.

        For what a person's deed brings about and may not do by themselves, such as an award of XP.
        Costs no trip: the name travels with the next statement, and so does the one before when
        the block is over, however it ends. A savepoint made in the block ends in it.
        """
        _claims_of(actor)
        outer, self._actor = self._actor, actor
        try:
            yield
        finally:
            self._actor = outer

    async def fetch_one(self, model: type[T], statement: LiteralString, /, **params: object) -> T:
        """The first row as a `model`; raises `NotFound` when there is none.

        `model` is `dict`, or a class that takes the columns as keyword arguments.
        """
        row = await self.fetch_optional(model, statement, **params)
        if row is None:
            raise NotFound()
        return row

    async def fetch_optional(
        self, model: type[T], statement: LiteralString, /, **params: object
    ) -> T | None:
        """The first row as a `model`, or None."""
        with translated():
            return await (await self._run(rows_of(model), statement, params)).fetchone()

    async def fetch_all(
        self, model: type[T], statement: LiteralString, /, **params: object
    ) -> list[T]:
        """All rows, each as a `model`. The statement has to bound their number."""
        with translated():
            return await (await self._run(rows_of(model), statement, params)).fetchall()

    async def fetch_value(self, statement: LiteralString, /, **params: object) -> Any:
        """The first column of the first row; raises `NotFound` when there is none."""
        with translated():
            cursor = await self._run(scalar_row, statement, params)
            if not cursor.rowcount:
                raise NotFound()
            return await cursor.fetchone()

    async def execute(self, statement: LiteralString, /, **params: object) -> int:
        """The number of rows written. A policy filters rows away without an error: look at it."""
        with translated():
            return (await self._run(dict_row, statement, params)).rowcount

    async def _run(
        self, rows: AsyncRowFactory[T], statement: LiteralString, params: Mapping[str, object]
    ) -> AsyncClientCursor[T]:
        if self._over:
            raise RuntimeError("this transaction is over")
        await trio.lowlevel.checkpoint_if_cancelled()
        cursor = AsyncClientCursor(self._connection, row_factory=rows)
        actor, known_as, self._known_as = self._actor, self._known_as, None
        # After an error the server takes nothing but the way back to a savepoint.
        introduced = self._connection.pgconn.transaction_status == INTRANS
        if actor is None or actor is known_as or not introduced:
            await cursor.execute(statement, params)
        else:
            await cursor.execute(f"{NAME};\n{statement}", {**params, **_claims_of(actor)})
            await cursor.set_result(-1)
        if introduced:
            self._known_as = actor
        return cursor

    async def begin(self, actor: Actor, statement_timeout: float) -> None:
        """Begin and take the actor's name, in one trip."""
        with translated():
            cursor = AsyncClientCursor(self._connection)
            await cursor.execute(BEGIN, acting(actor, statement_timeout))
        self._actor = self._known_as = actor

    async def commit(self) -> None:
        """Commit. Raises `DatabaseError` when an earlier error, though caught, undid everything.

        Once begun it is not cancelled: a COMMIT that was interrupted may or may not have happened.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        with trio.move_on_after(COMMIT_WAIT, shield=True) as scope, translated():
            cursor = await self._connection.execute("commit")
            if cursor.statusmessage != "COMMIT":
                raise DatabaseError()
        if scope.cancelled_caught:
            raise ServiceUnavailable()

    def end(self) -> None:
        """The connection belongs to somebody else from here on."""
        self._over = True


async def read(
    connection: Connection,
    actor: Actor,
    statement_timeout: float,
    rows: AsyncRowFactory[T],
    statement: LiteralString,
    params: Mapping[str, object],
) -> list[T]:
    """Run one read-only statement as an actor, in one trip and its own implicit transaction."""
    with translated():
        cursor = AsyncClientCursor(connection, row_factory=rows)
        await cursor.execute(READ + statement, {**params, **acting(actor, statement_timeout)})
        return await (await cursor.set_result(-1)).fetchall()


def acting(actor: Actor, statement_timeout: float) -> dict[str, str]:
    """The parameters of `ACT`."""
    return {**_claims_of(actor), "actor__timeout": f"{statement_timeout * 1000:.0f}"}


def _claims_of(actor: Actor) -> dict[str, str]:
    """The parameters of `NAME`. The claims of the role that is taken say the same role."""
    role = actor.database_role
    if role not in get_args(DatabaseRole):
        raise ValueError(f"no such database role: {role!r}")
    return {
        "actor__role": role,
        "actor__claims": json.dumps({**actor.claims, "role": role}),
    }


def rows_of(model: type[T]) -> AsyncRowFactory[T]:
    if model is dict:
        return cast("AsyncRowFactory[T]", dict_row)
    return class_row(model)
