"""Statements that run as an actor.

Every transaction begins by setting the role and claims of the actor, local to the transaction, so
row-level security applies to the actor and a pooled connection keeps no trace of it. The statement
timeout is set the same way, because a start-up option does not work behind a transaction pooler.

Parameters are bound on the client, as literals quoted by libpq. This allows several statements in
one message, and makes a statement mean the same in a read and in a transaction.
Placeholders are psycopg's: `%(name)s`, and `%%` for a percent sign.

A round trip costs more than most statements. So BEGIN is sent with the first statement, and a
deferred statement (`Transaction.defer`) with the next one, or with COMMIT.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, LiteralString, TypeVar, cast, get_args

import trio
from attrs import define, field
from psycopg import AsyncClientCursor, pq
from psycopg import Error as PostgresError
from psycopg.errors import error_from_result
from psycopg.generators import execute
from psycopg.rows import AsyncRowFactory, class_row, dict_row, scalar_row

from cookcam.database.actors import Actor, DatabaseRole
from cookcam.database.connection import Connection
from cookcam.database.failures import translate_errors
from cookcam.errors import DatabaseError, NotFound, ServiceUnavailable
from cookcam.observability.tracing import statement_span

T = TypeVar("T")

COMMIT_TIMEOUT = 10.0

IDLE, INTRANS = pq.TransactionStatus.IDLE, pq.TransactionStatus.INTRANS

ROLES = frozenset(get_args(DatabaseRole))
READ_ONLY = ", set_config('transaction_read_only', 'on', true)"


@define(eq=False)
class Transaction:
    """Statements inside `Database.transaction` or `transaction_as`; unusable after the block."""

    _connection: Connection
    _ended: bool = False
    _actor: Actor | None = None
    # The actor whose role the session has now. None when unknown: after an error, a rollback to a
    # savepoint also restores the role of that time.
    _server_actor: Actor | None = None
    # Statements to be sent before the next one, with parameters bound. The first is BEGIN.
    _pending: list[str] = field(factory=list[str])
    _begun: bool = False

    @asynccontextmanager
    async def acting_as(self, actor: Actor) -> AsyncGenerator[None]:
        """Run the statements of the block as `actor`, in the same transaction.

        For effects of a user's action that the user may not write directly, such as an award of XP.
        Costs no extra round trip: the role switch is sent with the next statement, and so is the
        switch back after the block. A savepoint opened in the block must end in it.
        """
        _set_actor(self._connection, actor)
        outer, self._actor = self._actor, actor
        try:
            yield
        finally:
            self._actor = outer

    async def fetch_one(self, model: type[T], statement: LiteralString, /, **params: object) -> T:
        """Return the first row as a `model`. Raises `NotFound` when there is none.

        `model` is `dict`, or a class that takes the columns as keyword arguments.
        """
        row = await self.fetch_optional(model, statement, **params)
        if row is None:
            raise NotFound()
        return row

    async def fetch_optional(
        self, model: type[T], statement: LiteralString, /, **params: object
    ) -> T | None:
        """Return the first row as a `model`, or None."""
        with translate_errors():
            return await (await self._run(row_factory_for(model), statement, params)).fetchone()

    async def fetch_all(
        self, model: type[T], statement: LiteralString, /, **params: object
    ) -> list[T]:
        """Return all rows, each as a `model`. The statement must limit their number."""
        with translate_errors():
            return await (await self._run(row_factory_for(model), statement, params)).fetchall()

    async def fetch_value(self, statement: LiteralString, /, **params: object) -> Any:
        """Return the first column of the first row. Raises `NotFound` when there is none."""
        with translate_errors():
            cursor = await self._run(scalar_row, statement, params)
            if not cursor.rowcount:
                raise NotFound()
            return await cursor.fetchone()

    async def execute(self, statement: LiteralString, /, **params: object) -> int:
        """Return the number of rows written; a policy that hides rows raises no error."""
        with translate_errors():
            return (await self._run(dict_row, statement, params)).rowcount

    async def copy(self, statement: LiteralString, data: bytes) -> int:
        """Run a `copy ... from stdin` with rows in COPY's text format; returns their number.

        Sends pending statements first, in a separate round trip.
        """
        await self.execute("select")
        with translate_errors():
            cursor = AsyncClientCursor(self._connection)
            async with cursor.copy(statement) as rows:
                await rows.write(data)
            return cursor.rowcount

    def defer(self, statement: LiteralString, /, **params: object) -> None:
        """Send a statement with the next one, or with COMMIT; its result is discarded.

        Runs in order, under the current role; costs no extra round trip. The statement it is sent
        with raises its error, the same that `execute` would have raised.
        """
        self._require_open()
        with translate_errors():
            self._pending.append(self._render(statement, params))

    async def _run(
        self, rows: AsyncRowFactory[T], statement: LiteralString, params: Mapping[str, object]
    ) -> AsyncClientCursor[T]:
        self._require_open()
        await trio.lowlevel.checkpoint_if_cancelled()
        self._pending.append(self._render(statement, params))
        with statement_span("statement", statement):
            return await self._send(AsyncClientCursor(self._connection, row_factory=rows))

    async def _send(self, cursor: AsyncClientCursor[T]) -> AsyncClientCursor[T]:
        """Send all pending statements in one message. The result is that of the last statement."""
        message, self._pending = ";\n".join(self._pending), []
        if self._begun and self._connection.pgconn.transaction_status == IDLE:
            # The server could not parse the message with BEGIN: no transaction is open.
            raise DatabaseError()
        self._begun = True
        # The session's role is unknown until the server has acknowledged the switch.
        server_actor, self._server_actor = self._server_actor, None
        await cursor.execute(cast("LiteralString", message))
        if cursor.nextset():
            await cursor.set_result(-1)
        self._server_actor = server_actor
        return cursor

    def _render(self, statement: LiteralString, params: Mapping[str, object]) -> str:
        """Bind the parameters, and prepend the role switch when the actor has changed."""
        bound = _bind(self._connection, statement, params)
        # After an error the server accepts only a rollback to a savepoint.
        status = self._connection.pgconn.transaction_status
        if self._begun and status != INTRANS:
            self._server_actor = None
            return bound
        actor, server_actor, self._server_actor = self._actor, self._server_actor, self._actor
        if actor is None or actor is server_actor:
            return bound
        return f"{_set_actor(self._connection, actor)};\n{bound}"

    def _require_open(self) -> None:
        if self._ended:
            raise RuntimeError("this transaction has ended")

    def begin(self, actor: Actor, statement_timeout: float, *, read_only: bool) -> None:
        """Begin as `actor`; sent together with the first statement."""
        switch = _set_actor(self._connection, actor, statement_timeout, read_only=read_only)
        self._pending.append(f"begin;\n{switch}")
        self._actor = self._server_actor = actor

    async def commit(self) -> None:
        """Commit. Raises `DatabaseError` when an earlier, caught error rolled back the transaction.

        Not cancelled once begun: the outcome of an interrupted COMMIT would be unknown.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        if not self._begun and len(self._pending) == 1:
            return  # only BEGIN is pending
        self._pending.append("commit")
        with shielded_commit(), translate_errors():
            cursor = await self._send(AsyncClientCursor(self._connection))
            if cursor.statusmessage != "COMMIT":
                raise DatabaseError()

    def end(self) -> None:
        """Make the transaction unusable; the connection goes back to the pool."""
        self._ended = True


