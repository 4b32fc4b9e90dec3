-- Product analytics: events by month, the days on which users were active, and the business figures.

-- The partitions are in a schema of their own, which no API serves.
create schema analytics;
revoke all on schema analytics from public;

alter table public.analytics_events rename to analytics_events_unpartitioned;
drop index
  public.analytics_events_once, public.analytics_events_of_user, public.analytics_events_by_time;

-- The server limits the size of an event before it accepts it: a constraint here would reject the
-- whole batch. `id` is made from user, type and `metadata.timestamp` where there is one, so that a
-- repeated event has the id of the first.
create table public.analytics_events (
  id uuid not null default pg_catalog.gen_random_uuid(),
  user_id uuid references public.users (id) on delete set null,
  event_type text not null check (event_type ~ '^[A-Za-z0-9_.:-]{1,64}$'),
  event_data jsonb not null default '{}',
  metadata jsonb not null default '{}' check (pg_catalog.jsonb_typeof(metadata) = 'object'),
  session_id text check (pg_catalog.char_length(session_id) <= 200),
  created_at timestamptz not null default pg_catalog.now()
) partition by range (created_at);

create index analytics_events_of_user on public.analytics_events (user_id, created_at desc);
create index analytics_events_by_time on public.analytics_events using brin (created_at);
alter table public.analytics_events enable row level security;
revoke all on table public.analytics_events from anon, authenticated;
grant all on table public.analytics_events to service_role;

-- Creates the partitions from the month of `p_from` to two months ahead, and drops those that ended
-- more than `p_keep` ago. Returns the number of dropped ones. A partition is created or dropped under
-- locks that also stop writes to users: it gives up after two seconds of waiting for them.
create function public.maintain_analytics_partitions(
  p_keep interval, p_from timestamptz default pg_catalog.now()
) returns integer
language plpgsql security definer set search_path = '' set lock_timeout = '2s' set timezone = 'UTC'
as $$
declare
  month timestamptz;
  partition text;
  dropped integer := 0;
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('cookcam.analytics', 0));
  for month in
    select m from pg_catalog.generate_series(
      pg_catalog.date_trunc('month', p_from),
      pg_catalog.date_trunc('month', pg_catalog.now()) + interval '2 months',
      interval '1 month'
    ) m
  loop
    partition := 'events_' || pg_catalog.to_char(month, 'YYYY_MM');
    if pg_catalog.to_regclass('analytics.' || partition) is null then
      execute pg_catalog.format(
        'create table analytics.%1$I partition of public.analytics_events'
        ' for values from (%2$L) to (%3$L);'
        ' create unique index on analytics.%1$I (id);'
        ' alter table analytics.%1$I enable row level security;'
        ' revoke all on table analytics.%1$I from public, anon, authenticated;'
        ' grant all on table analytics.%1$I to service_role',
        partition, month, month + interval '1 month'
      );
    end if;
  end loop;
  for partition in
    select c.relname
    from pg_catalog.pg_inherits i join pg_catalog.pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.analytics_events'::regclass
      and pg_catalog.to_timestamp(c.relname, '"events_"YYYY_MM') + interval '1 month'
        < pg_catalog.now() - p_keep
  loop
    execute pg_catalog.format('drop table analytics.%I', partition);
    dropped := dropped + 1;
  end loop;
  return dropped;
end
$$;

revoke execute on function public.maintain_analytics_partitions(interval, timestamptz)
from public, anon, authenticated;
grant execute on function public.maintain_analytics_partitions(interval, timestamptz)
to service_role;

do $$
begin
  perform public.maintain_analytics_partitions(
    interval '400 days',
    coalesce((select min(e.created_at) from public.analytics_events_unpartitioned e), now())
  );
end
$$;
insert into public.analytics_events select * from public.analytics_events_unpartitioned;
drop table public.analytics_events_unpartitioned;

-- The UTC days on which a user's events were received.
create table public.user_active_days (
  day date not null,
  user_id uuid not null references public.users (id) on delete cascade,
  primary key (day, user_id)
);

create index user_active_days_of_user on public.user_active_days (user_id, day);
alter table public.user_active_days enable row level security;
revoke all on table public.user_active_days from anon, authenticated;
grant all on table public.user_active_days to service_role;

-- A user is active on a day with an event or with XP.
create view public.user_activity_view with (security_invoker = true) as
select a.day, a.user_id from public.user_active_days a
union
select x.begins, x.user_id from public.xp_periods x where x.period = 'daily';

-- The last 30 UTC days: the users active on the day, and in the 7 and 30 days up to it.
create view public.active_users_view with (security_invoker = true) as
select
  d.day::date as day,
  count(distinct a.user_id) filter (where a.day = d.day::date) as daily,
  count(distinct a.user_id) filter (where a.day > d.day::date - 7) as weekly,
  count(distinct a.user_id) as monthly
