-- Ranks from counts of users by XP, and leaderboards of a country and around a user: a rank costs the
-- same with a thousand users and with a million.

alter table public.users add column country text check (country ~ '^[A-Z]{2}$');
grant select (country) on table public.users to authenticated;

alter table public.xp_periods add column country text;
create index xp_periods_ranked_in_country on public.xp_periods
  (period, begins, country, xp desc, total_xp desc, reached_at, user_id)
  where country is not null;

create or replace function public.user_progress_count() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into public.xp_periods as x
    (user_id, period, begins, xp, total_xp, reached_at, country)
  select
    new.user_id, unit.period,
    date_trunc(unit.name, new.created_at at time zone 'UTC')::date,
    new.xp_gained, new.total_xp, new.created_at,
    (select u.country from public.users u where u.id = new.user_id)
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

create or replace function public.users_count_xp() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.xp_periods as x
    (user_id, period, begins, xp, total_xp, reached_at, country)
  values (new.id, 'allTime', '-infinity', new.total_xp, new.total_xp, now(), new.country)
  on conflict (user_id, period, begins) do update set
    xp = excluded.xp, total_xp = excluded.total_xp, reached_at = excluded.reached_at;
  return null;
end
$$;

create function public.users_country() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.xp_periods x set country = new.country where x.user_id = new.id;
  return null;
end
$$;

create trigger users_country after update of country on public.users
  for each row when (new.country is distinct from old.country)
  execute function public.users_country();

-- A bucket of XP: one value each below 32, then 32 buckets for each doubling.
alter table public.xp_periods add column bucket integer not null generated always as (
  case
    when xp < 32 then xp
    else 32 * (pg_catalog.length(pg_catalog.ltrim(xp::bit(32)::text, '0')) - 5)
      + ((xp >> (pg_catalog.length(pg_catalog.ltrim(xp::bit(32)::text, '0')) - 6)) & 31)
  end
) stored;

-- The lowest XP above the bucket of p_xp.
create function public.xp_bucket_end(p_xp integer) returns bigint
language sql immutable strict parallel safe set search_path = '' as $$
  select ((p_xp >> shift) + 1)::bigint << shift
  from (
    select greatest(length(ltrim(p_xp::bit(32)::text, '0')) - 6, 0) as shift
  ) as size
$$;

-- Users by bucket, in all countries (scope '') and in one. A count is the sum of its rows: an award
-- only adds rows, so that awards never wait for each other, and `compact_xp_ranks` sums them up.
create table public.xp_rank_counts (
  period text not null,
  begins date not null,
  scope text not null,
  bucket integer not null,
  users integer not null
);

create index xp_rank_counts_by_bucket on public.xp_rank_counts (period, begins, scope, bucket)
  include (users);

alter table public.xp_rank_counts enable row level security;
revoke all on table public.xp_rank_counts from anon, authenticated;
grant all on table public.xp_rank_counts to service_role;

create function public.count_xp_ranks() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    insert into public.xp_rank_counts (period, begins, scope, bucket, users)
    select old.period, old.begins, scope, old.bucket, -1
    from pg_catalog.unnest(array['', old.country]) as scope where scope is not null;
  end if;
  if tg_op <> 'DELETE' then
    insert into public.xp_rank_counts (period, begins, scope, bucket, users)
    select new.period, new.begins, scope, new.bucket, 1
    from pg_catalog.unnest(array['', new.country]) as scope where scope is not null;
  end if;
  return null;
end
$$;

create trigger xp_periods_count after insert on public.xp_periods
  for each row execute function public.count_xp_ranks();
create trigger xp_periods_recount after update on public.xp_periods
  for each row when (
    new.bucket <> old.bucket or new.country is distinct from old.country
  )
  execute function public.count_xp_ranks();
-- Past periods are deleted without a count: nobody asks for a rank in them.
create trigger xp_periods_uncount after delete on public.xp_periods
  for each row when (old.period in ('yearly', 'allTime') or old.begins > current_date - 62)
  execute function public.count_xp_ranks();

