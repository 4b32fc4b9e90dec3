"""One batch of a sweep, as SERVICE, by one instance at a time."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.operations.retention.sweeps import Sweep

# Held by the transaction, so that it ends with it, also through a transaction pooler.
TURN = "select pg_try_advisory_xact_lock(hashtextextended('cookcam.retention', 0))"


@frozen
class SweepStore:
    database: Database

    async def batch(self, sweep: Sweep, before: datetime, size: int) -> int | None:
        """How many rows went; None when another instance is at work."""
        async with self.database.transaction() as tx:
            if not await tx.fetch_value(TURN):
                return None
            return await tx.execute(sweep.statement, before=before, batch=size)