async def read(
    connection: Connection,
    actor: Actor,
    statement_timeout: float,
    rows: AsyncRowFactory[T],
    statement: LiteralString,
    params: Mapping[str, object],
) -> list[T]:
    """Run one read-only statement as an actor, in one round trip and an implicit transaction."""

    async def exchange(message: str) -> list[T]:
        cursor = AsyncClientCursor(connection, row_factory=rows)
        await cursor.execute(cast("LiteralString", message))
        return await (await cursor.set_result(-1)).fetchall()

    return await _read(connection, actor, statement_timeout, statement, params, exchange)


async def read_encoded(
    connection: Connection,
    actor: Actor,
    statement_timeout: float,
    statement: LiteralString,
    params: Mapping[str, object],
) -> list[bytes | None] | None:
    """`read` of the first row's columns as PostgreSQL sends them, UTF-8; None without a row.

    Passes by psycopg's cursors, which take longer than the exchange with the server.
    """

    async def exchange(message: str) -> list[bytes | None] | None:
        async with connection.lock:
            connection.pgconn.send_query(message.encode())
            results = await connection.wait(execute(connection.pgconn))
        result = results[-1]
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise error_from_result(result)
        if not result.ntuples:
            return None
        return [result.get_value(0, column) for column in range(result.nfields)]

    return await _read(connection, actor, statement_timeout, statement, params, exchange)


