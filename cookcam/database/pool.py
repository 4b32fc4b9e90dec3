"""A small pool of connections, owned by the nursery it is opened in.

- The connection returned last is handed out first, so that those not needed grow old and go.
- A connection is looked at before it is handed out, and one whose server has left is replaced. It
  is looked at when it comes back: a transaction left open is rolled back, and what cannot be
  brought to rest is closed.
- Connections are made in the background, for the queue and to keep the minimum. A borrower takes
  whichever comes first, a new one or a returned one.
- A borrower waits for a bounded time. `ServiceOverloaded` says that all connections stayed busy;
  `ServiceUnavailable` that the database could not be reached, and is raised at once when nothing is
  open and the last attempt has failed.
- While the database is away, attempts to reach the minimum again are spread by a growing, random
  pause; a borrower causes an attempt at any time, so the first one after its return succeeds.
- A connection older than the lifetime is replaced when it is at rest. Lifetimes differ by a random
  tenth, so that the connections of a fleet do not all go at once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import structlog
import trio
from attrs import asdict, define, field, frozen
from psycopg.pq import TransactionStatus

from cookcam.database.connection import Connection
from cookcam.database.failures import translate
from cookcam.database.pool_stats import PoolStats, PoolTotals
from cookcam.errors import ServiceOverloaded, ServiceUnavailable

FIRST_PAUSE, LAST_PAUSE = 0.25, 10.0
LOOK_ROUND = 5.0
ROLLBACK_WAIT = 5.0
CLOSE_WAIT = 5.0
IDLE, INTRANS, INERROR = (
    TransactionStatus.IDLE,
    TransactionStatus.INTRANS,
    TransactionStatus.INERROR,
)

log = structlog.get_logger(__name__)


@frozen
class PoolSettings:
    """Sizes in connections, times in seconds.

    `wait` bounds a borrower's wait; `idle` is how long a connection above `minimum` may rest.
    """

    minimum: int
    maximum: int
    wait: float = 2.0
    lifetime: float = 1800.0
    idle: float = 300.0


@define(eq=False)
class _Member:
    connection: Connection
    expires: float
    resting_since: float = 0.0
    closed: bool = False


@define(eq=False)
class _Waiter:
    """A place in the queue: it gets a member, or the reason why there is none."""

    member: _Member | None = None
    reason: psycopg.Error | None = None
    answered: trio.Event = field(factory=trio.Event)


@asynccontextmanager
async def open_pool(
    connect: Callable[[], Awaitable[Connection]], settings: PoolSettings
) -> AsyncGenerator[Pool]:
    """Open a pool for the length of the block. The database may be away.

    At the end, borrowers have `CLOSE_WAIT` seconds to return what they hold; what they still hold
    then is closed under them.
    """
    failure: BaseException | None = None
    async with trio.open_nursery() as nursery:
        pool = Pool(connect, settings, nursery)
        nursery.start_soon(pool.keep)
        try:
            yield pool
            await pool.drain()
        except BaseException as error:
            # Raised again outside of the nursery, which would wrap it in a group.
            failure = error
        finally:
            pool.close()
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


@define(eq=False)
class Pool:
    """Made by `open_pool`. Borrow with `connection`."""

    _connect: Callable[[], Awaitable[Connection]]
    _settings: PoolSettings
    _nursery: trio.Nursery
    _resting: list[_Member] = field(factory=list[_Member], init=False)
    _in_use: set[_Member] = field(factory=set[_Member], init=False)
    _queue: deque[_Waiter] = field(factory=deque[_Waiter], init=False)
    _connecting: int = field(default=0, init=False)
    _reachable: bool = field(default=True, init=False)
    _closing: bool = field(default=False, init=False)
    _wanted: trio.Event = field(factory=trio.Event, init=False)
    _all_returned: trio.Event = field(factory=trio.Event, init=False)
    _totals: PoolTotals = field(factory=PoolTotals, init=False)

    @property
    def size(self) -> int:
        return len(self._resting) + len(self._in_use) + self._connecting

    @property
    def stats(self) -> PoolStats:
        return PoolStats(
            size=self.size,
            in_use=len(self._in_use),
            idle=len(self._resting),
            waiting=len(self._queue),
            **asdict(self._totals),
        )

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """Borrow a connection in autocommit mode, idle and alive as far as can be told.

        Raises `ServiceUnavailable` or `ServiceOverloaded`; see the rules above.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        member = self._take_resting() or await self._queue_up()
        self._totals.borrowed += 1
        try:
            yield member.connection
        finally:
            await self._bring_to_rest(member.connection)
            self._give_back(member)

    async def keep(self) -> None:
        """Background task: replace what is dead or old, keep the minimum, let the rest go."""
        pause = FIRST_PAUSE
        while True:
            self._tidy()
            self._open(self._settings.minimum - self.size)
            if self._reachable:
                pause = FIRST_PAUSE
                self._wanted = trio.Event()
                with trio.move_on_after(LOOK_ROUND):
                    await self._wanted.wait()
            else:
                await trio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                pause = min(pause * 2, LAST_PAUSE)

    async def drain(self) -> None:
        """Refuse new borrowers and wait, bounded, for those that hold a connection."""
        self._closing = True
        self._refuse_queue(psycopg.OperationalError("the pool is closing"))
        if self._in_use:
            self._all_returned = trio.Event()
            with trio.move_on_after(CLOSE_WAIT):
                await self._all_returned.wait()

    def close(self) -> None:
        """Close everything, also under a borrower that did not return its connection."""
        self._closing = True
        while self._resting:
            self._discard(self._resting.pop())
        while self._in_use:
            self._discard(self._in_use.pop())

    def _take_resting(self) -> _Member | None:
        if self._closing:
            raise ServiceUnavailable()
        while self._resting:
            member = self._resting.pop()
            if member.connection.is_usable():
                self._in_use.add(member)
                return member
            self._discard(member, broken=True)
        return None

    async def _queue_up(self) -> _Member:
        waiter = _Waiter()
        self._queue.append(waiter)
        self._open_for_queue()
        try:
            with trio.move_on_after(self._settings.wait):
                await waiter.answered.wait()
        except trio.Cancelled:
            if waiter.member:
                self._give_back(waiter.member)
            raise
        finally:
            if waiter in self._queue:
                self._queue.remove(waiter)
        if waiter.member:
            return waiter.member
        self._totals.refused += 1
        if waiter.reason:
            raise translate(waiter.reason) from waiter.reason
        raise ServiceUnavailable() if self._connecting else ServiceOverloaded()

    async def _bring_to_rest(self, connection: Connection) -> None:
        """Roll back what a borrower left open, also when its scope is cancelled."""
        if connection.pgconn.transaction_status in (INTRANS, INERROR):
            with trio.move_on_after(ROLLBACK_WAIT, shield=True):
                try:
                    await connection.rollback()
                except psycopg.Error:
                    log.warning("rollback failed", exc_info=True)

    def _give_back(self, member: _Member) -> None:
        """Take a connection that nobody uses: hand it on, keep it, or close it."""
        self._in_use.discard(member)
        if member.connection.pgconn.transaction_status != IDLE:
            self._discard(member, broken=True)
        elif self._closing or member.expires <= trio.current_time():
            self._discard(member)
        elif self._queue:
            waiter = self._queue.popleft()
            self._in_use.add(member)
            waiter.member = member
            waiter.answered.set()
        else:
            member.resting_since = trio.current_time()
            self._resting.append(member)

    def _discard(self, member: _Member, *, broken: bool = False) -> None:
        if not member.closed:  # it may have been closed under its borrower
            member.closed = True
            member.connection.close_now()
            self._totals.closed += 1
            self._totals.broken += broken
            self._open_for_queue()
            self._wanted.set()
        if not self._in_use:
            self._all_returned.set()

    def _tidy(self) -> None:
        now = trio.current_time()
        for member in list(self._resting):
            spare = self.size > self._settings.minimum
            usable = member.connection.is_usable()
            if (
                not usable
                or member.expires <= now
                or (spare and member.resting_since + self._settings.idle <= now)
            ):
                self._resting.remove(member)
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
            self._note_failure(outcome)
        else:
            self._note_success(outcome)

    def _note_success(self, connection: Connection) -> None:
        self._totals.opened += 1
        if not self._reachable:
            self._reachable = True
            log.info("database reached")
        life = self._settings.lifetime * random.uniform(0.9, 1)  # noqa: S311 - no secret
        self._give_back(_Member(connection, trio.current_time() + life))

    def _note_failure(self, error: psycopg.Error) -> None:
        self._totals.failed += 1
        if self._reachable:
            self._reachable = False
            log.warning("database not reached", reason=str(error))
        self._wanted.set()
        if not self._in_use and not self._connecting:
            self._refuse_queue(error)

    def _refuse_queue(self, reason: psycopg.Error) -> None:
        while self._queue:
            waiter = self._queue.popleft()
            waiter.reason = reason
            waiter.answered.set()