from pg_catalog.generate_series(
  (now() at time zone 'UTC')::date - 29, (now() at time zone 'UTC')::date, interval '1 day'
) as d(day)
left join public.user_activity_view a on a.day > d.day::date - 30 and a.day <= d.day::date
group by 1;

-- Users by the week (from Monday, UTC) of their registration, the last 12 weeks: how many were active
-- exactly 1, 7 and 30 days after it. Null until all of them have reached that day.
create view public.retention_view with (security_invoker = true) as
select
  c.week,
  count(distinct c.id) as users,
  case when c.week + 7 <= (now() at time zone 'UTC')::date then
    count(distinct a.user_id) filter (where a.day = c.joined + 1) end as day_1,
  case when c.week + 13 <= (now() at time zone 'UTC')::date then
    count(distinct a.user_id) filter (where a.day = c.joined + 7) end as day_7,
  case when c.week + 36 <= (now() at time zone 'UTC')::date then
    count(distinct a.user_id) filter (where a.day = c.joined + 30) end as day_30
from (
  select
    u.id,
    (u.created_at at time zone 'UTC')::date as joined,
    date_trunc('week', u.created_at at time zone 'UTC')::date as week
  from public.users u
  where u.created_at >= now() - interval '12 weeks'
) c
left join public.user_activity_view a
  on a.user_id = c.id and a.day in (c.joined + 1, c.joined + 7, c.joined + 30)
group by c.week;

-- Trials by the month of their start, the last 12 months.
create view public.trial_conversion_view with (security_invoker = true) as
select
  date_trunc('month', t.started at time zone 'UTC')::date as month,
  count(*) as trials,
  count(*) filter (where t.converted) as converted,
  count(*) filter (where not t.converted and t.ended) as ended
from (
  select
    h.subscription_id,
    min(h.created_at) filter (where h.metadata ->> 'to_status' = 'trialing') as started,
    bool_or(
      h.metadata ->> 'from_status' = 'trialing' and h.metadata ->> 'to_status' = 'active'
    ) as converted,
    bool_or(
      h.metadata ->> 'from_status' = 'trialing'
      and h.metadata ->> 'to_status' in ('cancelled', 'expired')
    ) as ended
  from public.subscription_history h
  where h.subscription_id is not null
  group by 1
) t
where t.started >= date_trunc('month', now() at time zone 'UTC') at time zone 'UTC'
  - interval '11 months'
group by 1;

-- The last 12 months: the users who paid at the start of the month, and those of them who did not at
-- its end, or now.
create view public.churn_view with (security_invoker = true) as
with months as (
  select m at time zone 'UTC' as starts, (m + interval '1 month') at time zone 'UTC' as ends
  from pg_catalog.generate_series(
    date_trunc('month', now() at time zone 'UTC') - interval '11 months',
    date_trunc('month', now() at time zone 'UTC'),
    interval '1 month'
  ) m
), paying as (
  select t.at, s.user_id
  from (select starts as at from months union select ends from months) t
  cross join lateral (
    select distinct on (h.subscription_id)
      h.user_id, h.to_tier_id, h.metadata ->> 'to_status' as status
    from public.subscription_history h
    where h.created_at < t.at and h.user_id is not null and h.subscription_id is not null
    order by h.subscription_id, h.created_at desc
  ) s
  where s.to_tier_id > 1 and s.status in ('active', 'past_due')
  group by 1, 2
)
select
  (m.starts at time zone 'UTC')::date as month,
  count(p.user_id) as subscribers,
  count(p.user_id) filter (where q.user_id is null) as lost
from months m
left join paying p on p.at = m.starts
left join paying q on q.at = m.ends and q.user_id = p.user_id
group by 1;

-- Monthly recurring revenue at list prices, in cents; a year counts a twelfth. Trials and gifts do not
-- count.
create view public.recurring_revenue_view with (security_invoker = true) as
select
  t.slug as tier,
  s.provider,
  t.currency,
  count(*) as subscriptions,
  round(sum(
    case when s.current_period_end - s.current_period_start > interval '60 days'
      then t.price_yearly_cents / 12.0 else t.price_monthly_cents end
  ))::bigint as monthly_cents
from public.user_subscriptions s
join public.subscription_tiers t on t.id = s.tier_id
where s.status in ('active', 'past_due') and s.provider <> 'manual'
  and s.current_period_end + interval '7 days' > now()
group by 1, 2, 3;

revoke all on table
  public.user_activity_view,
  public.active_users_view,
  public.retention_view,
  public.trial_conversion_view,
  public.churn_view,
  public.recurring_revenue_view
from anon, authenticated;
grant select on table
  public.user_activity_view,
  public.active_users_view,
  public.retention_view,
  public.trial_conversion_view,
  public.churn_view,
  public.recurring_revenue_view
to service_role;