insert into public.xp_rank_counts (period, begins, scope, bucket, users)
select x.period, x.begins, '', x.bucket, count(*)
from public.xp_periods x group by 1, 2, 4;

-- One row for each count, and none for periods before the previous month. One instance at a time.
-- Returns the number of rows written.
create function public.compact_xp_ranks() returns integer
language plpgsql set search_path = '' as $$
declare
  written integer;
begin
  if not pg_catalog.pg_try_advisory_xact_lock(
    pg_catalog.hashtextextended('cookcam.xp_ranks', 0)
  ) then
    return 0;
  end if;
  with many as (
    select c.period, c.begins, c.scope, c.bucket from public.xp_rank_counts c
    group by 1, 2, 3, 4 having count(*) > 1 or sum(c.users) = 0
  ), gone as (
    delete from public.xp_rank_counts c using many m
    where (c.period, c.begins, c.scope, c.bucket) = (m.period, m.begins, m.scope, m.bucket)
    returning c.*
  )
  insert into public.xp_rank_counts (period, begins, scope, bucket, users)
  select g.period, g.begins, g.scope, g.bucket, sum(g.users)
  from gone g group by 1, 2, 3, 4 having sum(g.users) <> 0;
  get diagnostics written = row_count;
  delete from public.xp_rank_counts c
  where c.period in ('daily', 'weekly', 'monthly') and c.begins < current_date - 62;
  return written;
end
$$;

-- The number of users in the buckets of a period above p_bucket.
create function public.users_above_bucket(
  p_period text, p_begins date, p_scope text, p_bucket integer
) returns bigint
language sql stable set search_path = '' as $$
  select coalesce(sum(c.users), 0) from public.xp_rank_counts c
  where c.period = p_period and c.begins = p_begins and c.scope = p_scope
    and c.bucket > p_bucket
$$;

drop function public.leaderboard_place(uuid, text, uuid);

-- The place of a user on a leaderboard, among friends, in a country or of all; null without XP in the
-- period, and for a user of another country.
create function public.leaderboard_place(
  p_user_id uuid, p_period text default 'weekly', p_friends_of uuid default null,
  p_country text default null
) returns integer
language plpgsql stable set search_path = '' as $$
declare
  dates record;
  mine public.xp_periods;
begin
  select * into dates from public.period_dates(p_period);
  select * into mine from public.xp_periods x
  where x.user_id = p_user_id and x.period = p_period and x.begins = dates.begins;
  if not found or mine.country is distinct from coalesce(p_country, mine.country) then
    return null;
  end if;
  if p_friends_of is not null then
    return 1 + (
      select count(*)
      from (
        select f.following_id as id from public.user_follows f where f.follower_id = p_friends_of
        union
        select p_friends_of
      ) as friend
      join public.xp_periods x
        on x.user_id = friend.id and x.period = p_period and x.begins = dates.begins
      where x.xp > mine.xp
        or x.xp = mine.xp and (
          x.total_xp > mine.total_xp
          or x.total_xp = mine.total_xp
            and (x.reached_at, x.user_id) < (mine.reached_at, mine.user_id)
        )
    )::integer;
  end if;
  return 1
    + public.users_above_bucket(p_period, dates.begins, coalesce(p_country, ''), mine.bucket)
    + (
      select count(*) from public.xp_periods x
      where x.period = p_period and x.begins = dates.begins
        and (p_country is null or x.country = p_country)
        and x.xp >= mine.xp and x.xp < public.xp_bucket_end(mine.xp)
        and (
          x.xp > mine.xp
          or x.total_xp > mine.total_xp
          or x.total_xp = mine.total_xp
            and (x.reached_at, x.user_id) < (mine.reached_at, mine.user_id)
        )
    );
end
$$;

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
      (1 + public.users_above_bucket(p_period, dates.begins, '', mine.bucket) + (
        select count(*) from public.xp_periods x
        where x.period = p_period and x.begins = dates.begins
          and x.xp > mine.xp and x.xp < public.xp_bucket_end(mine.xp)
      ))::integer
    end,
    public.users_above_bucket(p_period, dates.begins, '', -1)::integer,
    me.total_xp,
    coalesce(mine.xp, 0)
  from public.users me
  left join public.xp_periods mine
    on mine.user_id = me.id and mine.period = p_period and mine.begins = dates.begins
  where me.id = p_user_id;
