"""The SQL of awards. Only the server may award XP, so these statements run as SERVICE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Jsonb, Transaction
from cookcam.features.rewards.xp.models import Award

AWARD = """
select * from public.add_user_xp(
  %(user_id)s, %(amount)s::integer, %(action)s, %(metadata)s, %(key)s::text
)"""

AWARD_FOR_KEY: LiteralString = """
select p.user_id, p.xp_gained, p.total_xp - p.xp_gained as old_xp, p.total_xp as new_xp,
  p.old_level, p.new_level, p.new_level > p.old_level as level_up, false as capped,
  false as duplicate
from public.user_progress p
where p.user_id = %(user_id)s and p.idempotency_key = %(key)s"""

CAN_WIN_BADGE: LiteralString = """
select exists (
  select from public.achievements a
  where a.key = %(badge)s and a.is_active and not exists (
    select from public.user_achievements ua
    where ua.user_id = %(user_id)s and ua.achievement_id = a.id and ua.unlocked_at is not null
  )
)"""


@frozen
class XpStore:
    """Runs in the caller's transaction, and switches its role to SERVICE for each statement."""

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
        """Raises DatabaseError for an unknown user or action, and when the action requires a key or
        an amount that is missing; these are programming errors."""
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

    async def award_for_key(self, tx: Transaction, user_id: UUID, key: str) -> Award:
        """Raises NotFound without an award under that key."""
        async with tx.acting_as(SERVICE):
            return await tx.fetch_one(Award, AWARD_FOR_KEY, user_id=user_id, key=key)

    async def can_win_badge(self, tx: Transaction, user_id: UUID, badge: str) -> bool:
        async with tx.acting_as(SERVICE):
            return await tx.fetch_value(CAN_WIN_BADGE, user_id=user_id, badge=badge)
