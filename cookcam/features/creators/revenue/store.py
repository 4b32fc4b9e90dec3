"""The SQL of earnings reports, from the ledger, under the server's role."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString
from uuid import UUID

from attrs import field, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.creators.models import Month, RecipeFigures, Referral, Tip
from cookcam.features.creators.tips.store import COLUMNS as TIP_COLUMNS

MONTH: LiteralString = """
with bounds as (
  select
    make_timestamptz(%(year)s, %(month)s, 1, 0, 0, 0, 'UTC') as begins,
    timezone('UTC', make_timestamp(%(year)s, %(month)s, 1, 0, 0, 0) + interval '1 month') as ends
),
entries as (
  select
    (count(*) filter (where l.kind = 'tip'))::integer as tips,
    (count(*) filter (where l.kind = 'collection'))::integer as collections,
    max(l.created_at) as changed_at
  from public.creator_ledger l, bounds b
  where l.creator_id = %(creator_id)s and l.occurred_at >= b.begins and l.occurred_at < b.ends
)
select %(year)s as year, %(month)s as month, r.*, e.*
from public.calculate_creator_monthly_revenue(%(creator_id)s, %(month)s, %(year)s) r, entries e"""

REFERRALS: LiteralString = """
select c.id, c.link_id, l.link_code, c.creator_id, c.subscriber_id, c.subscription_id, c.tier_id,
  c.converted_at, c.deactivated_at, c.is_active, u.email, u.created_at as subscriber_since,
  s.status as subscription_status, s.current_period_end
from public.affiliate_conversions c
left join public.creator_affiliate_links l on l.id = c.link_id
left join public.users u on u.id = c.subscriber_id
left join public.user_subscriptions s on s.id = c.subscription_id
where c.creator_id = %(creator_id)s
order by c.converted_at desc, c.id limit %(limit)s"""

REFERRAL_COUNTS: LiteralString = """
select count(*)::integer as total,
  (count(*) filter (where deactivated_at is null))::integer as active
from public.affiliate_conversions where creator_id = %(creator_id)s"""

RECIPES: LiteralString = """
select r.id, r.title, r.view_count, r.saves_count,
  coalesce((
    select round(100.0 * count(*) filter (where c.completed) / nullif(count(*), 0), 1)
    from public.cooking_sessions c where c.detailed_recipe_id = r.id
  ), 0)::float8 as completion_rate
from public.recipes r
where r.created_by = %(creator_id)s
order by r.view_count desc, r.created_at desc, r.id limit %(limit)s"""

TIPS = f"""
select {TIP_COLUMNS} from public.creator_tips t
where t.creator_id = %(creator_id)s and t.status in ('completed', 'refunded')
order by t.created_at desc, t.id limit %(limit)s"""  # noqa: S608 - constants


@frozen
class ReferralCounts:
    total: int
    active: int


@frozen
class RevenueStore:
    database: Database = field(repr=False)

    async def month(self, creator_id: UUID, year: int, month: int) -> Month:
        return await self.database.fetch_one_as(
            SERVICE, Month, MONTH, creator_id=creator_id, year=year, month=month
        )

    async def referrals(self, creator_id: UUID, limit: int) -> Sequence[Referral]:
        """Conversions, newest first."""
        return await self.database.fetch_all_as(
            SERVICE, Referral, REFERRALS, creator_id=creator_id, limit=limit
        )

    async def referral_counts(self, creator_id: UUID) -> ReferralCounts:
        return await self.database.fetch_one_as(
            SERVICE, ReferralCounts, REFERRAL_COUNTS, creator_id=creator_id
        )

    async def recipes(self, creator_id: UUID, limit: int) -> Sequence[RecipeFigures]:
        """The creator's recipes, most viewed first."""
        return await self.database.fetch_all_as(
            SERVICE, RecipeFigures, RECIPES, creator_id=creator_id, limit=limit
        )

    async def tips(self, creator_id: UUID, limit: int) -> Sequence[Tip]:
        """Tips that were paid, newest first."""
        return await self.database.fetch_all_as(
            SERVICE, Tip, TIPS, creator_id=creator_id, limit=limit
        )