end
$$;

drop function public.get_leaderboard_data(text, integer, uuid, integer);

-- A page of a leaderboard: of all users, among p_friends_of and the users they follow, in a country,
-- or of all users around p_around. `movement` is the place in the previous period minus the place now;
-- 0 for users who had no place then, or one beyond the first thousand, and around a user.
create function public.get_leaderboard_data(
  p_period text default 'weekly', p_limit integer default 50, p_friends_of uuid default null,
  p_offset integer default 0, p_country text default null, p_around uuid default null
) returns table (
  rank integer, user_id uuid, name text, avatar_url text, level smallint, xp_total integer,
  xp_gained integer, movement integer, is_creator boolean, creator_tier smallint,
  recipes_cooked integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  dates record;
  mine public.xp_periods;
  kind text := case
    when p_around is not null then 'around'
    when p_friends_of is not null then 'friends'
    when p_country is not null then 'country'
    else 'global'
  end;
  many integer := least(greatest(coalesce(p_limit, 50), 1), 100);
  skipped integer := greatest(coalesce(p_offset, 0), 0);
  above integer;
begin
  select * into dates from public.period_dates(p_period);
  if kind = 'around' then
    select * into mine from public.xp_periods x
    where x.user_id = p_around and x.period = p_period and x.begins = dates.begins;
    if not found then
      return;
    end if;
    skipped := public.leaderboard_place(p_around, p_period) - 1;
    above := least(skipped, many / 2);
    skipped := skipped - above;
  end if;

  return query
  with friends as (
    select f.following_id as id from public.user_follows f
    where kind = 'friends' and f.follower_id = p_friends_of
    union
    select p_friends_of where kind = 'friends'
  ),
  -- Only the parts of one kind are run. The order is that of an index.
  page as (
    (
      select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
      where kind = 'global' and x.period = p_period and x.begins = dates.begins
      order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
      limit many offset skipped
    )
    union all
    (
      select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
      where kind = 'country' and x.period = p_period and x.begins = dates.begins
        and x.country = p_country
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
    union all
    (
      select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
      where kind = 'around' and x.period = p_period and x.begins = dates.begins
        and x.xp >= mine.xp and (
          x.xp > mine.xp
          or x.total_xp > mine.total_xp
          or x.total_xp = mine.total_xp
            and (x.reached_at, x.user_id) < (mine.reached_at, mine.user_id)
        )
      order by x.xp, x.total_xp, x.reached_at desc, x.user_id desc
      limit above
    )
    union all
    (
      select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
      where kind = 'around' and x.period = p_period and x.begins = dates.begins
        and x.xp <= mine.xp and (
          x.xp < mine.xp
          or x.total_xp < mine.total_xp
          or x.total_xp = mine.total_xp
            and (x.reached_at, x.user_id) >= (mine.reached_at, mine.user_id)
        )
      order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
      limit many - above
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
        where kind = 'global' and p_period <> 'allTime'
          and x.period = p_period and x.begins = dates.previous
        order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
        limit 1000
      )
      union all
      (
        select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
        where kind = 'country' and p_period <> 'allTime'
          and x.period = p_period and x.begins = dates.previous and x.country = p_country
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

revoke execute on function
  public.users_country(),
  public.xp_bucket_end(integer),
  public.count_xp_ranks(),
  public.compact_xp_ranks(),
  public.users_above_bucket(text, date, text, integer),
  public.leaderboard_place(uuid, text, uuid, text),
  public.get_leaderboard_data(text, integer, uuid, integer, text, uuid)
from public, anon, authenticated;
grant execute on function
  public.xp_bucket_end(integer),
  public.compact_xp_ranks(),
  public.users_above_bucket(text, date, text, integer),
  public.leaderboard_place(uuid, text, uuid, text),
  public.get_leaderboard_data(text, integer, uuid, integer, text, uuid)
to service_role;
