"""Statements in the name of an actor.

Every message to the server begins by saying in whose name it runs: role and claims are set for one
transaction, so that row-level security holds for the caller and nothing of it stays on a pooled
connection (`spec/database.md` §5.3). The statement timeout goes the same way, because a start-up
option does not survive a transaction pooler.

Parameters are bound on this side, as literals quoted by libpq. That is what allows several
statements in one message, and one statement means the same in a read as in a transaction.
Placeholders are psycopg's: `%(name)s`, and `%%` for a percent sign.

A trip to the server costs more than most statements do. So BEGIN travels with the first statement,
and what nobody waits for (`Transaction.later`) with the next one, or with COMMIT.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, LiteralString, TypeVar, cast, get_args

import trio
from attrs import define, field
from psycopg import AsyncClientCursor, pq
from psycopg.rows import AsyncRowFactory, class_row, dict_row, scalar_row

from cookcam.database.actors import Actor, DatabaseRole
from cookcam.database.connection import Connection
from cookcam.database.failures import translated
from cookcam.errors import DatabaseError, NotFound, ServiceUnavailable

T = TypeVar("T")

COMMIT_WAIT = 10.0

IDLE, INTRANS = pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS

NAME = """\
select
  set_config('role', %(actor__role)s, true),
  set_config('request.jwt.claims', %(actor__claims)s, true)"""
ACT = NAME + ",\n  set_config('statement_timeout', %(actor__timeout)s, true)"
BEGIN = "begin;\n" + ACT
READ = ACT + ",\n  set_config('transaction_read_only', 'on', true);\n"
WRITE = ACT + ";\n"


@define(eq=False)
class Transaction:
    """Statements inside `Database.transaction` or `transaction_as`; over when the block is."""

    _connection: Connection
    _over: bool = False
    _actor: Actor | None = None
    # Whom the server takes us for. None when that has to be said again: after an error, going back
    # to a savepoint also goes back to the name of then.
    _known_as: Actor | None = None
    # What travels ahead of the next statement, its parameters bound; BEGIN is the first of it.
    _ahead: list[str] = field(factory=list[str])
    _begun: bool = False

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

    def later(self, statement: LiteralString, /, **params: object) -> None:
        """A statement whose result nobody needs: it travels with the next one, or with COMMIT.

        In order, in the name of now, and for no trip of its own. What is wrong with it is raised
        there, as the error that `execute` would have raised.
        """
        self._refuse_when_over()
        with translated():
            self._ahead.append(self._worded(statement, params))

    async def _run(
        self, rows: AsyncRowFactory[T], statement: LiteralString, params: Mapping[str, object]
    ) -> AsyncClientCursor[T]:
        self._refuse_when_over()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._ahead.append(self._worded(statement, params))
        return await self._send(AsyncClientCursor(self._connection, row_factory=rows))

    async def _send(self, cursor: AsyncClientCursor[T]) -> AsyncClientCursor[T]:
        """All that waits to be sent, in one message; the result is that of the last statement."""
        message, self._ahead = ";\n".join(self._ahead), []
        if self._begun and self._connection.pgconn.transaction_status == IDLE:
            # BEGIN was in a message that the server could not read. Nothing may go on without it.
            raise DatabaseError()
        self._begun = True
        # Until the server has done it, nobody knows whom it takes us for.
        known_as, self._known_as = self._known_as, None
        await cursor.execute(cast("LiteralString", message))
        if cursor.nextset():
            await cursor.set_result(-1)
        self._known_as = known_as
        return cursor

    def _worded(self, statement: LiteralString, params: Mapping[str, object]) -> str:
        """The statement with its parameters, and before it in whose name it runs, if need be."""
        bound = _bound(self._connection, statement, params)
        # After an error the server takes nothing but the way back to a savepoint.
        status = self._connection.pgconn.transaction_status
        if self._begun and status != INTRANS:
            self._known_as = None
            return bound
        actor, known_as, self._known_as = self._actor, self._known_as, self._actor
        if actor is None or actor is known_as:
            return bound
        return f"{_bound(self._connection, NAME, _claims_of(actor))};\n{bound}"

    def _refuse_when_over(self) -> None:
        if self._over:
            raise RuntimeError("this transaction is over")

    def begin(self, actor: Actor, statement_timeout: float) -> None:
        """Begin and take the actor's name, together with the first statement."""
        self._ahead.append(_bound(self._connection, BEGIN, acting(actor, statement_timeout)))
        self._actor = self._known_as = actor

    async def commit(self) -> None:
        """Commit. Raises `DatabaseError` when an earlier error, though caught, undid everything.

        Once begun it is not cancelled: a COMMIT that was interrupted may or may not have happened.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._begun and len(self._ahead) == 1:
            return  # nothing was asked for
        self._ahead.append("commit")
        with uninterrupted(), translated():
            cursor = await self._send(AsyncClientCursor(self._connection))
            if cursor.statusmessage != "COMMIT":
                raise DatabaseError()

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


async def write(
    connection: Connection,
    actor: Actor,
    statement_timeout: float,
    rows: AsyncRowFactory[T],
    statement: LiteralString,
    params: Mapping[str, object],
) -> list[T]:
    """`read` for a statement that writes; it is its own COMMIT, so it is not cancelled either."""
    with uninterrupted(), translated():
        cursor = AsyncClientCursor(connection, row_factory=rows)
        await cursor.execute(WRITE + statement, {**params, **acting(actor, statement_timeout)})
        await cursor.set_result(-1)
        return await cursor.fetchall() if cursor.description else []


@contextmanager
def uninterrupted() -> Generator[None]:
    """What was begun in the block and interrupted may or may not have happened: so it is not.

    Raises `ServiceUnavailable` after `COMMIT_WAIT` seconds.
    """
    with trio.move_on_after(COMMIT_WAIT, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise ServiceUnavailable()


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


def _bound(connection: Connection, statement: LiteralString, params: Mapping[str, object]) -> str:
    return AsyncClientCursor(connection).mogrify(statement, params)


def rows_of(model: type[T]) -> AsyncRowFactory[T]:
    if model is dict:
        return cast("AsyncRowFactory[T]", dict_row)
    return class_row(model)
