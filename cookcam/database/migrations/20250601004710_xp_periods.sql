-- Leaderboards from a table that each award keeps current: a page and an award cost the same with a
-- thousand users and with a million.

-- The XP of a user in one period. `begins` is a UTC date, '-infinity' for allTime. `total_xp` is the
-- lifetime XP after the last award in the period, at `reached_at`.
create table public.xp_periods (
  user_id uuid not null references public.users (id) on delete cascade,
  period text not null check (period in ('daily', 'weekly', 'monthly', 'yearly', 'allTime')),
  begins date not null,
  xp integer not null check (xp > 0),
  total_xp integer not null,
  reached_at timestamptz not null,
  primary key (user_id, period, begins)
);

-- The order of a leaderboard: XP of the period, lifetime XP, earlier attainment, id.
create index xp_periods_ranked on public.xp_periods
  (period, begins, xp desc, total_xp desc, reached_at, user_id);

alter table public.xp_periods enable row level security;
revoke all on table public.xp_periods from anon, authenticated;
grant all on table public.xp_periods to service_role;

create function public.user_progress_count() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into public.xp_periods as x (user_id, period, begins, xp, total_xp, reached_at)
  select
    new.user_id, unit.period,
    date_trunc(unit.name, new.created_at at time zone 'UTC')::date,
    new.xp_gained, new.total_xp, new.created_at
  from (
    values ('daily', 'day'), ('weekly', 'week'), ('monthly', 'month'), ('yearly', 'year')
  ) as unit(period, name)
  on conflict (user_id, period, begins) do update set
    xp = x.xp + excluded.xp,
    total_xp = greatest(x.total_xp, excluded.total_xp),
    reached_at = greatest(x.reached_at, excluded.reached_at);
  return null;
end
$$;

create trigger user_progress_count after insert on public.user_progress
  for each row execute function public.user_progress_count();

create function public.users_count_xp() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.xp_periods as x (user_id, period, begins, xp, total_xp, reached_at)
  values (new.id, 'allTime', '-infinity', new.total_xp, new.total_xp, now())
  on conflict (user_id, period, begins) do update set
    xp = excluded.xp, total_xp = excluded.total_xp, reached_at = excluded.reached_at;
  return null;
end
$$;

create trigger users_count_xp after update of total_xp on public.users
  for each row when (new.total_xp > 0 and new.total_xp is distinct from old.total_xp)
  execute function public.users_count_xp();
create trigger users_count_first_xp after insert on public.users
  for each row when (new.total_xp > 0) execute function public.users_count_xp();

insert into public.xp_periods (user_id, period, begins, xp, total_xp, reached_at)
select
  p.user_id, unit.period, date_trunc(unit.name, p.created_at at time zone 'UTC')::date,
  sum(p.xp_gained), max(p.total_xp), max(p.created_at)
from public.user_progress p
cross join (
  values ('daily', 'day'), ('weekly', 'week'), ('monthly', 'month'), ('yearly', 'year')
) as unit(period, name)
group by 1, 2, 3;

insert into public.xp_periods (user_id, period, begins, xp, total_xp, reached_at)
select
  u.id, 'allTime', '-infinity', u.total_xp, u.total_xp,
  coalesce((select max(p.created_at) from public.user_progress p where p.user_id = u.id), now())
from public.users u where u.total_xp > 0;

-- Begin of the running period and of the one before, as the dates of `xp_periods`.
create function public.period_dates(p_period text, out begins date, out previous date)
language plpgsql stable set search_path = '' as $$
declare
  period record;
begin
  select * into period from public.period_bounds(p_period);
  begins := (period.begins at time zone 'UTC')::date;
  previous := (period.previous_begins at time zone 'UTC')::date;
end
$$;

drop function public.get_leaderboard_data(text, integer, uuid);

