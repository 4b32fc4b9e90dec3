"""The SQL of awards. Nobody may award XP but the server, so these statements act as SERVICE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Jsonb, Transaction
from cookcam.features.gamification.models import Award

AWARD = """
select * from public.add_user_xp(
  %(user_id)s, %(amount)s::integer, %(action)s, %(metadata)s, %(key)s::text
)"""

PAID: LiteralString = """
select p.user_id, p.xp_gained, p.total_xp - p.xp_gained as old_xp, p.total_xp as new_xp,
  p.old_level, p.new_level, p.new_level > p.old_level as level_up, false as capped,
  false as duplicate
from public.user_progress p
where p.user_id = %(user_id)s and p.idempotency_key = %(key)s"""

LACKS: LiteralString = """
select exists (
  select from public.achievements a
  where a.key = %(badge)s and a.is_active and not exists (
    select from public.user_achievements ua
    where ua.user_id = %(user_id)s and ua.achievement_id = a.id and ua.unlocked_at is not null
  )
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

    async def paid(self, tx: Transaction, user_id: UUID, key: str) -> Award:
        """Raises NotFound when nothing was paid under that key."""
        async with tx.acting_as(SERVICE):
            return await tx.fetch_one(Award, PAID, user_id=user_id, key=key)

    async def lacks(self, tx: Transaction, user_id: UUID, badge: str) -> bool:
        async with tx.acting_as(SERVICE):
            return await tx.fetch_value(LACKS, user_id=user_id, badge=badge)
