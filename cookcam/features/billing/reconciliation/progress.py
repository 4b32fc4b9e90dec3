"""How far a run is, as its row has it, and the right to write there."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import trio
from attrs import define, field

from cookcam.database import Transaction
from cookcam.features.billing.reconciliation.models import Run, RunMetrics, Tally
from cookcam.features.billing.reconciliation.store import ReconciliationStore, Turn


@define(eq=False)
class Progress:
    """Everything here raises TurnLost once another process has taken the run over, and
    ServiceUnavailable when the turn's connection is lost, so that no two work on one run.
    """

    run: Run
    store: ReconciliationStore
    turn: Turn
    _counted_until: float = field(factory=trio.current_time, init=False)

    @property
    def place(self) -> tuple[str | None, str | None]:
        """The step and the cursor at which the run was taken up."""
        return self.run.step, self.run.cursor

    async def note(
        self,
        step: str,
        cursor: str | None,
        tally: Tally | None = None,
        verified: Sequence[UUID] = (),
    ) -> None:
        """A page is done: where the next one begins, what was counted, and the rows that were as
        their provider says."""
        await self.turn.confirm()
        await self.store.checkpoint(
            self.run, step, cursor, tally or Tally(), self._worked_ms(), verified
        )

    async def count_corrected(self, tx: Transaction) -> None:
        """In the transaction of the correction, which also counts as a check."""
        await self.store.count_corrected(tx, self.run)

    async def count_expired(self, tx: Transaction, *, checked: int) -> None:
        """In the transaction of the correction."""
        await self.store.count_expired(tx, self.run, checked=checked)

    async def finish(self) -> RunMetrics:
        await self.turn.confirm()
        return await self.store.finish(self.run, self._worked_ms())

    def _worked_ms(self) -> int:
        """Since it was counted last."""
        since, self._counted_until = self._counted_until, trio.current_time()
        return round(1000 * (self._counted_until - since))
