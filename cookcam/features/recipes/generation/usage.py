"""The monthly quota and the XP of generations."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from attrs import frozen

from cookcam.database import Transaction
from cookcam.errors import AppError, InternalError
from cookcam.features.billing.errors import LimitReached
from cookcam.features.billing.tiers.quotas import Quotas
from cookcam.features.rewards.xp.service import Xp
from cookcam.identity import Identity

QUOTA = "monthly_recipes"


@frozen
class GenerationUsage:
    """Checks and consumes the quota; XP is awarded through `xp`."""

    quotas: Quotas
    xp: Xp

    async def require_quota(self, caller: Identity) -> None:
        """Raises LimitReached when the quota is exhausted.

        Saves a call of the model; `consume` is the check that counts.
        """
        usage = await self.quotas.usage(caller.user_id, QUOTA)
        if usage.exhausted:
            raise LimitReached.of(usage)

    async def consume(self, tx: Transaction, caller: Identity) -> None:
        """Count one generation in the transaction that stores it. Raises LimitReached."""
        await self.quotas.consume(tx, caller.user_id, QUOTA)


@contextmanager
def storage_errors_as(message: str) -> Generator[None]:
    """Convert database errors to InternalError with `message`, the endpoint's own error text.

    LimitReached and the statuses 503 and 504 pass unchanged.
    """
    try:
        yield
    except LimitReached:
        raise
    except AppError as error:
        if error.status in (503, 504):
            raise
        raise InternalError(error=message) from error
