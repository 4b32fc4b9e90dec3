"""SQL of one batch, in the service role, by one instance at a time."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from cookcam.database import Database
from cookcam.features.operations.retention.sweeps import Sweep

# A transaction lock: released with the transaction, also behind a transaction pooler.
TRY_LOCK = "select pg_try_advisory_xact_lock(hashtextextended('cookcam.retention', 0))"


@frozen
class SweepStore:
    database: Database

    async def batch(self, sweep: Sweep, before: datetime, size: int) -> int | None:
        """The number of rows written; None while another instance sweeps."""
        async with self.database.transaction() as tx:
            if not await tx.fetch_value(TRY_LOCK):
                return None
            return await tx.execute(sweep.statement, before=before, batch=size)
