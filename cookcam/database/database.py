"""The database interface of the program: transactions and reads as an actor."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from attrs import evolve, field, frozen
from psycopg import Notify
from psycopg.rows import AsyncRowFactory, scalar_row

from cookcam.database.actors import ANONYMOUS, SERVICE, Actor
from cookcam.database.connecting import connect, connection_string
from cookcam.database.pool import Pool, PoolSettings, open_pool
from cookcam.database.pool_stats import UNTIMED, DatabaseTimings, PoolStats, SlowStatement
from cookcam.database.transaction import Transaction, read, read_encoded, row_factory_for, write
from cookcam.errors import NotFound
from cookcam.lifecycle.mode import OperatingMode
from cookcam.observability.tracing import statement_span

if TYPE_CHECKING:
    from cookcam.config import DatabaseConfig
from contextlib import aclosing

from psycopg import sql

from cookcam.database.failures import translate_errors


@asynccontextmanager
async def listen(url: str, *channels: str) -> AsyncGenerator[AsyncGenerator[Notify]]:
    """Listen on a separate connection: LISTEN belongs to a session, and a pool shares sessions.

    Notifications sent after the block began are delivered. When the connection is lost, the
    iteration raises `ServiceUnavailable`. Notifications sent from then on are lost; the caller has
    to listen again and make up for them.
    """
    with translate_errors():
        connection = await connect(url)
    try:
        with translate_errors():
            for channel in channels:
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        async with aclosing(_translate_notification_errors(connection.notifies())) as notifications:
            yield notifications
    finally:
        connection.close_now()


async def _translate_notification_errors(
    notifications: AsyncGenerator[Notify],
) -> AsyncGenerator[Notify]:
    with translate_errors():
        async for notification in notifications:
            yield notification


T = TypeVar("T")

STATEMENT_TIMEOUT = 30.0
SLOW_STATEMENT = 0.1
"""Seconds; the service level of a query (docs/operations.md)."""
MAX_SLOW = 20


@frozen
class Database:
    """Transactions and reads. Every statement runs as an actor.

    All methods raise `ServiceUnavailable` while the database cannot be reached,
    `ServiceOverloaded` when no connection became free in time, `DeadlineExceeded` when a statement
    ran longer than the statement timeout, `ReadOnlyMode` for a write in read-only mode,
    and otherwise the error that `cookcam.errors.from_database_code` gives for the SQLSTATE.

    A cancelled scope leaves no statement running on the server.
    """

    _pool: Pool
    _url: str
    _statement_timeout: float
    _timings: DatabaseTimings
    _mode: OperatingMode = field(factory=OperatingMode)
    _slow: deque[SlowStatement] = field(factory=lambda: deque(maxlen=MAX_SLOW), init=False)

    @staticmethod
    @asynccontextmanager
    async def open(
        config: DatabaseConfig,
        *,
        must_connect: bool = False,
        statement_timeout: float = STATEMENT_TIMEOUT,
        timings: DatabaseTimings = UNTIMED,
        mode: OperatingMode | None = None,
    ) -> AsyncGenerator[Database]:
        """Open the pool for the duration of the block; see `cookcam.database.pool` for its rules.

        The database need not be reachable yet. With `must_connect`, an unreachable database raises
        `ServiceUnavailable`. `statement_timeout` is in seconds. In read-only `mode` every
        transaction is read-only. Raises `ValueError` for an invalid URL.
        """
        url = config.url.reveal()
        connection_string(url)
        settings = PoolSettings(config.pool_min, config.pool_max)
        async with open_pool(lambda: connect(url), settings, timings) as pool:
            database = Database(pool, url, statement_timeout, timings, mode or OperatingMode())
            if must_connect:
                await database.ping()
            yield database

    @property
    def slow_statements(self) -> Sequence[SlowStatement]:
        """The latest slow reads and writes of one statement, newest first."""
        return tuple(reversed(self._slow))

    @property
    def stats(self) -> PoolStats:
        return self._pool.stats

    def ignoring_mode(self) -> Database:
        """The same database without read-only mode, for what operators write."""
        return evolve(self, mode=OperatingMode())

    async def ping(self) -> None:
        """Run a trivial query. Raises `ServiceUnavailable` when the database does not respond."""
        await self.fetch_value_as(ANONYMOUS, "select 1")

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Open a transaction as the server itself: row-level security does not apply."""
        return self.transaction_as(SERVICE)

    @asynccontextmanager
    async def transaction_as(self, actor: Actor) -> AsyncGenerator[Transaction]:
        """Open a transaction: committed when the block ends, rolled back when it raises."""
        with statement_span("transaction"):
            async with self._pool.connection() as connection:
                transaction, started = Transaction(connection), perf_counter()
                try:
                    transaction.begin(actor, self._statement_timeout, read_only=self._read_only)
                    yield transaction
                    await transaction.commit()
                finally:
                    # The pool rolls back an uncommitted transaction when it gets the connection.
                    transaction.end()
                    self._timings.transaction(perf_counter() - started)

    async def fetch_one_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> T:
        """Read one row in one round trip. Raises `NotFound` when there is none.

        `model` is `dict`, or a class that takes the columns as keyword arguments. A statement that
        writes raises `ReadOnlyMode`.
        """
        row = await self.fetch_optional_as(actor, model, statement, **params)
        if row is None:
            raise NotFound()
        return row

    async def fetch_optional_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> T | None:
        """Read one row in one round trip, or None."""
        rows = await self._read(actor, row_factory_for(model), statement, params)
        return rows[0] if rows else None

    async def fetch_all_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> list[T]:
        """Read all rows in one round trip. The statement must limit their number."""
        return await self._read(actor, row_factory_for(model), statement, params)

    async def fetch_value_as(
        self, actor: Actor, statement: LiteralString, /, **params: object
    ) -> Any:
        """Read the first column of the first row in one round trip. Raises `NotFound`."""
        values = await self._read(actor, scalar_row, statement, params)
        if not values:
            raise NotFound()
        return values[0]

    async def fetch_json_as(
        self, actor: Actor, statement: LiteralString, /, **params: object
    ) -> bytes:
        """Read JSON that the statement builds, in one round trip. Raises `NotFound` without a row.

        The statement selects one value, cast to text. It is passed on undecoded, as a response.
        """
        encoded = await self.fetch_optional_json_as(actor, statement, **params)
        if encoded is None:
            raise NotFound()
        return encoded

    async def fetch_optional_json_as(
        self, actor: Actor, statement: LiteralString, /, **params: object
    ) -> bytes | None:
        """Read JSON that the statement builds, in one round trip, or None without a row."""
        row = await self.fetch_encoded_as(actor, statement, **params)
        return None if row is None else row[0]

    async def fetch_encoded_as(
        self, actor: Actor, statement: LiteralString, /, **params: object
    ) -> list[bytes | None] | None:
        """Read the first row in one round trip, or None: its columns as PostgreSQL writes them."""
        with statement_span("read", statement):
            async with self._pool.connection() as connection:
                started = perf_counter()
                try:
                    return await read_encoded(
                        connection, actor, self._statement_timeout, statement, params
                    )
                finally:
                    self._timings.read(self._measure(statement, started))

    async def write_one_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> T | None:
        """Run and commit one writing statement in one round trip. Returns its row, or None.

        The statement is not cancelled once it has been sent.
        """
        with statement_span("write", statement):
            async with self._pool.connection() as connection:
                started = perf_counter()
                try:
                    rows = await write(
                        connection,
                        actor,
                        self._statement_timeout,
                        row_factory_for(model),
                        statement,
                        params,
                        read_only=self._read_only,
                    )
                finally:
                    self._timings.write(self._measure(statement, started))
        return rows[0] if rows else None

    async def _read(
        self,
        actor: Actor,
        rows: AsyncRowFactory[T],
        statement: LiteralString,
        params: Mapping[str, object],
    ) -> list[T]:
        with statement_span("read", statement):
            async with self._pool.connection() as connection:
                started = perf_counter()
                try:
                    return await read(
                        connection, actor, self._statement_timeout, rows, statement, params
                    )
                finally:
                    self._timings.read(self._measure(statement, started))

    @property
    def _read_only(self) -> bool:
        return self._mode.read_only is not None

    def _measure(self, statement: str, started: float) -> float:
        seconds = perf_counter() - started
        if seconds >= SLOW_STATEMENT:
            self._slow.append(SlowStatement(statement, seconds, datetime.now(UTC)))
        return seconds

    def listen(self, *channels: str) -> AbstractAsyncContextManager[AsyncGenerator[Notify]]:
        """Listen on channels over a separate connection; see `notifications.listen`."""
        return listen(self._url, *channels)
