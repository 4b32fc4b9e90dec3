-- Streaks: days on which a user cooked, one after the other, and the tokens that bridge a gap.

-- Today where the user is; UTC where the stored zone is none.
create function public.today_in(p_timezone text) returns date
language plpgsql stable set search_path = '' as $$
begin
  return (now() at time zone p_timezone)::date;
exception
  when invalid_parameter_value then
    return (now() at time zone 'UTC')::date;
end
$$;

-- For functions that the app calls itself, and that run with more rights than the caller has.
-- Without any claims the caller is the server or the owner. Raises 42501.
create function public.require_own(p_user_id uuid) returns void
language plpgsql stable set search_path = '' as $$
begin
  if coalesce(auth.jwt(), '{}') <> '{}'
    and coalesce(auth.role(), '') <> 'service_role'
    and auth.uid() is distinct from p_user_id
  then
    raise exception 'not your own' using errcode = '42501';
  end if;
end
$$;

-- Whether every day between the two, both excluded, was frozen; so it is when there is none.
create function public.all_frozen(p_user_id uuid, p_after date, p_before date) returns boolean
language sql stable set search_path = '' as $$
  select count(*) = greatest(p_before - p_after - 1, 0)
  from public.daily_cooks d
  where d.user_id = p_user_id and d.freeze_used
    and d.cook_date > p_after and d.cook_date < p_before
$$;

create function public.record_cook(p_user_id uuid) returns jsonb
language plpgsql set search_path = '' as $$
declare
  holder public.users;
  streak public.user_streaks;
  today date;
  earned integer;
  days integer;
begin
  holder := public.hold_user(p_user_id);
  today := public.today_in(holder.timezone);
  insert into public.user_streaks (user_id) values (p_user_id) on conflict do nothing;
  select * into streak from public.user_streaks s where s.user_id = p_user_id for update;

  insert into public.daily_cooks as d (user_id, cook_date) values (p_user_id, today)
  on conflict (user_id, cook_date) do update set recipes_cooked = d.recipes_cooked + 1;
  -- A later day than today: the user has travelled west since.
  if streak.last_cook_date >= today then
    return pg_catalog.jsonb_build_object(
      'current_streak', streak.current_streak,
      'longest_streak', streak.longest_streak,
      'already_cooked_today', true
    );
  end if;

  days := case
    when public.all_frozen(p_user_id, streak.last_cook_date, today)
      and streak.last_cook_date is not null
    then streak.current_streak + 1
    else 1
  end;
  update public.user_streaks s set
    current_streak = days,
    longest_streak = greatest(s.longest_streak, days),
    last_cook_date = today,
    total_freeze_tokens = s.total_freeze_tokens + case when days % 7 = 0 then 1 else 0 end
  where s.user_id = p_user_id
  returning * into streak;

  perform public.add_user_xp(
    p_user_id, least(2 * days, 50), 'DAILY_STREAK_BONUS',
    pg_catalog.jsonb_build_object('streak', days), 'streak:' || today
  );
  if days in (7, 30, 100) then
    perform public.add_user_xp(
      p_user_id, null,
      case days when 7 then 'WEEK' when 30 then 'MONTH' else 'CENTURY' end || '_STREAK_BONUS',
      pg_catalog.jsonb_build_object('streak', days), 'streak_' || days || ':' || today
    );
    perform public.award_achievement(p_user_id, 'streak_' || days);
  end if;
  -- The row was held from the beginning, so the difference is what this cook brought.
  select u.total_xp - holder.total_xp into earned from public.users u where u.id = p_user_id;
  update public.daily_cooks d set xp_earned = d.xp_earned + earned
  where d.user_id = p_user_id and d.cook_date = today;

  return pg_catalog.jsonb_build_object(
    'current_streak', streak.current_streak,
    'longest_streak', streak.longest_streak,
    'already_cooked_today', false
  );
end
$$;

create function public.update_user_streak(p_user_id uuid) returns void
language plpgsql security definer set search_path = '' as $$
begin
  perform public.require_own(p_user_id);
  perform public.record_cook(p_user_id);
end
$$;

-- Freezes yesterday, where that keeps a living streak alive. False where it would not, or there is
-- no token left; nothing is spent then.
create function public.use_freeze_token(p_user_id uuid, p_date date) returns boolean
language plpgsql security definer set search_path = '' as $$
declare
  holder public.users;
  streak public.user_streaks;
begin
  perform public.require_own(p_user_id);
  holder := public.hold_user(p_user_id);
  select * into streak from public.user_streaks s where s.user_id = p_user_id for update;
  if not found
    or p_date is distinct from public.today_in(holder.timezone) - 1
    or streak.current_streak = 0
    or streak.last_cook_date is null
    or streak.last_cook_date >= p_date
    or not public.all_frozen(p_user_id, streak.last_cook_date, p_date)
    or streak.freeze_tokens_used >= streak.total_freeze_tokens
  then
    return false;
  end if;
  insert into public.daily_cooks (user_id, cook_date, recipes_cooked, freeze_used)
  values (p_user_id, p_date, 0, true)
  on conflict (user_id, cook_date) do nothing;
  if not found then
    return false;
  end if;
  update public.user_streaks s set freeze_tokens_used = s.freeze_tokens_used + 1
  where s.user_id = p_user_id;
  return true;
end
$$;

-- How the streak stands, without changing anything. Nothing was lost yet while only today is open.
create function public.check_user_streak(p_user_id uuid) returns jsonb
language plpgsql stable set search_path = '' as $$
declare
  answer jsonb;
begin
  select pg_catalog.jsonb_build_object(
    'current_streak', case
      when s.last_cook_date >= day.today
        or public.all_frozen(u.id, s.last_cook_date, day.today)
      then coalesce(s.current_streak, 0) else 0
    end,
    'longest_streak', coalesce(s.longest_streak, 0),
    'checked_in_today', coalesce(s.last_cook_date >= day.today, false),
    'last_check_in', s.last_cook_date,
    'streak_shields', coalesce(s.total_freeze_tokens - s.freeze_tokens_used, u.streak_shields)
  )
  into answer
  from public.users u
  cross join lateral public.today_in(u.timezone) as day(today)
  left join public.user_streaks s on s.user_id = u.id
  where u.id = p_user_id;
  if answer is null then
    raise exception 'no such user' using errcode = 'P0002';
  end if;
  return answer;
end
$$;

revoke execute on function
  public.today_in(text),
  public.require_own(uuid),
  public.all_frozen(uuid, date, date),
  public.record_cook(uuid),
  public.update_user_streak(uuid),
  public.use_freeze_token(uuid, date),
  public.check_user_streak(uuid)
from public, anon, authenticated;
grant execute on function
  public.today_in(text),
  public.require_own(uuid),
  public.all_frozen(uuid, date, date),
  public.record_cook(uuid),
  public.update_user_streak(uuid),
  public.use_freeze_token(uuid, date),
  public.check_user_streak(uuid)
to service_role;
grant execute on function public.update_user_streak(uuid), public.use_freeze_token(uuid, date)
  to authenticated;
