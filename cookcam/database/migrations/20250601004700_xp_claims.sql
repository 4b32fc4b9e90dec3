-- XP that the app claims, and a cook of the day with what it earned.

-- The achievements that the current transaction unlocked.
create function public.badges_unlocked_now(p_user_id uuid) returns jsonb
language sql stable set search_path = '' as $$
  select coalesce(
    pg_catalog.jsonb_agg(
      pg_catalog.jsonb_build_object('key', a.key, 'name', a.name, 'points', a.xp_reward)
      order by a.key
    ),
    '[]'
  )
  from public.user_achievements ua join public.achievements a on a.id = ua.achievement_id
  where ua.user_id = p_user_id and ua.unlocked_at = now()
$$;

-- Seven check-ins since the last weekly bonus, or since the first. A check-in counts once a day.
create function public.weekly_bonus_is_due(p_user_id uuid) returns boolean
language sql stable set search_path = '' as $$
  select count(*) >= 7
  from public.user_progress p
  where p.user_id = p_user_id and p.action = 'DAILY_CHECK_IN' and p.created_at > coalesce(
    (
      select max(b.created_at) from public.user_progress b
      where b.user_id = p_user_id and b.action = 'WEEKLY_CHECK_IN_BONUS'
    ),
    '-infinity'
  )
$$;

-- An award that the app asks for. Actions that the server awards itself earn nothing here: they are
-- `capped`, as is the weekly bonus before it is due. Returns no row for an unknown action.
create function public.claim_user_xp(
  p_user_id uuid, p_action text, p_metadata jsonb default '{}', p_idempotency_key text default null
) returns table (
  user_id uuid, xp_gained integer, old_xp integer, new_xp integer, old_level smallint,
  new_level smallint, level_up boolean, capped boolean, duplicate boolean, badges jsonb
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  holder public.users;
  source text;
begin
  select a.source into source from public.xp_actions a where a.action = p_action;
  if not found then
    return;
  end if;
  holder := public.hold_user(p_user_id);
  if source <> 'client'
    or p_action = 'WEEKLY_CHECK_IN_BONUS' and not public.weekly_bonus_is_due(p_user_id)
  then
    return query select
      p_user_id, 0, holder.total_xp, holder.total_xp, holder.level, holder.level, false, true,
      false, '[]'::jsonb;
    return;
  end if;
  select
    award.user_id, award.xp_gained, award.old_xp, award.new_xp, award.old_level, award.new_level,
    award.level_up, award.capped, award.duplicate
  into user_id, xp_gained, old_xp, new_xp, old_level, new_level, level_up, capped, duplicate
  from public.add_user_xp(p_user_id, null, p_action, p_metadata, p_idempotency_key) as award;
  badges := public.badges_unlocked_now(p_user_id);
  return next;
end
$$;

-- `record_cook` as one award: the XP of the streak and of its milestones together. `duplicate` is
-- true for a further cook on the same day, which only counts the recipe.
create function public.cook_today(p_user_id uuid) returns table (
  user_id uuid, xp_gained integer, old_xp integer, new_xp integer, old_level smallint,
  new_level smallint, level_up boolean, capped boolean, duplicate boolean, badges jsonb,
  streak jsonb
)
language plpgsql set search_path = '' as $$
#variable_conflict use_column
declare
  before public.users;
  after public.users;
  cook jsonb;
begin
  before := public.hold_user(p_user_id);
  cook := public.record_cook(p_user_id);
  select * into after from public.users u where u.id = p_user_id;
  return query select
    p_user_id, after.total_xp - before.total_xp, before.total_xp, after.total_xp, before.level,
    after.level, after.level > before.level, false, (cook ->> 'already_cooked_today')::boolean,
    public.badges_unlocked_now(p_user_id), public.check_user_streak(p_user_id);
end
$$;

revoke execute on function
  public.badges_unlocked_now(uuid),
  public.weekly_bonus_is_due(uuid),
  public.claim_user_xp(uuid, text, jsonb, text),
  public.cook_today(uuid)
from public, anon, authenticated;
grant execute on function
  public.badges_unlocked_now(uuid),
  public.weekly_bonus_is_due(uuid),
  public.claim_user_xp(uuid, text, jsonb, text),
  public.cook_today(uuid)
to service_role;
