"""What a generation costs its user and what it earns, in the transaction of what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from cookcam.database import Transaction
from cookcam.features.billing.errors import LimitReached
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.rewards.xp.models import Award
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity

QUOTA = "monthly_recipes"


@frozen
class Ledger:
    quotas: Quotas
    xp: Xp

    async def require_room(self, caller: Identity) -> None:
        """So that the model is not asked for nothing; what counts is `count`. Raises
        LimitReached."""
        usage = await self.quotas.usage(caller.user_id, QUOTA)
        if usage.exhausted:
            raise LimitReached.of(usage)

    async def count(self, tx: Transaction, caller: Identity) -> None:
        """Raises LimitReached."""
        await self.quotas.consume(tx, caller.user_id, QUOTA)

    async def award(
        self,
        tx: Transaction,
        caller: Identity,
        action: str,
        subject: str,
        metadata: Mapping[str, Any],
    ) -> Award:
        """The last thing in a transaction; `announce` follows the commit."""
        return await self.xp.award(tx, caller.user_id, action, subject=subject, metadata=metadata)

    def announce(self, award: Award) -> None:
        self.xp.announce(award)
