"""A pool of connections, owned by the nursery it is opened in.

- The connection returned last is handed out first, so that unneeded connections stay idle and are
  closed.
- A connection is checked before it is handed out; one that the server has closed is replaced. It
  is checked again when it is returned: an open transaction is rolled back, and a connection that
  cannot be made idle is closed.
- Connections are opened in the background, for waiting borrowers and to keep the minimum. A
  borrower gets a new or a returned connection, whichever is available first.
- A borrower waits for a limited time. `ServiceOverloaded` means that all connections stayed busy.
  `ServiceUnavailable` means that the database could not be reached; it is raised at once when no
  connection is open and the last attempt has failed.
- While the database is unavailable, attempts to restore the minimum back off with jitter. A
  borrower triggers an attempt at any time, so the first borrower after the outage succeeds.
- A connection older than its lifetime is replaced when it is idle. Lifetimes vary randomly by 10%,
  so that the connections of many instances do not all expire at once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter

import psycopg
import trio
from attrs import asdict, define, field, frozen
from psycopg.pq import TransactionStatus

from cookcam.database.connection import Connection
from cookcam.database.failures import translate
from cookcam.database.pool_stats import UNTIMED, DatabaseTimings, PoolStats, PoolTotals
from cookcam.errors import ServiceOverloaded, ServiceUnavailable
from cookcam.lifecycle.groups import service_nursery
from cookcam.observability.logging import get_logger

INITIAL_BACKOFF, MAX_BACKOFF = 0.25, 10.0
MAINTENANCE_INTERVAL = 5.0
ROLLBACK_TIMEOUT = 5.0
CLOSE_TIMEOUT = 5.0
IDLE, INTRANS, INERROR = (
    TransactionStatus.IDLE,
    TransactionStatus.INTRANS,
    TransactionStatus.INERROR,
)

log = get_logger(__name__)


@frozen
class PoolSettings:
    """Sizes in connections, times in seconds.

    `wait` limits a borrower's wait; a connection above `minimum` is closed after `idle` seconds.
    """

    minimum: int
    maximum: int
    wait: float = 2.0
    lifetime: float = 1800.0
    idle: float = 300.0


@define(eq=False)
class _PooledConnection:
    connection: Connection
    expires: float
    idle_since: float = 0.0
    closed: bool = False


@define(eq=False)
class _Waiter:
    """A waiting borrower: receives a connection, or the reason why there is none."""

    member: _PooledConnection | None = None
    reason: psycopg.Error | None = None
    settled: trio.Event = field(factory=trio.Event)


@asynccontextmanager
async def open_pool(
    connect: Callable[[], Awaitable[Connection]],
    settings: PoolSettings,
    timings: DatabaseTimings = UNTIMED,
) -> AsyncGenerator[Pool]:
    """Open a pool for the duration of the block. The database need not be reachable.

    At the end, borrowers have `CLOSE_TIMEOUT` seconds to return their connections; then the
    remaining connections are closed while in use.
    """
    async with service_nursery() as nursery:
        pool = Pool(connect, settings, nursery, timings)
        nursery.start_soon(pool.maintain)
        try:
            yield pool
            await pool.drain()
        finally:
            pool.close()


@define(eq=False)
class Pool:
    """A connection pool, created by `open_pool`. Borrow with `connection`."""

    _connect: Callable[[], Awaitable[Connection]]
    _settings: PoolSettings
    _nursery: trio.Nursery
    _timings: DatabaseTimings
    _idle: list[_PooledConnection] = field(factory=list[_PooledConnection], init=False)
    _in_use: set[_PooledConnection] = field(factory=set[_PooledConnection], init=False)
    _queue: deque[_Waiter] = field(factory=deque[_Waiter], init=False)
    _connecting: int = field(default=0, init=False)
    _reachable: bool = field(default=True, init=False)
    _closing: bool = field(default=False, init=False)
    _maintenance_needed: trio.Event = field(factory=trio.Event, init=False)
    _all_returned: trio.Event = field(factory=trio.Event, init=False)
    _totals: PoolTotals = field(factory=PoolTotals, init=False)

    @property
    def size(self) -> int:
        return len(self._idle) + len(self._in_use) + self._connecting

    @property
    def stats(self) -> PoolStats:
        return PoolStats(
            size=self.size,
            in_use=len(self._in_use),
            idle=len(self._idle),
            waiting=len(self._queue),
            **asdict(self._totals),
        )

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """Borrow a connection in autocommit mode, idle and usable when last checked.

        Raises `ServiceUnavailable` or `ServiceOverloaded`; see the module's docstring.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        member = self._take_idle() or await self._wait_in_queue()
        self._totals.borrowed += 1
        try:
            yield member.connection
        finally:
            await self._roll_back(member.connection)
            self._release(member)

    async def maintain(self) -> None:
        """Background task: replace broken and expired connections, keep the minimum open."""
        backoff = INITIAL_BACKOFF
        while True:
            self._close_expired()
            self._open(self._settings.minimum - self.size)
            if self._reachable:
                backoff = INITIAL_BACKOFF
                self._maintenance_needed = trio.Event()
                with trio.move_on_after(MAINTENANCE_INTERVAL):
                    await self._maintenance_needed.wait()
            else:
                await trio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311 - no secret
                backoff = min(backoff * 2, MAX_BACKOFF)

    async def drain(self) -> None:
        """Reject new borrowers and wait up to `CLOSE_TIMEOUT` for the current ones."""
        self._closing = True
        self._reject_waiters(psycopg.OperationalError("the pool is closing"))
        if self._in_use:
            self._all_returned = trio.Event()
            with trio.move_on_after(CLOSE_TIMEOUT):
                await self._all_returned.wait()

    def close(self) -> None:
        """Close all connections, including those still in use."""
        self._closing = True
        while self._idle:
            self._discard(self._idle.pop())
        while self._in_use:
            self._discard(self._in_use.pop())

    def _take_idle(self) -> _PooledConnection | None:
        if self._closing:
            raise ServiceUnavailable()
        while self._idle:
            member = self._idle.pop()
            if member.connection.is_usable():
                self._in_use.add(member)
                return member
            self._discard(member, broken=True)
        return None

    async def _wait_in_queue(self) -> _PooledConnection:
        waiter, started = _Waiter(), perf_counter()
        self._queue.append(waiter)
        self._open_for_queue()
        try:
            with trio.move_on_after(self._settings.wait):
                await waiter.settled.wait()
        except trio.Cancelled:
            if waiter.member:
                self._release(waiter.member)
            raise
        finally:
            if waiter in self._queue:
                self._queue.remove(waiter)
            self._timings.wait(perf_counter() - started)
        if waiter.member:
            return waiter.member
        self._totals.rejected += 1
        if waiter.reason:
            raise translate(waiter.reason) from waiter.reason
        raise ServiceUnavailable() if self._connecting else ServiceOverloaded()

    async def _roll_back(self, connection: Connection) -> None:
        """Roll back an open transaction, also when the borrower's scope is cancelled."""
        if connection.pgconn.transaction_status in (INTRANS, INERROR):
            with trio.move_on_after(ROLLBACK_TIMEOUT, shield=True):
                try:
                    await connection.rollback()
                except psycopg.Error:
                    log.warning("rollback failed", exc_info=True)

    def _release(self, member: _PooledConnection) -> None:
        """Hand a returned connection to the next waiter, keep it idle, or close it."""
        self._in_use.discard(member)
        if member.connection.pgconn.transaction_status != IDLE:
            self._discard(member, broken=True)
        elif self._closing or member.expires <= trio.current_time():
            self._discard(member)
        elif self._queue:
            waiter = self._queue.popleft()
            self._in_use.add(member)
            waiter.member = member
            waiter.settled.set()
        else:
            member.idle_since = trio.current_time()
            self._idle.append(member)

    def _discard(self, member: _PooledConnection, *, broken: bool = False) -> None:
        if not member.closed:  # `close` may have closed it while it was in use
            member.closed = True
            member.connection.close_now()
            self._totals.closed += 1
            self._totals.broken += broken
            self._open_for_queue()
            self._maintenance_needed.set()
        if not self._in_use:
            self._all_returned.set()

    def _close_expired(self) -> None:
        now = trio.current_time()
        for member in list(self._idle):
            spare = self.size > self._settings.minimum
            usable = member.connection.is_usable()
            if (
                not usable
                or member.expires <= now
                or (spare and member.idle_since + self._settings.idle <= now)
            ):
                self._idle.remove(member)
                self._discard(member, broken=not usable)

    def _open_for_queue(self) -> None:
        room = self._settings.maximum - self.size
        self._open(min(len(self._queue) - self._connecting, room))

    def _open(self, count: int) -> None:
        for _ in range(0 if self._closing else count):
            self._connecting += 1
            self._nursery.start_soon(self._open_one)

    async def _open_one(self) -> None:
        try:
            outcome = await self._connect()
        except psycopg.Error as error:
            outcome = error
        finally:
            self._connecting -= 1
        if isinstance(outcome, psycopg.Error):
            self._connect_failed(outcome)
        else:
            self._connect_succeeded(outcome)

    def _connect_succeeded(self, connection: Connection) -> None:
        self._totals.opened += 1
        if not self._reachable:
            self._reachable = True
            log.info("database reached")
        life = self._settings.lifetime * random.uniform(0.9, 1)  # noqa: S311 - no secret
        self._release(_PooledConnection(connection, trio.current_time() + life))

    def _connect_failed(self, error: psycopg.Error) -> None:
        self._totals.failed += 1
        if self._reachable:
            self._reachable = False
            log.warning("database not reached", reason=str(error))
        self._maintenance_needed.set()
        if not self._in_use and not self._connecting:
            self._reject_waiters(error)

    def _reject_waiters(self, reason: psycopg.Error) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            waiter.reason = reason
            waiter.settled.set()