-- A page of the global leaderboard, or of the one among p_friends_of and the users they follow.
-- `movement` is the place in the previous period minus the place now; 0 for users who had no place
-- then, or one beyond the first thousand.
create function public.get_leaderboard_data(
  p_period text default 'weekly', p_limit integer default 50, p_friends_of uuid default null,
  p_offset integer default 0
) returns table (
  rank integer, user_id uuid, name text, avatar_url text, level smallint, xp_total integer,
  xp_gained integer, movement integer, is_creator boolean, creator_tier smallint,
  recipes_cooked integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  dates record;
  many integer := least(greatest(coalesce(p_limit, 50), 1), 100);
  skipped integer := greatest(coalesce(p_offset, 0), 0);
begin
  select * into dates from public.period_dates(p_period);

  return query
  with friends as (
    select f.following_id as id from public.user_follows f where f.follower_id = p_friends_of
    union
    select p_friends_of where p_friends_of is not null
  ),
  -- Of the two parts only one is run. The order is that of the index.
  page as (
    (
      select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
      where p_friends_of is null and x.period = p_period and x.begins = dates.begins
      order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
      limit many offset skipped
    )
    union all
    (
      select x.user_id, x.xp, x.total_xp, x.reached_at
      from friends f join public.xp_periods x on x.user_id = f.id
      where x.period = p_period and x.begins = dates.begins
      order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
      limit many offset skipped
    )
  ),
  placed as (
    select
      g.user_id, g.xp,
      (skipped + row_number() over (
        order by g.xp desc, g.total_xp desc, g.reached_at, g.user_id
      ))::integer as place
    from page g
  ),
  earlier as (
    select
      b.user_id,
      (row_number() over (
        order by b.xp desc, b.total_xp desc, b.reached_at, b.user_id
      ))::integer as place
    from (
      (
        select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
        where p_friends_of is null and p_period <> 'allTime'
          and x.period = p_period and x.begins = dates.previous
        order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
        limit 1000
      )
      union all
      (
        select x.user_id, x.xp, x.total_xp, x.reached_at
        from friends f join public.xp_periods x on x.user_id = f.id
        where p_period <> 'allTime' and x.period = p_period and x.begins = dates.previous
        order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
        limit 1000
      )
    ) as b
  )
  select
    g.place, u.id, u.name, u.avatar_url, u.level, u.total_xp, g.xp,
    coalesce(e.place - g.place, 0), u.is_creator, u.creator_tier,
    (
      select coalesce(sum(d.recipes_cooked), 0)::integer from public.daily_cooks d
      where d.user_id = u.id and d.cook_date >= dates.begins
    )
  from placed g
  join public.users u on u.id = g.user_id
  left join earlier e on e.user_id = g.user_id
  order by g.place;
end
$$;

-- The place of a user on the same leaderboard; null without XP in the period.
create function public.leaderboard_place(
  p_user_id uuid, p_period text default 'weekly', p_friends_of uuid default null
) returns integer
language plpgsql stable set search_path = '' as $$
declare
  dates record;
  mine public.xp_periods;
begin
  select * into dates from public.period_dates(p_period);
  select * into mine from public.xp_periods x
  where x.user_id = p_user_id and x.period = p_period and x.begins = dates.begins;
  if not found then
    return null;
  end if;
  return 1 + (
    select count(*) from public.xp_periods x
    where x.period = p_period and x.begins = dates.begins and x.xp >= mine.xp
      and (
        x.xp > mine.xp
        or x.total_xp > mine.total_xp
        or x.total_xp = mine.total_xp
          and (x.reached_at, x.user_id) < (mine.reached_at, mine.user_id)
      )
      and (
        p_friends_of is null
        or x.user_id = p_friends_of
        or x.user_id in (
          select f.following_id from public.user_follows f where f.follower_id = p_friends_of
        )
      )
  )::integer;
end
$$;

-- One more than the number of users with more XP in the period; total_users counts the users with
-- XP in it.
create or replace function public.get_user_rank(p_user_id uuid, p_period text default 'weekly')
returns table (user_rank integer, total_users integer, user_xp integer, period_xp integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  dates record;
begin
  select * into dates from public.period_dates(p_period);
  return query
  select
    case when mine.xp is not null then
      1 + (
        select count(*) from public.xp_periods x
        where x.period = p_period and x.begins = dates.begins and x.xp > mine.xp
      )::integer
    end,
    (
      select count(*) from public.xp_periods x
      where x.period = p_period and x.begins = dates.begins
    )::integer,
    me.total_xp,
    coalesce(mine.xp, 0)
  from public.users me
  left join public.xp_periods mine
    on mine.user_id = me.id and mine.period = p_period and mine.begins = dates.begins
  where me.id = p_user_id;
end
$$;

revoke execute on function
  public.user_progress_count(),
  public.users_count_xp(),
  public.period_dates(text),
  public.get_leaderboard_data(text, integer, uuid, integer),
  public.leaderboard_place(uuid, text, uuid)
from public, anon, authenticated;
grant execute on function
  public.period_dates(text),
  public.get_leaderboard_data(text, integer, uuid, integer),
  public.leaderboard_place(uuid, text, uuid)
to service_role;
