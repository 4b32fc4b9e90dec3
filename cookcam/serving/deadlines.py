"""The deadlines of all connections, watched by one task.

A connection changes its deadline with every state, several times for each request, and mostly to a
later one. In Trio each change costs two operations on a heap and a generator. Here a connection has
one entry, which is checked when it comes up: if the deadline is later by then, it is queued again.
"""

from __future__ import annotations

import math
from heapq import heapify, heappop, heappush
from typing import Protocol

import trio

MAX_REMOVED = 1000
"""Removed entries that stay in the queue at least."""


class Expiring(Protocol):
    """A connection."""

    def check_deadline(self, now: float) -> None:
        """Ends what is overdue, or adds itself again."""
        ...


class Entry:
    """The time at which the deadline of a connection is checked. `connection` is None once this is
    not needed any more."""

    __slots__ = ("connection", "when")

    def __init__(self, when: float, connection: Expiring) -> None:
        self.when = when
        self.connection: Expiring | None = connection

    def __lt__(self, other: Entry) -> bool:
        return self.when < other.when


class Deadlines:
    """`run` must be running. Times are Trio's."""

    def __init__(self) -> None:
        self._queue: list[Entry] = []
        self._removed = 0
        self._has_earlier = trio.Event()

    def add(self, when: float, connection: Expiring) -> Entry:
        entry = Entry(when, connection)
        heappush(self._queue, entry)
        if self._queue[0] is entry:
            self._has_earlier.set()
        return entry

    def remove(self, entry: Entry) -> None:
        """Idempotent."""
        if entry.connection is None:
            return
        entry.connection = None
        self._removed += 1
        if self._removed > MAX_REMOVED and 2 * self._removed > len(self._queue):
            self._queue = [entry for entry in self._queue if entry.connection is not None]
            heapify(self._queue)
            self._removed = 0

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            with trio.move_on_at(self._queue[0].when if self._queue else math.inf):
                await self._has_earlier.wait()
            self._has_earlier = trio.Event()
            now = trio.current_time()
            while self._queue and self._queue[0].when <= now:
                entry = heappop(self._queue)
                connection, entry.connection = entry.connection, None
                if connection is None:
                    self._removed -= 1
                else:
                    connection.check_deadline(now)
