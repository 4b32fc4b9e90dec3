"""Statistics of a connection pool, and timings of the database."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from attrs import define, frozen


def _ignore(_seconds: float) -> None: ...


@define
class PoolTotals:
    """Counters since the pool was opened."""

    opened: int = 0
    closed: int = 0
    broken: int = 0
    failed: int = 0
    borrowed: int = 0
    rejected: int = 0


@frozen
class PoolStats:
    """A snapshot of the pool, and its counters since it was opened.

    Snapshot: `size`, connections open or being opened; `in_use`, borrowed; `idle`, open and not
    borrowed; `waiting`, borrowers in the queue. Counters: `opened` and `closed` connections;
    `broken`, the closed connections that had failed; `failed`, unsuccessful attempts to connect;
    `borrowed`, connections handed out; `rejected`, borrowers that got no connection.
    """

    size: int
    in_use: int
    idle: int
    waiting: int
    opened: int
    closed: int
    broken: int
    failed: int
    borrowed: int
    rejected: int


@frozen
class DatabaseTimings:
    """Receives durations in seconds, for the metrics.

    `wait`: in the queue for a connection. `read`, `write` and `transaction`: a read, a write of one
    statement, and a whole transaction, from the connection to its return.
    """

    wait: Callable[[float], None] = _ignore
    read: Callable[[float], None] = _ignore
    write: Callable[[float], None] = _ignore
    transaction: Callable[[float], None] = _ignore


@frozen
class SlowStatement:
    """A statement that took longer than SLOW_STATEMENT: its text, without parameters."""

    text: str
    seconds: float
    at: datetime


UNTIMED = DatabaseTimings()
