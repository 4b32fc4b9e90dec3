"""The database as the rest of the program sees it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

from attrs import frozen
from psycopg import Notify
from psycopg.rows import AsyncRowFactory, scalar_row

from cookcam.database.actors import GUEST, SERVICE, Actor
from cookcam.database.connecting import connect, connection_string
from cookcam.database.notifications import listen
from cookcam.database.pool import Pool, PoolSettings, open_pool
from cookcam.database.pool_stats import PoolStats
from cookcam.database.transaction import Transaction, read, rows_of, write
from cookcam.errors import NotFound

if TYPE_CHECKING:
    from cookcam.config import DatabaseConfig

T = TypeVar("T")

STATEMENT_TIMEOUT = 30.0


@frozen
class Database:
    """Transactions and reads, each in the name of an actor: there is no way without one.

    Everything here raises `ServiceUnavailable` while the database cannot be reached,
    `ServiceOverloaded` when no connection came free in time, `DeadlineExceeded` when a statement
    ran longer than the statement timeout, and for what the server refuses the error of
    `cookcam.errors.from_database_code`.

    A cancelled scope leaves no statement running on the server.
    """

    _pool: Pool
    _url: str
    _statement_timeout: float

    @staticmethod
    @asynccontextmanager
    async def open(
        config: DatabaseConfig,
        *,
        must_connect: bool = False,
        statement_timeout: float = STATEMENT_TIMEOUT,
    ) -> AsyncGenerator[Database]:
        """Open the pool for the length of the block; see `cookcam.database.pool` for its rules.

        The database may be away at this moment and come later, unless `must_connect`: then
        `ServiceUnavailable` is raised. `statement_timeout` is in seconds. A URL that cannot be read
        raises `ValueError`.
        """
        url = config.url.reveal()
        connection_string(url)
        settings = PoolSettings(config.pool_min, config.pool_max)
        async with open_pool(lambda: connect(url), settings) as pool:
            database = Database(pool, url, statement_timeout)
            if must_connect:
                await database.ping()
            yield database

    @property
    def stats(self) -> PoolStats:
        return self._pool.stats

    async def ping(self) -> None:
        """Return when the database has answered; raises `ServiceUnavailable` when it does not."""
        await self.fetch_value_as(GUEST, "select 1")

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """`transaction_as` the server itself: row-level security does not apply."""
        return self.transaction_as(SERVICE)

    @asynccontextmanager
    async def transaction_as(self, actor: Actor) -> AsyncGenerator[Transaction]:
        """A transaction: committed when the block ends, rolled back when it raises."""
        async with self._pool.connection() as connection:
            transaction = Transaction(connection)
            try:
                transaction.begin(actor, self._statement_timeout)
                yield transaction
                await transaction.commit()
            finally:
                # What is not committed now is rolled back by the pool as the connection returns.
                transaction.end()

    async def fetch_one_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> T:
        """Read one row in one trip; raises `NotFound` when there is none.

        `model` is `dict`, or a class that takes the columns as keyword arguments. The statement may
        not write: 25006, a `DatabaseError`.
        """
        row = await self.fetch_optional_as(actor, model, statement, **params)
        if row is None:
            raise NotFound()
        return row

    async def fetch_optional_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> T | None:
        """Read one row in one trip, or None."""
        rows = await self._read(actor, rows_of(model), statement, params)
        return rows[0] if rows else None

    async def fetch_all_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> list[T]:
        """Read all rows in one trip. The statement has to bound their number."""
        return await self._read(actor, rows_of(model), statement, params)

    async def fetch_value_as(
        self, actor: Actor, statement: LiteralString, /, **params: object
    ) -> Any:
        """Read the first column of the first row in one trip; raises `NotFound` when none."""
        values = await self._read(actor, scalar_row, statement, params)
        if not values:
            raise NotFound()
        return values[0]

    async def write_one_as(
        self, actor: Actor, model: type[T], statement: LiteralString, /, **params: object
    ) -> T | None:
        """One statement that writes, committed with its own trip; its row, or None.

        For what is done by one statement; it is not cancelled once it was sent.
        """
        async with self._pool.connection() as connection:
            rows = await write(
                connection, actor, self._statement_timeout, rows_of(model), statement, params
            )
        return rows[0] if rows else None

    async def _read(
        self,
        actor: Actor,
        rows: AsyncRowFactory[T],
        statement: LiteralString,
        params: Mapping[str, object],
    ) -> list[T]:
        async with self._pool.connection() as connection:
            return await read(connection, actor, self._statement_timeout, rows, statement, params)

    def listen(self, *channels: str) -> AbstractAsyncContextManager[AsyncGenerator[Notify]]:
        """Notifications on channels, over a connection of its own; see `notifications.listen`."""
        return listen(self._url, *channels)
