"""psycopg's asynchronous connection, natively on Trio.

`AsyncConnection` does all its waiting in four places: `connect`, `wait`, `cancel_safe` and the
lock. Replacing these makes cursors, transactions, pipelines, COPY, server-side cursors and
notifications run on Trio as they are. The seam is private to psycopg 3.3: the version is pinned,
and `tests/database/test_connection.py` exercises each of them.

Cancellation reaches the server. When the scope around a statement is cancelled, the statement is
cancelled in PostgreSQL as well and what it still sends is read, shielded and within `GRACE`
seconds, before `Cancelled` goes on; after that the connection is usable again. Where that does not
succeed in time, the connection is closed.

psycopg's own cleaning up (a ROLLBACK, the end of a pipeline, the end of a COPY) was written for
asyncio, where a cancellation is delivered once; in Trio everything awaited in a cancelled scope is
cancelled at once. So what is awaited in a cancelled scope while an exception is on its way up runs
shielded, for at most `GRACE` seconds.
"""

from __future__ import annotations

import math
import sys
from contextlib import closing
from types import TracebackType
from typing import Any, Self, cast

import trio
from psycopg import AsyncConnection, AsyncCursor, pq
from psycopg import errors as e
from psycopg.abc import RV, AdaptContext, ConnParam, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_attempts, make_conninfo, timeout_from_conninfo
from psycopg.rows import AsyncRowFactory, Row, tuple_row
from psycopg.waiting import Wait

from cookcam.database.waiting import drive, drive_connecting, ready_now

GRACE = 5.0
UNASKED_READS = 16
ACTIVE = pq.TransactionStatus.ACTIVE
IDLE = pq.TransactionStatus.IDLE


class _Lock:
    """A lock that any task may release, and that is taken without a checkpoint when it is free.

    Every statement takes the connection's lock and then waits for the server, so the checkpoint is
    the wait; and cleaning up in a cancelled scope can take the lock. An abandoned generator, such
    as `cursor.stream()`, is finished by another task than the one that began it.
    """

    def __init__(self) -> None:
        self._lock = trio.Semaphore(1, max_value=1)

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._lock.release()


class Connection(AsyncConnection[Row]):
    """A connection to PostgreSQL whose waiting is Trio's. One task uses it at a time."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        super().__init__(pgconn, cast("Any", tuple_row))
        self.lock = cast("Any", _Lock())

    @classmethod
    async def connect(
        cls,
        conninfo: str = "",
        *,
        autocommit: bool = False,
        prepare_threshold: int | None = None,
        context: AdaptContext | None = None,
        row_factory: AsyncRowFactory[Row] | None = None,
        cursor_factory: type[AsyncCursor[Row]] | None = None,
        **kwargs: ConnParam,
    ) -> Self:
        """Connect, trying each address of each host in turn, `connect_timeout` seconds for each.

        Prepared statements are off unless asked for: they belong to a server session, and behind a
        transaction pooler the next transaction runs in another one.

        Raises `OperationalError` with the reasons of all attempts when none succeeds.
        """
        params = await cls._get_connection_params(conninfo, **kwargs)
        timeout = timeout_from_conninfo(params)
        failures: list[e.Error] = []
        # Looking a host name up blocks, so psycopg's own blocking form runs in a thread.
        for attempt in await trio.to_thread.run_sync(
            conninfo_attempts, params, abandon_on_cancel=True
        ):
            try:
                with closing(cls._connect_gen(make_conninfo("", **attempt))) as generator:
                    connection = await drive_connecting(generator, timeout)
                break
            except e._WaitTimeout:  # pyright: ignore[reportPrivateUsage]
                failures.append(e.ConnectionTimeout("connection timeout expired"))
            except e.Error as error:
                failures.append(error)
        else:
            reasons = "\n".join(str(failure) for failure in failures)
            raise type(failures[-1])(reasons) from failures[-1]

        connection._autocommit = autocommit
        connection.prepare_threshold = prepare_threshold
        connection.row_factory = row_factory or connection.row_factory
        connection.cursor_factory = cursor_factory or connection.cursor_factory
        if context:
            connection._adapters = AdaptersMap(context.adapters)
        return connection

    async def wait(self, gen: PQGen[RV], interval: float = 0.0, timeout: float | None = None) -> RV:
        """Drive a generator of this connection; the module's words on cancellation say how.

        `interval` is psycopg's and has no use here: Trio is woken by what happens.
        """
        if sys.exc_info()[0] and trio.current_effective_deadline() == -math.inf:
            return await self._wait_shielded(gen)
        try:
            return await drive(gen, self.pgconn.socket, timeout)
        except trio.Cancelled:
            if self.pgconn.transaction_status == ACTIVE:
                await self._interrupt(gen)
            raise

    async def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Ask the server to cancel what this connection is doing; encrypted as the connection is.

        Raises `CancellationTimeout` after `timeout` seconds.
        """
        if not self._should_cancel():
            return
        try:
            await drive_connecting(self._cancel_gen(), timeout)
        except e._WaitTimeout:  # pyright: ignore[reportPrivateUsage]
            raise e.CancellationTimeout("cancellation timeout expired") from None

    async def close(self) -> None:
        """Close at once. Whoever waits for this connection is told with an `OperationalError`."""
        self.close_now()

    def close_now(self) -> None:
        """`close` without being asynchronous: nothing in it waits."""
        if not self.closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.pgconn.socket)
            self.pgconn.finish()

    def is_usable(self) -> bool:
        """Whether a statement can be sent now: open, idle, and the server still at its end.

        Does not wait. Reads what the server sent unasked, such as its farewell.
        """
        try:
            for _ in range(UNASKED_READS):
                if not ready_now(self.pgconn.socket, Wait.R):
                    return self.pgconn.transaction_status == IDLE
                self.pgconn.consume_input()
                self.pgconn.is_busy()
        except e.OperationalError:
            return False
        return False

    async def _try_cancel(self, *, timeout: float = GRACE) -> None:
        with trio.CancelScope(shield=True):
            await super()._try_cancel(timeout=timeout)

    async def _interrupt(self, gen: PQGen[Any]) -> None:
        """Cancel the statement of an interrupted generator and read it to its end, or close."""
        with trio.move_on_after(GRACE, shield=True) as scope:
            try:
                await self.cancel_safe(timeout=GRACE)
                unsure = False
            except e.Error:
                unsure = True
            try:
                await drive(gen, self.pgconn.socket)
            except e.QueryCanceled:
                return
            except Exception:
                # In what state the connection is, nobody knows.
                unsure = True
            if unsure:
                # The cancellation may still arrive, and would hit the next statement.
                self.close_now()
        if scope.cancelled_caught:
            self.close_now()

    async def _wait_shielded(self, gen: PQGen[RV]) -> RV:
        with trio.move_on_after(GRACE, shield=True):
            return await drive(gen, self.pgconn.socket)
        await self._interrupt(gen)
        raise e.OperationalError(f"cleaning up did not end within {GRACE} seconds")
