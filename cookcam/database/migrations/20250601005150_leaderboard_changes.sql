-- What the copy of the leaderboards in Redis is kept current from, and the parts of a page that it reads.

-- Users whose rows in `xp_periods` changed, by transaction. A reader that has applied a snapshot finds
-- the changes committed since then: those of transactions that are not visible in it. Of a deleted user
-- only the hash of the id is left, under which Redis has the user. Rows are deleted after an hour.
create table public.xp_changes (
  changed_in xid8 not null default pg_catalog.pg_current_xact_id(),
  user_id uuid,
  deleted_user_hash text,
  changed_at timestamptz not null default pg_catalog.clock_timestamp(),
  check (pg_catalog.num_nonnulls(user_id, deleted_user_hash) = 1)
);

create index xp_changes_by_transaction on public.xp_changes (changed_in) include (user_id, deleted_user_hash);

alter table public.xp_changes enable row level security;
revoke all on table public.xp_changes from anon, authenticated;
grant all on table public.xp_changes to service_role;

-- Rows of past periods are on no leaderboard.
create function public.log_xp_changes() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.xp_changes (user_id)
  select distinct c.user_id from changed c
  where c.period = 'allTime' or c.period <> 'yearly' and c.begins > current_date - 32;
  return null;
end
$$;

create trigger xp_periods_inserted after insert on public.xp_periods
  referencing new table as changed for each statement execute function public.log_xp_changes();
create trigger xp_periods_updated after update on public.xp_periods
  referencing new table as changed for each statement execute function public.log_xp_changes();
create trigger xp_periods_deleted after delete on public.xp_periods
  referencing old table as changed for each statement execute function public.log_xp_changes();

create function public.user_hash(p_user_id uuid) returns text
language sql immutable strict parallel safe set search_path = '' as $$
  select encode(sha256(uuid_send(p_user_id)), 'hex')
$$;

-- After the foreign keys have deleted the user's XP, which is logged with the id.
create function public.log_deleted_user() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.xp_changes c where c.user_id = old.id;
  insert into public.xp_changes (deleted_user_hash) values (public.user_hash(old.id));
  return null;
end
$$;

create trigger users_xp_deleted after delete on public.users
  for each row when (old.total_xp > 0) execute function public.log_deleted_user();

-- The rows of a page for users in the order of their places, the first of which is p_skipped + 1; p_xp
-- is their XP in the period. `movement` is the place in the previous period minus the place now; 0 for
-- users who had no place then, or one beyond the first thousand, and on a page around a user.
create function public.leaderboard_entries(
  p_period text, p_kind text, p_users uuid[], p_xp integer[], p_skipped integer,
  p_friends_of uuid default null, p_country text default null
) returns table (
  rank integer, user_id uuid, name text, avatar_url text, level smallint, xp_total integer,
  xp_gained integer, movement integer, is_creator boolean, creator_tier smallint,
  recipes_cooked integer
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  dates record;
begin
  select * into dates from public.period_dates(p_period);
  return query
  with placed as (
    select page.user_id, page.xp, (p_skipped + page.number)::integer as place
    from unnest(p_users, p_xp) with ordinality as page(user_id, xp, number)
  ),
  friends as (
    select f.following_id as id from public.user_follows f
    where p_kind = 'friends' and f.follower_id = p_friends_of
    union
    select p_friends_of where p_kind = 'friends'
  ),
  -- Only the part of one kind is run.
  earlier as (
    select
      b.user_id,
      (row_number() over (
        order by b.xp desc, b.total_xp desc, b.reached_at, b.user_id
      ))::integer as place
    from (
      (
        select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
        where p_kind = 'global' and p_period <> 'allTime'
          and x.period = p_period and x.begins = dates.previous
        order by x.xp desc, x.total_xp desc, x.reached_at, x.user_id
        limit 1000
      )
      union all
      (
        select x.user_id, x.xp, x.total_xp, x.reached_at from public.xp_periods x
        where p_kind = 'country' and p_period <> 'allTime'
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

-- As before, and deletes the changes that no reader asks for any more.
create or replace function public.compact_xp_ranks() returns integer
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
  delete from public.xp_changes c
  where c.changed_at < now() - interval '1 hour' and c.changed_in <= (
    select max(old.changed_in)
    from (select o.changed_in from public.xp_changes o order by o.changed_in limit 100000) as old
  );
  return written;
end
$$;

revoke execute on function
  public.log_xp_changes(),
  public.log_deleted_user(),
  public.user_hash(uuid),
  public.leaderboard_entries(text, text, uuid[], integer[], integer, uuid, text)
from public, anon, authenticated;
grant execute on function
  public.user_hash(uuid),
  public.leaderboard_entries(text, text, uuid[], integer[], integer, uuid, text)
to service_role;
