"""Quotas of a tier, consumed in the transaction of the counted action.

Scans are counted by UTC day and recipes by UTC month, in `usage_counters`; saved recipes are the
existing rows. Without a limit nothing is counted.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import LiteralString
from uuid import UUID

from attrs import evolve, frozen

from cookcam.database import SERVICE, Database, Transaction
from cookcam.features.billing.errors import LimitReached
from cookcam.features.billing.tiers.models import UNLIMITED, Metric, Usage

# One row: the limit of the user's tier, the usage, and the end of the period.
USAGE: LiteralString = """
with periods as (
  select
    case when %(metric)s = 'daily_scans' then date_trunc('day', now() at time zone 'UTC')
      when %(metric)s = 'monthly_recipes' then date_trunc('month', now() at time zone 'UTC')
    end as begins,
    case when %(metric)s = 'daily_scans' then interval '1 day' else interval '1 month' end as lasts
)
select
  case
    when coalesce((t.limits ->> %(metric)s)::integer, -1) = -1 then -1
    -- Recipes unlocked by mystery boxes in this month.
    when %(metric)s = 'monthly_recipes' then (t.limits ->> %(metric)s)::integer + coalesce((
      select c.used from public.usage_counters c
      where c.user_id = %(user_id)s and c.metric = 'extra_recipes'
        and c.period_start = p.begins::date
    ), 0)
    else (t.limits ->> %(metric)s)::integer
  end as allowed,
  case when p.begins is null
    then (select count(*) from public.saved_recipes r where r.user_id = %(user_id)s)::integer
    else coalesce((
      select c.used from public.usage_counters c
      where c.user_id = %(user_id)s and c.metric = %(metric)s
        and c.period_start = p.begins::date
    ), 0)
  end as used,
  p.begins::date as period_start,
  (p.begins + p.lasts) at time zone 'UTC' as resets_at
from public.subscription_tiers t, periods p
where t.id = public.user_tier_id(%(user_id)s)"""

CONSUME: LiteralString = """
select public.consume_quota(%(user_id)s, %(metric)s, %(limit)s, %(period_start)s)"""

# Serialises the saves of one user, so that two concurrent ones cannot both take the last place.
LOCK: LiteralString = "select from public.users where id = %(user_id)s for no key update"


@frozen
class Count:
    """A row of `USAGE`."""

    allowed: int
    used: int
    period_start: date | None
    resets_at: datetime | None

    def usage(self, metric: Metric) -> Usage:
        limit = None if self.allowed == UNLIMITED else self.allowed
        return Usage(metric, self.used, limit, self.resets_at)


@frozen
class Quotas:
    database: Database

    async def consume(self, tx: Transaction, user_id: UUID, metric: Metric) -> None:
        """Consumes one unit of the user's quota in the transaction of the counted action.

        For `saved_recipes`, call it before a recipe that is not saved yet is saved. Raises
        LimitReached.
        """
        async with tx.acting_as(SERVICE):
            if metric == "saved_recipes":
                await tx.execute(LOCK, user_id=user_id)
            count = await tx.fetch_one(Count, USAGE, user_id=user_id, metric=metric)
            usage = count.usage(metric)
            if usage.limit is None:
                return
            if usage.exhausted:
                raise LimitReached.of(usage)
            if count.period_start is None:  # the saved row itself is counted
                return
            consumed = await tx.fetch_value(
                CONSUME,
                user_id=user_id,
                metric=metric,
                limit=usage.limit,
                period_start=count.period_start,
            )
            if not consumed:  # a concurrent request took the last unit
                raise LimitReached.of(evolve(usage, used=usage.limit))

    async def is_limited(self, tx: Transaction, user_id: UUID, metric: Metric) -> bool:
        """Whether the user's tier limits the metric; `tx` runs as the server."""
        count = await tx.fetch_one(Count, USAGE, user_id=user_id, metric=metric)
        return count.allowed != UNLIMITED

    async def usage(self, user_id: UUID, metric: Metric) -> Usage:
        """The current usage and the limit of the user's tier."""
        count = await self.database.fetch_one_as(
            SERVICE, Count, USAGE, user_id=user_id, metric=metric
        )
        return count.usage(metric)
