"""The SQL of achievements, under the caller's role."""

from __future__ import annotations

from typing import LiteralString

from attrs import frozen

from cookcam.database import Database
from cookcam.identity import Identity

# The row policy of achievements hides the retired ones.
LIST: LiteralString = """
select json_build_object(
  'achievements', coalesce(json_agg(
    json_build_object(
      'id', a.id, 'key', a.key, 'name', a.name, 'description', a.description,
      'type', a.category, 'rarity', a.rarity, 'points', a.xp_reward, 'badge_icon', a.icon,
      'progress', coalesce(ua.progress, 0), 'unlocked', ua.unlocked_at is not null,
      'unlocked_at',
      to_char(ua.unlocked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    )
    order by a.category, a.xp_reward, a.key
  ), '[]'),
  'total', count(*),
  'unlocked', count(ua.unlocked_at)
)::text
from public.achievements a
left join public.user_achievements ua on ua.achievement_id = a.id and ua.user_id = %(user_id)s"""


@frozen
class AchievementStore:
    database: Database

    async def list_json(self, caller: Identity) -> bytes:
        """All active achievements with the caller's state, as the response body."""
        return await self.database.fetch_json_as(caller, LIST, user_id=caller.user_id)
