-- XP: levels, awards, achievements, leaderboards.

-- The total XP at which a level begins. Finishing level n takes 100 + 50n + 10n^2.
create function public.xp_threshold(p_level integer) returns integer
language sql immutable strict parallel safe set search_path = '' as $$
  select 100 * n + 25 * n * (n + 1) + 5 * n * (n + 1) * (2 * n + 1) / 3
  from (select greatest(p_level, 1) - 1 as n) as finished
$$;

create function public.level_for_xp(p_total_xp integer) returns smallint
language sql immutable strict parallel safe set search_path = '' as $$
  select coalesce(max(level), 1)::smallint
  from generate_series(1, 100) as level
  where public.xp_threshold(level) <= p_total_xp
$$;

-- Whoever changes a user's XP, streak or boxes holds the user's row first, so that two of them never
-- wait for each other in a circle. Raises P0002 for an unknown user.
create function public.hold_user(p_user_id uuid) returns public.users
language plpgsql set search_path = '' as $$
declare
  held public.users;
begin
  select * into held from public.users u where u.id = p_user_id for no key update;
  if not found then
    raise exception 'no such user' using errcode = 'P0002';
  end if;
  return held;
end
$$;

-- One award, in the caller's transaction. p_xp_amount counts for variable actions alone.
create function public.add_user_xp(
  p_user_id uuid,
  p_xp_amount integer,
  p_action text,
  p_metadata jsonb default '{}',
  p_idempotency_key text default null
) returns table (
  user_id uuid, xp_gained integer, old_xp integer, new_xp integer, old_level smallint,
  new_level smallint, level_up boolean, capped boolean, duplicate boolean
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  holder public.users;
  rule public.xp_actions;
  amount integer := 0;
  after_xp integer;
  after_level smallint;
  milestone integer;
begin
  holder := public.hold_user(p_user_id);
  select * into rule from public.xp_actions a where a.action = p_action;
  if not found then
    raise exception 'no such action' using errcode = '22023';
  end if;
  if rule.scope <> 'unlimited' and p_idempotency_key is null then
    raise exception 'action % needs an idempotency key', p_action using errcode = '22023';
  end if;

  duplicate := exists (
    select from public.user_progress p
    where p.user_id = p_user_id and p.idempotency_key = p_idempotency_key
  ) or rule.scope = 'once' and exists (
    select from public.user_progress p where p.user_id = p_user_id and p.action = p_action
  );
  capped := false;
  if not duplicate then
    amount := rule.xp_amount;
    if rule.is_variable then
      if p_xp_amount is null or p_xp_amount <= 0 then
        raise exception 'action % needs an amount', p_action using errcode = '22023';
      end if;
      amount := least(p_xp_amount, rule.xp_amount);
    end if;
    if amount > 0 and (rule.daily_limit is not null or rule.monthly_limit is not null) then
      select
        coalesce(count(*) filter (where p.created_at >= day.begins) >= rule.daily_limit, false)
        or coalesce(count(*) >= rule.monthly_limit, false)
      into capped
      from
        (select
          date_trunc('day', now() at time zone 'UTC') at time zone 'UTC' as begins,
          date_trunc('month', now() at time zone 'UTC') at time zone 'UTC' as month_begins
        ) as day,
        public.user_progress p
      where p.user_id = p_user_id and p.action = p_action
        and p.created_at >= case
          when rule.monthly_limit is null then day.begins else day.month_begins
        end;
      if capped then
        amount := 0;
      end if;
    end if;
  end if;

  after_xp := holder.total_xp + amount;
  -- A level never falls, also when the thresholds are some day others.
  after_level := greatest(holder.level, public.level_for_xp(after_xp));
  if amount > 0 then
    update public.users u set total_xp = after_xp, level = after_level where u.id = p_user_id;
    insert into public.user_progress (
      user_id, action, xp_gained, total_xp, old_level, new_level, metadata, idempotency_key
    )
    values (
      p_user_id, p_action, amount, after_xp, holder.level, after_level,
      coalesce(p_metadata, '{}'), p_idempotency_key
    );
    foreach milestone in array array[5, 10, 25, 50, 75, 100] loop
      if milestone > holder.level and milestone <= after_level then
        perform public.award_achievement(p_user_id, 'level_' || milestone);
      end if;
    end loop;
  end if;

  user_id := p_user_id;
  xp_gained := amount;
  old_xp := holder.total_xp;
  new_xp := after_xp;
  old_level := holder.level;
  new_level := case when amount > 0 then after_level else holder.level end;
  level_up := new_level > old_level;
  return next;
end
$$;

-- Unlocks an achievement and pays its reward, once. False when it was unlocked before, or retired.
create function public.award_achievement(p_user_id uuid, p_key text) returns boolean
language plpgsql set search_path = '' as $$
declare
  won public.achievements;
begin
  perform public.hold_user(p_user_id);
  select * into won from public.achievements a where a.key = p_key;
  if not found then
    raise exception 'no such achievement' using errcode = '22023';
  end if;
  if not won.is_active then
    return false;
  end if;
  insert into public.user_achievements as ua (user_id, achievement_id, unlocked_at)
  values (p_user_id, won.id, now())
  on conflict (user_id, achievement_id) do update set unlocked_at = excluded.unlocked_at
  where ua.unlocked_at is null;
  if not found then
    return false;
  end if;
  if won.xp_reward > 0 then
    perform public.add_user_xp(
      p_user_id, won.xp_reward, 'UNLOCK_ACHIEVEMENT',
      pg_catalog.jsonb_build_object('achievement', p_key), 'achievement:' || p_key
    );
  end if;
  return true;
end
$$;

-- Begin of the running period and of the one before, UTC; weeks begin on Monday. For allTime both
-- are before everything. Raises 22023 for any other word.
create function public.period_bounds(
  p_period text, out begins timestamptz, out previous_begins timestamptz
)
language plpgsql stable set search_path = '' as $$
declare
  unit text := case p_period
    when 'daily' then 'day'
    when 'weekly' then 'week'
    when 'monthly' then 'month'
    when 'yearly' then 'year'
  end;
  today timestamp := now() at time zone 'UTC';
begin
  if unit is not null then
    begins := date_trunc(unit, today) at time zone 'UTC';
    previous_begins := (date_trunc(unit, today) - ('1 ' || unit)::interval) at time zone 'UTC';
  elsif p_period = 'allTime' then
    begins := '-infinity';
    previous_begins := '-infinity';
  else
    raise exception 'no such period' using errcode = '22023';
  end if;
end
$$;

create function public.get_leaderboard_data(
  p_period text default 'weekly', p_limit integer default 50, p_friends_of uuid default null
) returns table (
  rank integer, user_id uuid, name text, avatar_url text, level smallint, xp_total integer,
  xp_gained integer, movement integer, is_creator boolean, creator_tier smallint
)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  period record;
  many integer := least(greatest(coalesce(p_limit, 50), 1), 100);
begin
  select * into period from public.period_bounds(p_period);

  if p_period = 'allTime' then
    return query
    with shown as (
      -- The ties at the end come along: who of them is shown is decided by time, below.
      select u.*
      from public.users u
      where u.total_xp > 0
        and (
          p_friends_of is null
          or u.id = p_friends_of
          or u.id in (
            select f.following_id from public.user_follows f where f.follower_id = p_friends_of
          )
        )
      order by u.total_xp desc
      fetch first many rows with ties
    )
    select
      (row_number() over (order by s.total_xp desc, latest.at, s.id))::integer,
      s.id, s.name, s.avatar_url, s.level, s.total_xp, s.total_xp, 0, s.is_creator, s.creator_tier
    from shown s
    left join lateral (
      select max(p.created_at) as at from public.user_progress p where p.user_id = s.id
    ) as latest on true
    order by 1
    limit many;
    return;
  end if;

  return query
  with awards as materialized (
    select
      p.user_id,
      p.created_at >= period.begins as is_current,
      sum(p.xp_gained)::integer as gained,
      max(p.created_at) as latest
    from public.user_progress p
    where p.created_at >= period.previous_begins
      and (
        p_friends_of is null
        or p.user_id = p_friends_of
        or p.user_id in (
          select f.following_id from public.user_follows f where f.follower_id = p_friends_of
        )
      )
    group by 1, 2
  ),
  ranked as (
    select
      a.user_id,
      a.is_current,
      a.gained,
      row_number() over (
        partition by a.is_current order by a.gained desc, u.total_xp desc, a.latest, a.user_id
      )::integer as place
    from awards a join public.users u on u.id = a.user_id
  )
  select
    r.place, u.id, u.name, u.avatar_url, u.level, u.total_xp, r.gained,
    coalesce(before.place - r.place, 0), u.is_creator, u.creator_tier
  from ranked r
  join public.users u on u.id = r.user_id
  left join ranked before on before.user_id = r.user_id and not before.is_current
  where r.is_current and r.place <= many
  order by r.place;
end
$$;

-- total_users counts those who have a rank: people with XP in the period.
create function public.get_user_rank(p_user_id uuid, p_period text default 'weekly')
returns table (user_rank integer, total_users integer, user_xp integer, period_xp integer)
language plpgsql stable set search_path = '' as $$
#variable_conflict use_column
declare
  period record;
begin
  select * into period from public.period_bounds(p_period);

  if p_period = 'allTime' then
    return query
    select
      case when me.total_xp > 0 then
        1 + (select count(*) from public.users u where u.total_xp > me.total_xp)::integer
      end,
      (select count(*) from public.users u where u.total_xp > 0)::integer,
      me.total_xp,
      me.total_xp
    from public.users me
    where me.id = p_user_id;
    return;
  end if;

  return query
  with awards as materialized (
    select p.user_id, sum(p.xp_gained)::integer as gained
    from public.user_progress p
    where p.created_at >= period.begins
    group by 1
  )
  select
    case when mine.gained is not null then
      1 + (select count(*) from awards a where a.gained > mine.gained)::integer
    end,
    (select count(*) from awards)::integer,
    me.total_xp,
    coalesce(mine.gained, 0)
  from public.users me
  left join awards mine on mine.user_id = me.id
  where me.id = p_user_id;
end
$$;

revoke execute on function
  public.xp_threshold(integer),
  public.level_for_xp(integer),
  public.hold_user(uuid),
  public.add_user_xp(uuid, integer, text, jsonb, text),
  public.award_achievement(uuid, text),
  public.period_bounds(text),
  public.get_leaderboard_data(text, integer, uuid),
  public.get_user_rank(uuid, text)
from public, anon, authenticated;
grant execute on function
  public.xp_threshold(integer),
  public.level_for_xp(integer),
  public.hold_user(uuid),
  public.add_user_xp(uuid, integer, text, jsonb, text),
  public.award_achievement(uuid, text),
  public.period_bounds(text),
  public.get_leaderboard_data(text, integer, uuid),
  public.get_user_rank(uuid, text)
to service_role;
-- The app may ask for these two itself: they tell nothing of anybody.
grant execute on function public.xp_threshold(integer), public.level_for_xp(integer)
  to authenticated;
