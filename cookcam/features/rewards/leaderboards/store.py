"""The SQL of leaderboards, as SERVICE: callers may not read the XP of others by period."""

from __future__ import annotations

from typing import Any, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.features.rewards.leaderboards.models import Period, UserRank

PAGE: LiteralString = """
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
    ), '[]')
    from public.get_leaderboard_data(
      %(period)s, %(limit)s, %(friends_of)s::uuid, %(offset)s, %(country)s::text, %(around)s::uuid
    ) as b
  ),
  'updated_at', to_char(now() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
)"""

PLACE: LiteralString = """
select public.leaderboard_place(
  %(user_id)s, %(period)s, %(friends_of)s::uuid, %(country)s::text
)"""

COUNTRY: LiteralString = "select country from public.users where id = %(user_id)s"

COMPACT: LiteralString = "select public.compact_xp_ranks()"

RANK: LiteralString = """
select r.user_rank as rank, r.total_users, r.user_xp, r.period_xp
from public.get_user_rank(%(user_id)s, %(period)s) as r"""


@frozen
class LeaderboardStore:
    database: Database

    async def page(
        self,
        period: Period,
        limit: int,
        offset: int,
        *,
        friends_of: UUID | None = None,
        country: str | None = None,
        around: UUID | None = None,
    ) -> dict[str, Any]:
        """`{"entries", "updated_at"}` of a page: of all users; among `friends_of` and the users
        they follow; of a country; or around a user, without an offset."""
        return await self.database.fetch_value_as(
            SERVICE,
            PAGE,
            period=period,
            limit=limit,
            offset=offset,
            friends_of=friends_of,
            country=country,
            around=around,
        )

    async def place(
        self, user_id: UUID, period: Period, *, friends_of: UUID | None, country: str | None
    ) -> int | None:
        """The place of a user on that leaderboard; None without XP in the period."""
        return await self.database.fetch_value_as(
            SERVICE,
            PLACE,
            user_id=user_id,
            period=period,
            friends_of=friends_of,
            country=country,
        )

    async def country(self, user_id: UUID) -> str | None:
        return await self.database.fetch_value_as(SERVICE, COUNTRY, user_id=user_id)

    async def compact(self) -> int:
        """Sum up the counts of ranks; returns the number of rows written."""
        async with self.database.transaction() as tx:
            return await tx.fetch_value(COMPACT)

    async def rank(self, user_id: UUID, period: Period) -> UserRank | None:
        """None for an unknown user."""
        return await self.database.fetch_optional_as(
            SERVICE, UserRank, RANK, user_id=user_id, period=period
        )
