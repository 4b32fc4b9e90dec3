"""psycopg's asynchronous connection on Trio.

`AsyncConnection` does all its waiting in four places: `connect`, `wait`, `cancel_safe` and the
lock. Replacing these makes cursors, transactions, pipelines, COPY, server-side cursors and
notifications run on Trio unchanged. They are private to psycopg 3.3: the version is pinned,
and `tests/database/test_connection.py` exercises each of them.

Cancellation reaches the server. When the scope around a statement is cancelled, the statement is
cancelled in PostgreSQL as well. Its remaining output is read, shielded and within
`CLEANUP_TIMEOUT` seconds, before `Cancelled` propagates; then the connection is usable again. If
that does not succeed in time, the connection is closed.

psycopg's cleanup (a ROLLBACK, the end of a pipeline, the end of a COPY) is written for asyncio,
which delivers a cancellation once. Trio cancels every await in a cancelled scope. So an await in a
cancelled scope while an exception propagates runs shielded, for at most `CLEANUP_TIMEOUT` seconds.
"""

from __future__ import annotations

import math
import sys
from contextlib import closing
from typing import Any, Self, cast

import trio
from psycopg import AsyncConnection, AsyncCursor, pq
from psycopg import errors as e
from psycopg.abc import RV, AdaptContext, ConnParam, PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_attempts, make_conninfo, timeout_from_conninfo
from psycopg.rows import AsyncRowFactory, Row, tuple_row
from psycopg.waiting import Wait

from cookcam.database.prepared import PreparedStatements
from cookcam.database.waiting import drive, drive_connecting, ready_now

CLEANUP_TIMEOUT = 5.0
MAX_UNSOLICITED_READS = 16
ACTIVE = pq.TransactionStatus.ACTIVE
IDLE = pq.TransactionStatus.IDLE


class _Lock:
    """A lock that any task may release; acquiring a free lock is not a checkpoint.

    Every statement acquires the lock and then waits for the server, which is the checkpoint.
    Without a checkpoint of its own, cleanup in a cancelled scope can acquire the lock. Any task may
    release it because an abandoned generator, such as `cursor.stream()`, is finished by another
    task than the one that started it.
    """

    def __init__(self) -> None:
        self._lock = trio.Semaphore(1, max_value=1)

    async def __aenter__(self) -> None:
        try:
            self._lock.acquire_nowait()
        except trio.WouldBlock:
            await self._lock.acquire()

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()


class Connection(AsyncConnection[Row]):
    """A connection to PostgreSQL that waits with Trio. One task uses it at a time."""

    def __init__(self, pgconn: pq.abc.PGconn) -> None:
        super().__init__(pgconn, cast("Any", tuple_row))
        self.prepared = PreparedStatements()
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

        Prepared statements are off by default: they belong to a server session, and behind a
        transaction pooler the next transaction runs in another session.

        Raises `OperationalError` with the reasons of all attempts when none succeeds.
        """
        params = await cls._get_connection_params(conninfo, **kwargs)
        timeout = timeout_from_conninfo(params)
        failures: list[e.Error] = []
        # Host name lookup blocks, so psycopg's blocking form runs in a thread.
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
        """Drive a generator of this connection, cancelled as the module's docstring describes.

        `interval` is psycopg's polling interval. It is not used: Trio waits for socket events.
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
        """Send a cancel request for the current statement, with the encryption of the connection.

        Raises `CancellationTimeout` after `timeout` seconds.
        """
        if not self._should_cancel():
            return
        try:
            await drive_connecting(self._cancel_gen(), timeout)
        except e._WaitTimeout:  # pyright: ignore[reportPrivateUsage]
            raise e.CancellationTimeout("cancellation timeout expired") from None

    async def close(self) -> None:
        """Close at once. Tasks that wait for this connection get an `OperationalError`."""
        self.close_now()

    def close_now(self) -> None:
        """Close at once, from synchronous code."""
        if not self.closed:
            self._closed = True
            trio.lowlevel.notify_closing(self.pgconn.socket)
            self.pgconn.finish()

    def is_usable(self) -> bool:
        """Return whether the connection is open and idle and the server has not closed it.

        Does not wait. Reads unsolicited messages, such as the notice of a server shutdown.
        """
        try:
            for _ in range(MAX_UNSOLICITED_READS):
                if not ready_now(self.pgconn.socket, Wait.R):
                    return self.pgconn.transaction_status == IDLE
                self.pgconn.consume_input()
                self.pgconn.is_busy()
        except e.OperationalError:
            return False
        return False

    async def _try_cancel(self, *, timeout: float = CLEANUP_TIMEOUT) -> None:
        with trio.CancelScope(shield=True):
            await super()._try_cancel(timeout=timeout)

    async def _interrupt(self, gen: PQGen[Any]) -> None:
        """Cancel the statement of an interrupted generator and read its output, or close."""
        with trio.move_on_after(CLEANUP_TIMEOUT, shield=True) as scope:
            try:
                await self.cancel_safe(timeout=CLEANUP_TIMEOUT)
                reusable = True
            except e.Error:
                # The cancellation may still arrive, and would hit the next statement.
                reusable = False
            try:
                await drive(gen, self.pgconn.socket)
            except e.QueryCanceled:
                return
            except Exception:
                # The state of the connection is unknown.
                reusable = False
            if not reusable:
                self.close_now()
        if scope.cancelled_caught:
            self.close_now()

    async def _wait_shielded(self, gen: PQGen[RV]) -> RV:
        with trio.move_on_after(CLEANUP_TIMEOUT, shield=True):
            return await drive(gen, self.pgconn.socket)
        await self._interrupt(gen)
        raise e.OperationalError(f"cleanup did not end within {CLEANUP_TIMEOUT} seconds")
