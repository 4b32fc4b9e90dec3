"""Buffers rows and writes them to the database in batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Final

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError, ServiceOverloaded, ServiceUnavailable

MAX_BATCH: Final = 5_000
MAX_ROWS: Final = 50_000
MAX_BYTES: Final = 32 * 1024 * 1024
FINAL_FLUSH_TIMEOUT: Final = 5.0
"""Seconds for writing the remaining rows when the server stops."""

log = structlog.get_logger(__name__)


def _no_count(outcome: str, rows: int) -> None:
    pass


@define(eq=False)
class RowBuffer:
    """A bounded buffer of encoded rows, and the task that writes them.

    `write` stores rows in one transaction. An accepted row is stored unless the process is killed
    or the database is unavailable when it stops: a batch stays in the buffer until its transaction
    has committed, and is written again when that is unknown. `count` gets the outcome `stored` or
    `lost` and a number. `kind` names the rows in the log. `interval` is the time in seconds that an
    accepted row waits for others.
    """

    kind: str
    write: Callable[[Sequence[bytes]], Awaitable[None]]
    count: Callable[[str, int], None] = _no_count
    max_rows: int = MAX_ROWS
    final_timeout: float = FINAL_FLUSH_TIMEOUT
    interval: float = 1.0
    _rows: deque[bytes] = field(factory=deque[bytes], init=False)
    _bytes: int = field(default=0, init=False)
    _closed: bool = field(default=False, init=False)
    _added: trio.Event = field(factory=trio.Event, init=False)

    @property
    def buffered(self) -> int:
        return len(self._rows)

    def add(self, rows: Sequence[bytes]) -> None:
        """Accept all rows or none.

        Raises ServiceOverloaded (503 with Retry-After) when the buffer is full, ServiceUnavailable
        once the last rows have been written.
        """
        if self._closed:
            raise ServiceUnavailable()
        size = sum(map(len, rows))
        if len(self._rows) + len(rows) > self.max_rows or self._bytes + size > MAX_BYTES:
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
                    await trio.sleep(self.interval)
                await self.flush()
        except trio.Cancelled:
            self._closed = True
            await self._flush_finally()
            raise

    async def flush(self) -> None:
        """Write all buffered rows. On an error, the rows not yet written stay buffered."""
        while self._rows:
            batch = list(islice(self._rows, MAX_BATCH))
            await self.write(batch)
            for row in batch:
                self._rows.popleft()
                self._bytes -= len(row)
            self.count("stored", len(batch))
        self._added = trio.Event()

    async def _flush_finally(self) -> None:
        with trio.move_on_after(self.final_timeout, shield=True):
            try:
                await self.flush()
            except AppError as error:
                log.error("rows not stored", kind=self.kind, exc_info=error)
        if self._rows:
            log.error("rows lost", kind=self.kind, rows=len(self._rows))
            self.count("lost", len(self._rows))