async def _read(
    connection: Connection,
    actor: Actor,
    statement_timeout: float,
    statement: LiteralString,
    params: Mapping[str, object],
    exchange: Callable[[str], Awaitable[T]],
) -> T:
    """Send the statement in a message that sets the actor, prepared where the session can."""
    with translate_errors():
        switch = _set_actor(connection, actor, statement_timeout, read_only=True)
        statements = connection.prepared
        while prepared := statements.find(statement, actor.database_role, params):
            prepare = "" if prepared in statements else f"{prepared.prepare};\n"
            bound = _bind(connection, prepared.execute, params)
            try:
                result = await exchange(f"{switch};\n{prepare}{bound}")
            except PostgresError as error:
                if not statements.explains(prepared, error):
                    raise
            else:
                statements.add(prepared)
                return result
        return await exchange(f"{switch};\n{_bind(connection, statement, params)}")


async def write(
    connection: Connection,
    actor: Actor,
    statement_timeout: float,
    rows: AsyncRowFactory[T],
    statement: LiteralString,
    params: Mapping[str, object],
    *,
    read_only: bool,
) -> list[T]:
    """Run one writing statement as an actor, in one round trip; not cancelled, like a COMMIT."""
    with shielded_commit(), translate_errors():
        cursor = AsyncClientCursor(connection, row_factory=rows)
        switch = _set_actor(connection, actor, statement_timeout, read_only=read_only)
        bound = _bind(connection, statement, params)
        await cursor.execute(cast("LiteralString", f"{switch};\n{bound}"))
        await cursor.set_result(-1)
        return await cursor.fetchall() if cursor.description else []


@contextmanager
def shielded_commit() -> Generator[None]:
    """Shield the block from cancellation: the outcome of an interrupted commit would be unknown.

    Raises `ServiceUnavailable` after `COMMIT_TIMEOUT` seconds.
    """
    with trio.move_on_after(COMMIT_TIMEOUT, shield=True) as scope:
        yield
    if scope.cancelled_caught:
        raise ServiceUnavailable()


def _set_actor(
    connection: Connection,
    actor: Actor,
    statement_timeout: float | None = None,
    *,
    read_only: bool = False,
) -> str:
    """A SELECT that sets role and claims, the timeout in seconds where given, and read-only."""
    if actor.database_role not in ROLES:
        raise ValueError(f"no such database role: {actor.database_role!r}")
    claims = pq.Escaping(connection.pgconn).escape_literal(actor.claims_json.encode())
    switch = (
        f"select set_config('role', '{actor.database_role}', true),"
        f" set_config('request.jwt.claims', {bytes(claims).decode()}, true)"
        f"{READ_ONLY if read_only else ''}"
    )
    if statement_timeout is None:
        return switch
    return f"{switch}, set_config('statement_timeout', '{statement_timeout * 1000:.0f}', true)"


def _bind(connection: Connection, statement: LiteralString, params: Mapping[str, object]) -> str:
    return AsyncClientCursor(connection).mogrify(statement, params)


def row_factory_for(model: type[T]) -> AsyncRowFactory[T]:
    if model is dict:
        return cast("AsyncRowFactory[T]", dict_row)
    return class_row(model)
