"""Buffers accepted events and writes them to the database in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError, ServiceOverloaded, ServiceUnavailable
from cookcam.features.operations.analytics.models import AnalyticsEvent
from cookcam.features.operations.analytics.store import EventStore, copy_row

FLUSH_INTERVAL: Final = 1.0
"""Seconds that an accepted event waits for others."""
MAX_BATCH: Final = 5_000
MAX_EVENTS: Final = 50_000
MAX_BYTES: Final = 32 * 1024 * 1024
FINAL_FLUSH_TIMEOUT: Final = 5.0
"""Seconds for writing the remaining events when the server stops."""

log = structlog.get_logger(__name__)


def _no_count(outcome: str, events: int) -> None:
    pass


@define(eq=False)
class EventWriter:
    """A bounded buffer of events, and the task that writes them.

    An accepted event is stored exactly once, unless the process is killed or the database is
    unavailable when it stops: a batch stays in the buffer until its transaction has committed, and
    a repeated batch has the same ids. `count` gets the outcome `stored` or `lost` and a number.
    """

    store: EventStore
    count: Callable[[str, int], None] = _no_count
    max_events: int = MAX_EVENTS
    _rows: deque[bytes] = field(factory=deque[bytes], init=False)
    _bytes: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _added: trio.Event = field(factory=trio.Event, init=False)

    @property
    def buffered(self) -> int:
        return len(self._rows)

    def add(self, events: Sequence[AnalyticsEvent]) -> None:
        """Accept all events or none.

        Raises ServiceOverloaded (503 with Retry-After) when the buffer is full, ServiceUnavailable
        once the last events have been written.
        """
        if self._closed:
            raise ServiceUnavailable()
        rows = [copy_row(event) for event in events]
        size = sum(map(len, rows))
        if len(self._rows) + len(rows) > self.max_events or self._bytes + size > MAX_BYTES:
            raise ServiceOverloaded()
        self._rows.extend(rows)
        self._bytes += size
        self._added.set()

    async def run(self) -> None:
        """Background task. Writes what is left when it is cancelled."""
        try:
            while True:
                await self._added.wait()
                if len(self._rows) < MAX_BATCH:
                    await trio.sleep(FLUSH_INTERVAL)
                await self.flush()
        except trio.Cancelled:
            self._closed = True
            await self._flush_finally()
            raise

    async def flush(self) -> None:
        """Write all buffered events. On an error, the events not yet written stay buffered."""
        while self._rows:
            batch = list(islice(self._rows, MAX_BATCH))
            await self.store.write(b"".join(batch))
            for row in batch:
                self._rows.popleft()
                self._bytes -= len(row)
            self.count("stored", len(batch))
        self._added = trio.Event()

    async def _flush_finally(self) -> None:
        with trio.move_on_after(FINAL_FLUSH_TIMEOUT, shield=True):
            try:
                await self.flush()
            except AppError as error:
                log.error("events not stored", exc_info=error)
        if self._rows:
            log.error("events lost", events=len(self._rows))
            self.count("lost", len(self._rows))
