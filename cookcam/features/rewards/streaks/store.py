"""The SQL of streaks. The rules are SQL functions (migration `streaks`)."""

from __future__ import annotations

from datetime import date
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.features.rewards.streaks.models import CookResult
from cookcam.identity import Identity

MAX_DAYS = 366
DEFAULT_DAYS = 30

# As SERVICE: callers may not read the time zone that the state of the streak depends on.
STATUS: LiteralString = """
select json_build_object(
  'success', true, 'streak_data', public.check_user_streak(%(user_id)s)
)::text"""

COOK: LiteralString = """
select * from public.cook_today(%(user_id)s)"""

FREEZE: LiteralString = """
select public.use_freeze_token(%(user_id)s, %(day)s)"""

HISTORY: LiteralString = """
with chosen as (
  select
    coalesce(%(first)s::date, coalesce(%(last)s::date, today) - %(default_days)s + 1) as first_day,
    coalesce(%(last)s::date, today) as last_day
  from public.users u cross join lateral public.today_in(u.timezone) as today
  where u.id = %(user_id)s
),
days as (
  select d.cook_date, d.recipes_cooked, d.xp_earned, d.freeze_used
  from public.daily_cooks d, chosen
  where d.user_id = %(user_id)s and d.cook_date between chosen.first_day and chosen.last_day
  order by d.cook_date desc limit %(max_days)s
)
select json_build_object(
  'streak_data', public.check_user_streak(%(user_id)s),
  'from', (select first_day from chosen),
  'to', (select last_day from chosen),
  'days', (
    select coalesce(json_agg(
      json_build_object(
        'date', d.cook_date, 'recipes_cooked', d.recipes_cooked, 'xp_earned', d.xp_earned,
        'freeze_used', d.freeze_used
      )
      order by d.cook_date
    ), '[]') from days d
  )
)::text"""


@frozen
class StreakStore:
    database: Database

    async def status_json(self, user_id: UUID) -> bytes:
        """The state of the streak as the response body. Changes nothing."""
        return await self.database.fetch_json_as(SERVICE, STATUS, user_id=user_id)

    async def cook(self, user_id: UUID) -> CookResult:
        """Counts a cook today, with the XP and badges that it earns, in one transaction."""
        async with self.database.transaction() as tx:
            return await tx.fetch_one(CookResult, COOK, user_id=user_id)

    async def freeze(self, caller: Identity, day: date) -> bool:
        """Spends a token on the day; False when that is not possible, and nothing is spent then."""
        async with self.database.transaction_as(caller) as tx:
            return await tx.fetch_value(FREEZE, user_id=caller.user_id, day=day)

    async def history_json(self, user_id: UUID, first: date | None, last: date | None) -> bytes:
        """The state of the streak and the cooked or frozen days, as the response body.

        The range ends today in the user's time zone and has DEFAULT_DAYS days unless it is given;
        of a longer one the latest MAX_DAYS cooked days are listed.
        """
        return await self.database.fetch_json_as(
            SERVICE,
            HISTORY,
            user_id=user_id,
            first=first,
            last=last,
            default_days=DEFAULT_DAYS,
            max_days=MAX_DAYS,
        )
