-- A place costs the same when a hundred thousand users have the same XP: few XP are counted together
-- with the lifetime XP, which decides among them.

-- Where a user is counted in `xp_rank_counts`. Below 32 XP: the XP, and a bucket of the lifetime XP,
-- 32 for each doubling. From 32 XP on: the bucket of the XP.
create function public.xp_rank_bucket(p_xp integer, p_bucket integer, p_total_xp integer)
returns integer
language sql immutable strict parallel safe set search_path = '' as $$
  select case
    when p_xp >= 32 then 32 * 1024 + p_bucket
    when p_total_xp < 32 then p_xp * 1024 + greatest(p_total_xp, 0)
    else p_xp * 1024 + 32 * (size.bits - 5) + ((p_total_xp >> (size.bits - 6)) & 31)
  end
  from (select length(ltrim(p_total_xp::bit(32)::text, '0')) as bits) as size
$$;

create or replace function public.count_xp_ranks() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    insert into public.xp_rank_counts (period, begins, scope, bucket, users)
    select old.period, old.begins, scope,
      public.xp_rank_bucket(old.xp, old.bucket, old.total_xp), -1
    from pg_catalog.unnest(array['', old.country]) as scope where scope is not null;
  end if;
  if tg_op <> 'DELETE' then
    insert into public.xp_rank_counts (period, begins, scope, bucket, users)
    select new.period, new.begins, scope,
      public.xp_rank_bucket(new.xp, new.bucket, new.total_xp), 1
    from pg_catalog.unnest(array['', new.country]) as scope where scope is not null;
  end if;
  return null;
end
$$;

drop trigger xp_periods_recount on public.xp_periods;
create trigger xp_periods_recount after update on public.xp_periods
  for each row when (
    new.bucket <> old.bucket or new.country is distinct from old.country
    or new.xp < 32 and new.total_xp <> old.total_xp
  )
  execute function public.count_xp_ranks();

lock table public.xp_periods in share row exclusive mode;
delete from public.xp_rank_counts;
insert into public.xp_rank_counts (period, begins, scope, bucket, users)
select x.period, x.begins, scope, public.xp_rank_bucket(x.xp, x.bucket, x.total_xp), count(*)
from public.xp_periods x, pg_catalog.unnest(array['', x.country]) as scope
where scope is not null and (
  x.period in ('yearly', 'allTime') or x.begins > current_date - 62
)
group by 1, 2, 3, 4;

-- The place of a user on a leaderboard, among friends, in a country or of all; null without XP in the
-- period, and for a user of another country.
create or replace function public.leaderboard_place(
  p_user_id uuid, p_period text default 'weekly', p_friends_of uuid default null,
  p_country text default null
) returns integer
language plpgsql stable set search_path = '' as $$
declare
  dates record;
  mine public.xp_periods;
  total_end bigint;
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
  -- The users above in the same bucket, each range of an index by itself.
  total_end := case when mine.xp < 32 then public.xp_bucket_end(mine.total_xp) else 2::bigint ^ 31 end;
  return 1
    + public.users_above_bucket(
      p_period, dates.begins, coalesce(p_country, ''),
      public.xp_rank_bucket(mine.xp, mine.bucket, mine.total_xp)
    )
    + (
      select count(*) from public.xp_periods x
      where x.period = p_period and x.begins = dates.begins
        and (p_country is null or x.country = p_country)
        and x.xp > mine.xp and x.xp < public.xp_bucket_end(mine.xp)
    )
    + (
      select count(*) from public.xp_periods x
      where x.period = p_period and x.begins = dates.begins
        and (p_country is null or x.country = p_country)
        and x.xp = mine.xp and x.total_xp > mine.total_xp and x.total_xp < total_end
    )
    + (
      select count(*) from public.xp_periods x
      where x.period = p_period and x.begins = dates.begins
        and (p_country is null or x.country = p_country)
        and x.xp = mine.xp and x.total_xp = mine.total_xp
        and (x.reached_at, x.user_id) < (mine.reached_at, mine.user_id)
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
      (1 + public.users_above_bucket(
        p_period, dates.begins, '',
        case when mine.xp < 32 then mine.xp * 1024 + 1023 else 32 * 1024 + mine.bucket end
      ) + (
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

-- A page of a leaderboard: of all users, among p_friends_of and the users they follow, in a country,
-- or of all users around p_around.
create or replace function public.get_leaderboard_data(
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
  users uuid[];
  xps integer[];
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
    -- Around a user, each range of an index by itself: users with the same XP are not read through.
    union all
    (
      select ahead.* from (
        (
          select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
          where kind = 'around' and x.period = p_period and x.begins = dates.begins
            and x.xp = mine.xp and x.total_xp = mine.total_xp
            and (x.reached_at, x.user_id) < (mine.reached_at, mine.user_id)
          order by x.reached_at desc, x.user_id desc
          limit above
        )
        union all
        (
          select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
          where kind = 'around' and x.period = p_period and x.begins = dates.begins
            and x.xp = mine.xp and x.total_xp > mine.total_xp
          order by x.total_xp, x.reached_at desc, x.user_id desc
          limit above
        )
        union all
        (
          select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
          where kind = 'around' and x.period = p_period and x.begins = dates.begins
            and x.xp > mine.xp
          order by x.xp, x.total_xp, x.reached_at desc, x.user_id desc
          limit above
        )
      ) as ahead
      order by ahead.xp, ahead.total_xp, ahead.reached_at desc, ahead.user_id desc
      limit above
    )
    union all
    (
      select behind.* from (
        (
          select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
          where kind = 'around' and x.period = p_period and x.begins = dates.begins
            and x.xp = mine.xp and x.total_xp = mine.total_xp
            and (x.reached_at, x.user_id) >= (mine.reached_at, mine.user_id)
          order by x.reached_at, x.user_id
          limit many - above
        )
        union all
        (
          select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
          where kind = 'around' and x.period = p_period and x.begins = dates.begins
            and x.xp = mine.xp and x.total_xp < mine.total_xp
          order by x.total_xp desc, x.reached_at, x.user_id
          limit many - above
        )
        union all
        (
          select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
          where kind = 'around' and x.period = p_period and x.begins = dates.begins
            and x.xp < mine.xp
          order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
          limit many - above
        )
      ) as behind
      order by behind.xp desc, behind.total_xp desc, behind.reached_at, behind.user_id
      limit many - above
    )
  )
  select
    array_agg(g.user_id order by g.xp desc, g.total_xp desc, g.reached_at, g.user_id),
    array_agg(g.xp order by g.xp desc, g.total_xp desc, g.reached_at, g.user_id)
  into users, xps
  from page g;

  return query select * from public.leaderboard_entries(
    p_period, kind, users, xps, skipped, p_friends_of, p_country
  );
end
$$;

revoke execute on function public.xp_rank_bucket(integer, integer, integer)
from public, anon, authenticated;
grant execute on function public.xp_rank_bucket(integer, integer, integer) to service_role;
