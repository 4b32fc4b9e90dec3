"""The SQL of analytics, as SERVICE: no user may read the events of others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Final, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.features.operations.analytics.models import AnalyticsEvent

RETENTION: Final = timedelta(days=400)

BATCH: LiteralString = """
create temporary table if not exists analytics_batch (
  id uuid, user_id uuid, event_type text, event_data jsonb, metadata jsonb, session_id text,
  created_at timestamptz
) on commit delete rows"""

COPY: LiteralString = "copy analytics_batch from stdin"

# The account of an accepted event may have been deleted since: its event says nothing then.
STORE: LiteralString = """
insert into public.analytics_events
  (id, user_id, event_type, event_data, metadata, session_id, created_at)
select
  b.id, u.id, b.event_type,
  case when u.id is null then '{}' else b.event_data end,
  case when u.id is null then '{}' else b.metadata end,
  case when u.id is not null then b.session_id end,
  b.created_at
from analytics_batch b left join public.users u on u.id = b.user_id
on conflict do nothing"""

ACTIVE: LiteralString = """
insert into public.user_active_days (day, user_id)
select distinct (b.created_at at time zone 'UTC')::date, u.id
from analytics_batch b join public.users u on u.id = b.user_id
order by 1, 2
on conflict do nothing"""

PARTITIONS: LiteralString = "select public.maintain_analytics_partitions(%(keep)s)"

# The events of the window and of the one before it, which only the growth rate needs.
DASHBOARD: LiteralString = """
with span as materialized (
  select now() as ends, now() - make_interval(days => %(days)s) as starts,
    now() - 2 * make_interval(days => %(days)s) as previous
), both_windows as materialized (
  select p.id, p.action as type, 'progress' as source, p.created_at as at, p.metadata as data
  from public.user_progress p, span
  where p.user_id = %(user_id)s and p.created_at >= span.previous
  union all
  select e.id, e.event_type, 'progress', e.created_at, e.event_data
  from public.analytics_events e, span
  where e.user_id = %(user_id)s and e.created_at >= span.previous
  union all
  select s.id, 'scan', 'scan', s.created_at, jsonb_build_object(
    'ingredients_count', jsonb_array_length(s.detected_ingredients),
    'confidence_score', s.confidence_score
  )
  from public.ingredient_scans s, span
  where s.user_id = %(user_id)s and s.created_at >= span.previous
  union all
  select r.id, 'recipe_generation', 'recipe', r.created_at, '{}'
  from public.recipe_sessions r, span
  where r.user_id = %(user_id)s and r.created_at >= span.previous
  union all
  select c.id, 'recipe_generation', 'recipe', c.created_at,
    jsonb_build_object('completed', c.completed)
  from public.cooking_sessions c, span
  where c.user_id = %(user_id)s and c.created_at >= span.previous
), events as materialized (
  select b.*, (b.at at time zone 'UTC')::date as day,
    -- Sessions are not known: one ends after half an hour without an event.
    coalesce(b.at - lag(b.at) over (order by b.at), 'infinity') as pause
  from both_windows b, span where b.at >= span.starts
), totals as (
  select
    count(*) as events,
    count(distinct type) as types,
    count(*) filter (where source = 'scan') as scans,
    count(*) filter (where source = 'recipe') as recipes,
    count(*) filter (where pause > interval '30 minutes') as sessions,
    coalesce(
      extract(epoch from sum(pause) filter (where pause <= interval '30 minutes')), 0
    ) as seconds
  from events
), revenue as (
  select (l.occurred_at at time zone 'UTC')::date as day, sum(l.amount_cents) / 100.0 as amount
  from public.creator_ledger l, span
  where l.creator_id = %(user_id)s and l.occurred_at >= span.starts
  group by 1
), before as (
  select count(*) as events from both_windows b, span where b.at < span.starts
)
select json_build_object(
  'success', true,
  'data', json_build_object(
    'summary', json_build_object(
      'total_events', t.events,
      'unique_event_types', t.types,
      'total_scans', t.scans,
      'total_recipes_generated', t.recipes,
      'timeframe', %(timeframe)s::text,
      'date_range', json_build_object(
        'start', to_char(span.starts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'end', to_char(span.ends at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      )
    ),
    'event_counts', (
      select coalesce(json_object_agg(type, n order by n desc, type), '{}')
      from (select type, count(*) as n from events group by 1) c
    ),
    'timeline', (
      select coalesce(json_object_agg(day, n order by day), '{}')
      from (select day, count(*) as n from events group by 1) c
    ),
    'hourly_distribution', (
      select json_object_agg(h.hour, coalesce(c.n, 0) order by h.hour)
      from generate_series(0, 23) h(hour)
      left join (
        select extract(hour from at at time zone 'UTC')::integer as hour, count(*) as n
        from events group by 1
      ) c using (hour)
    ),
    'recent_events', (
      select coalesce(json_agg(
        json_build_object(
          'id', r.id, 'type', r.type, 'source', r.source,
          'timestamp', to_char(r.at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'data', r.data
        )
        order by r.at desc, r.id
      ), '[]')
      from (select * from events order by at desc, id limit 10) r
    )
  ),
  'totalUsers', 1,
  'activeUsers', case when t.events > 0 then 1 else 0 end,
  'totalScans', t.scans,
  'totalRecipes', t.recipes,
  'revenue', (select coalesce(sum(amount), 0) from revenue),
  'growthRate', case when before.events = 0 then 0
    else round((t.events - before.events) * 100.0 / before.events, 1) end,
  'engagement', json_build_object(
    'avgSessionDuration', case when t.sessions = 0 then 0 else round(t.seconds / t.sessions) end,
    'avgScansPerUser', t.scans,
    'recipeConversionRate', case when t.scans = 0 then 0
      else least(round(t.recipes * 100.0 / t.scans, 1), 100) end
  ),
  'charts', json_build_object(
    'userGrowth', (
      select coalesce(json_agg(json_build_object('date', day, 'count', 1) order by day), '[]')
      from (select distinct day from events) c
    ),
    'scanActivity', (
      select coalesce(json_agg(json_build_object('date', day, 'count', n) order by day), '[]')
      from (select day, count(*) as n from events where source = 'scan' group by 1) c
    ),
    'revenueGrowth', (
      select coalesce(
        json_agg(json_build_object('date', day, 'amount', amount) order by day), '[]'
      ) from revenue
    )
  )
)
from totals t, span, before"""

GLOBAL: LiteralString = """
with span as materialized (
  select now() - make_interval(days => %(days)s) as starts
), events as materialized (
  select p.user_id, p.action as type, 'progress' as source
  from public.user_progress p, span where p.created_at >= span.starts
  union all
  select e.user_id, e.event_type, 'progress'
  from public.analytics_events e, span where e.created_at >= span.starts
  union all
  select s.user_id, 'scan', 'scan'
  from public.ingredient_scans s, span where s.created_at >= span.starts
  union all
  select r.user_id, 'recipe_generation', 'recipe'
  from public.recipe_sessions r, span where r.created_at >= span.starts
  union all
  select c.user_id, 'recipe_generation', 'recipe'
  from public.cooking_sessions c, span where c.created_at >= span.starts
), totals as (
  select
    count(*) as events,
    count(distinct user_id) as users,
    count(*) filter (where source = 'scan') as scans,
    count(*) filter (where source = 'recipe') as recipes
  from events
)
select json_build_object(
  'success', true,
  'data', json_build_object(
    'summary', json_build_object(
      'total_events', t.events,
      'active_users', t.users,
      'new_users', (select count(*) from public.users u where u.created_at >= span.starts),
      'total_scans', t.scans,
      'total_recipes_generated', t.recipes,
      'avg_events_per_user', case when t.users = 0 then to_json(0)
        else to_json(to_char(t.events::numeric / t.users, 'FM999999990.00')) end,
      'timeframe', %(timeframe)s::text
    ),
    'activity_distribution', json_build_object(
      'scans', t.scans,
      'recipe_generations', t.recipes,
      'progress_events', t.events - t.scans - t.recipes
    ),
    'top_actions', (
      select coalesce(
        json_agg(json_build_object('action', type, 'count', n) order by n desc, type), '[]'
      )
      from (
        select type, count(*) as n from events where source = 'progress'
        group by 1 order by 2 desc, 1 limit 10
      ) c
    )
  )
)
from totals t, span"""

BUSINESS: LiteralString = """
select json_build_object(
  'success', true,
  'data', json_build_object(
    'active_users', (
      select json_agg(to_json(v) order by v.day desc) from public.active_users_view v
    ),
    'retention', (
      select coalesce(json_agg(to_json(v) order by v.week desc), '[]')
      from public.retention_view v
    ),
    'trial_conversion', (
      select coalesce(json_agg(to_json(v) order by v.month desc), '[]')
      from public.trial_conversion_view v
    ),
    'churn', (
      select json_agg(to_json(v) order by v.month desc) from public.churn_view v
    ),
    'recurring_revenue', (
      select coalesce(json_agg(to_json(v) order by v.tier, v.provider, v.currency), '[]')
      from public.recurring_revenue_view v
    )
  )
)"""

_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_row(event: AnalyticsEvent) -> bytes:
    """The event as a row of COPY's text format."""
    session = b"\\N" if event.session_id is None else event.session_id.translate(_ESCAPES).encode()
    return b"%b\t%b\t%b\t%b\t%b\t%b\t%b\n" % (
        str(event.id).encode(),
        str(event.user_id).encode(),
        event.event_type.encode(),
        event.data.replace(b"\\", b"\\\\"),
        event.metadata.replace(b"\\", b"\\\\"),
        session,
        event.received_at.isoformat().encode(),
    )


@frozen
class EventStore:
    database: Database

    async def write(self, rows: Sequence[bytes]) -> None:
        """Store rows of `copy_row`, each id once, in one transaction."""
        async with self.database.transaction() as tx:
            tx.defer(BATCH)
            await tx.copy(COPY, b"".join(rows))
            tx.defer(STORE)
            tx.defer(ACTIVE)

    async def maintain_partitions(self) -> int:
        """Create the partitions of the coming months; drop and count those past RETENTION."""
        async with self.database.transaction() as tx:
            return await tx.fetch_value(PARTITIONS, keep=RETENTION)

    async def dashboard(self, user_id: UUID, timeframe: str, days: int) -> dict[str, Any]:
        return await self.database.fetch_value_as(
            SERVICE, DASHBOARD, user_id=user_id, timeframe=timeframe, days=days
        )

    async def overview(self, timeframe: str, days: int) -> dict[str, Any]:
        return await self.database.fetch_value_as(SERVICE, GLOBAL, timeframe=timeframe, days=days)

    async def business(self) -> dict[str, Any]:
        return await self.database.fetch_value_as(SERVICE, BUSINESS)
