"""Hourly retention sweeps.

Each batch is its own transaction, so a sweep can be cancelled at any time, locks rows briefly, and
resumes. A failing sweep does not stop the others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import structlog
import trio
from attrs import field, frozen

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.features.operations.retention.store import SweepStore
from cookcam.features.operations.retention.sweeps import SWEEPS, Sweep
from cookcam.lifecycle.background import run_periodically

INTERVAL: Final = 3600.0
BATCH_SIZE: Final = 5_000
BATCH_DELAY: Final = 0.1
"""Seconds between two batches, so that other statements are not delayed."""


def _no_report(name: str, error: Exception) -> None:
    pass


@frozen
class Retention:
    """`now` is the current time; `failed` is called for every failing sweep."""

    store: SweepStore
    now: Callable[[], datetime]
    failed: Callable[[str, Exception], None] = _no_report
    sweeps: Sequence[Sweep] = SWEEPS
    batch: int = field(default=BATCH_SIZE, kw_only=True)

    async def run(self) -> None:
        """Background task. Raises ServiceUnavailable without the database."""
        await run_periodically(self.sweep, INTERVAL)

    async def sweep(self) -> dict[str, int]:
        """Run all sweeps; returns the number of rows written by each."""
        log, done = structlog.get_logger("cookcam.retention"), dict[str, int]()
        for sweep in self.sweeps:
            try:
                done[sweep.name] = await self._sweep(sweep)
            except ServiceUnavailable:
                raise
            except AppError as error:
                log.error("sweep failed", sweep=sweep.name, exc_info=error)
                self.failed(f"sweep {sweep.name}", error)
        if any(done.values()):
            log.info("swept", **{name.replace(" ", "_"): count for name, count in done.items()})
        return done

    async def _sweep(self, sweep: Sweep) -> int:
        before, total = self.now() - sweep.keep, 0
        while written := await self.store.batch(sweep, before, self.batch):
            total += written
            if written < self.batch:
                break
            await trio.sleep(BATCH_DELAY)
        return total
