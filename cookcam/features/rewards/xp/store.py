"""The SQL of awards. Only the server may award XP, so these statements run as SERVICE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database, Jsonb, Transaction
from cookcam.features.rewards.xp.models import Award, BadgedAward, XpClaim

AWARD = """
select * from public.add_user_xp(
  %(user_id)s, %(amount)s::integer, %(action)s, %(metadata)s, %(key)s::text
)"""

CAN_WIN_BADGE: LiteralString = """
select exists (
  select from public.achievements a
  where a.key = %(badge)s and a.is_active and not exists (
    select from public.user_achievements ua
    where ua.user_id = %(user_id)s and ua.achievement_id = a.id and ua.unlocked_at is not null
  )
)"""

CLAIM: LiteralString = """
select * from public.claim_user_xp(%(user_id)s, %(action)s, %(metadata)s, %(key)s::text)"""

# As SERVICE: callers may not read the time zone that the state of the streak depends on.
PROGRESS: LiteralString = """
select json_build_object(
  'user_stats', (
    select json_build_object(
      'level', u.level, 'xp', u.xp, 'total_xp', u.total_xp,
      'streak_current', streak -> 'current_streak', 'streak_shields', streak -> 'streak_shields'
    )
    from public.users u cross join lateral public.check_user_streak(u.id) as streak
    where u.id = %(user_id)s
  ),
  'recent_progress', coalesce((
    select json_build_object(
      'id', p.id, 'user_id', p.user_id, 'action', p.action, 'xp_gained', p.xp_gained,
      'total_xp', p.total_xp, 'old_level', p.old_level, 'new_level', p.new_level,
      'metadata', p.metadata,
      'created_at', to_char(p.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    )
    from public.user_progress p where p.user_id = %(user_id)s
    order by p.created_at desc, p.total_xp desc limit 1
  ), '{}'),
  'achievements', (
    select coalesce(json_agg(
      json_build_object(
        'achievement_id', a.id,
        'unlocked_at',
        to_char(ua.unlocked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'achievements', json_build_object(
          'id', a.id, 'name', a.name, 'description', a.description, 'type', a.category,
          'points', a.xp_reward, 'badge_icon', a.icon
        )
      )
      order by ua.unlocked_at desc, a.key
    ), '[]')
    from public.user_achievements ua join public.achievements a on a.id = ua.achievement_id
    where ua.user_id = %(user_id)s and ua.unlocked_at is not null
  )
)::text"""


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

    async def can_win_badge(self, tx: Transaction, user_id: UUID, badge: str) -> bool:
        async with tx.acting_as(SERVICE):
            return await tx.fetch_value(CAN_WIN_BADGE, user_id=user_id, badge=badge)


@frozen
class ProgressStore:
    """Claims of the app and the progress of a user."""

    database: Database

    async def claim(
        self, user_id: UUID, claim: XpClaim, metadata: Mapping[str, Any]
    ) -> BadgedAward | None:
        """Makes the award in one round trip; None for an unknown action."""
        return await self.database.write_one_as(
            SERVICE,
            BadgedAward,
            CLAIM,
            user_id=user_id,
            action=claim.action,
            metadata=Jsonb(dict(metadata)),
            key=claim.key,
        )

    async def progress_json(self, user_id: UUID) -> bytes:
        """The progress of a user as the response body."""
        return await self.database.fetch_json_as(SERVICE, PROGRESS, user_id=user_id)
