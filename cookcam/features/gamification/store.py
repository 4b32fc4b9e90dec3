"""The SQL of awards. Nobody may award XP but the server, so these statements act as SERVICE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Jsonb, Transaction
from cookcam.features.gamification.models import Award

AWARD = """
select * from public.add_user_xp(
  %(user_id)s, %(amount)s::integer, %(action)s, %(metadata)s, %(key)s::text
)"""


@frozen
class XpStore:
    """Runs in the caller's transaction, whoever that transaction acts as."""

    async def award(
        self,
        tx: Transaction,
        user_id: UUID,
        action: str,
        *,
        key: str | None,
        amount: int | None,
        metadata: Mapping[str, Any],
    ) -> Award:
        """Raises DatabaseError for an unknown user or action, and where the action wants a key or
        an amount and has none: that is a mistake of ours."""
        async with tx.acting_as(SERVICE):
            return await tx.fetch_one(
                Award,
                AWARD,
                user_id=user_id,
                amount=amount,
                action=action,
                metadata=Jsonb(dict(metadata)),
                key=key,
            )
