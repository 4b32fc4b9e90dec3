"""The SQL of leaderboards, as SERVICE: callers may not read the XP of others by period."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.features.pages import time_text
from cookcam.features.rewards.leaderboards.models import Period, UserRank

PAGE: LiteralString = f"""
select json_build_object(
  'entries', (
    select coalesce(json_agg(
      json_build_object(
        'rank', b.rank, 'xp_total', b.xp_total, 'xp_gained', b.xp_gained,
        'movement', b.movement, 'recipes_cooked', b.recipes_cooked,
        'users', json_build_object(
          'id', b.user_id, 'name', b.name, 'level', b.level, 'avatar_url', b.avatar_url,
          'is_creator', b.is_creator, 'creator_tier', b.creator_tier
        )
      )
      order by b.rank
    ), '[]')::text
    from public.get_leaderboard_data(
      %(period)s, %(limit)s, %(friends_of)s::uuid, %(offset)s
    ) as b
  ),
  'updated_at', {time_text("now()")}
)"""  # noqa: S608 - constants

PLACE: LiteralString = """
select public.leaderboard_place(%(user_id)s, %(period)s, %(friends_of)s::uuid)"""

RANK: LiteralString = """
select r.user_rank as rank, r.total_users, r.user_xp, r.period_xp
from public.get_user_rank(%(user_id)s, %(period)s) as r"""


@frozen
class LeaderboardStore:
    database: Database

    async def page(
        self, period: Period, limit: int, offset: int, *, friends_of: UUID | None
    ) -> dict[str, str]:
        """`{"entries", "updated_at"}` of a page, the entries as a JSON array; with `friends_of`,
        among that user and the users they follow."""
        return await self.database.fetch_value_as(
            SERVICE, PAGE, period=period, limit=limit, offset=offset, friends_of=friends_of
        )

    async def place(self, user_id: UUID, period: Period, *, friends_of: UUID | None) -> int | None:
        """The place of a user on that leaderboard; None without XP in the period."""
        return await self.database.fetch_value_as(
            SERVICE, PLACE, user_id=user_id, period=period, friends_of=friends_of
        )

    async def rank(self, user_id: UUID, period: Period) -> UserRank | None:
        """None for an unknown user."""
        return await self.database.fetch_optional_as(
            SERVICE, UserRank, RANK, user_id=user_id, period=period
        )
