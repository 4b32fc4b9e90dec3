-- Achievements by their declared requirements, and the effect of an unlocked recipe.

-- The number of things of one kind that a user has done, counted up to p_target where rows are
-- counted. `p_metric` is a key of `achievements.requirements`; `confidence` is a condition on scans.
create function public.achievement_count(
  p_user_id uuid, p_metric text, p_requirements jsonb, p_target integer
) returns integer
language plpgsql stable set search_path = '' as $$
begin
  case p_metric
    when 'scans' then
      return (
        select count(*) from (
          select from public.ingredient_scans s
          where s.user_id = p_user_id and coalesce(s.confidence_score, 0)
            >= coalesce((p_requirements ->> 'confidence')::double precision, 0)
          limit p_target
        ) t
      );
    when 'distinct_ingredients' then
      return (
        select count(distinct lower(i.item ->> 'name'))
        from public.ingredient_scans s
        cross join lateral jsonb_array_elements(s.detected_ingredients) as i(item)
        where s.user_id = p_user_id
      );
    when 'recipes_generated' then
      return (
        select count(*) from (
          select from public.recipes r where r.created_by = p_user_id and r.is_generated
          limit p_target
        ) t
      );
    when 'recipes_completed' then
      return (
        select coalesce(sum(d.recipes_cooked), 0) from public.daily_cooks d
        where d.user_id = p_user_id
      );
    when 'cuisines' then
      return (
        select count(*) from (
          select lower(p.metadata ->> 'cuisine') from public.user_progress p
          where p.user_id = p_user_id and p.action = 'DISCOVER_NEW_CUISINE'
            and p.metadata ->> 'cuisine' is not null
          union
          select lower(r.cuisine)
          from public.recipe_completion_photos c join public.recipes r on r.id = c.recipe_id
          where c.user_id = p_user_id and r.cuisine is not null
        ) t
      );
    when 'streak_days' then
      return (
        select s.longest_streak from public.user_streaks s where s.user_id = p_user_id
      );
    when 'level' then
      return (select u.level from public.users u where u.id = p_user_id);
    when 'following' then
      return (
        select count(*) from (
          select from public.user_follows f where f.follower_id = p_user_id limit p_target
        ) t
      );
    when 'followers' then
      return (
        select count(*) from (
          select from public.user_follows f where f.following_id = p_user_id limit p_target
        ) t
      );
    when 'shares' then
      return (
        select count(*) from (
          select from public.user_progress p
          where p.user_id = p_user_id
            and (p.action = 'SHARE_RECIPE' or p.action like 'SOCIAL\_SHARE\_%')
          union all
          select from public.live_recipe_shares s where s.user_id = p_user_id
          limit p_target
        ) t
      );
    when 'five_star_ratings' then
      return (
        select count(*) from (
          select from public.recipe_ratings r where r.user_id = p_user_id and r.rating = 5
          limit p_target
        ) t
      );
    when 'mystery_boxes' then
      return (
        select count(*) from (
          select from public.mystery_boxes b where b.user_id = p_user_id limit p_target
        ) t
      );
    when 'joined_before' then
      return (
        select count(*) from public.users u
        where u.id = p_user_id and u.created_at
          < (p_requirements ->> 'joined_before')::timestamp at time zone 'UTC'
      );
    else
      return null;
  end case;
end
$$;

-- Counts towards the achievements that require one of the metrics, and unlocks the complete ones.
create function public.evaluate_achievements(p_user_id uuid, p_metrics text[]) returns void
language plpgsql security definer set search_path = '' as $$
declare
  goal record;
  reached integer;
begin
  for goal in
    select a.id, a.key, a.requirements, metric,
      case when metric = 'joined_before' then 1 else (a.requirements ->> metric)::integer end
        as target
    from public.achievements a
    join pg_catalog.unnest(p_metrics) as metric on a.requirements ? metric
    where a.is_active and not exists (
      select from public.user_achievements ua
      where ua.user_id = p_user_id and ua.achievement_id = a.id and ua.unlocked_at is not null
    )
    order by a.key
  loop
    reached := coalesce(
      public.achievement_count(p_user_id, goal.metric, goal.requirements, goal.target), 0
    );
    -- Followers of one user do not wait for each other to store progress.
    if reached > 0 and goal.metric <> 'followers' then
      insert into public.user_achievements as ua (user_id, achievement_id, progress)
      values (p_user_id, goal.id, least(reached, goal.target))
      on conflict (user_id, achievement_id) do update set progress = excluded.progress
      where ua.progress <> excluded.progress;
    end if;
    if reached >= goal.target then
      perform public.award_achievement(p_user_id, goal.key);
    end if;
  end loop;
end
$$;

-- After a write: the first argument is the column of the user, the others are metrics.
create function public.count_achievements() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  user_id uuid;
begin
  execute pg_catalog.format('select ($1).%I', tg_argv[0]) using new into user_id;
  if user_id is not null then
    perform public.evaluate_achievements(user_id, tg_argv[1:]);
  end if;
  return null;
end
$$;

create trigger count_achievements after insert on public.ingredient_scans
  for each row execute function public.count_achievements('user_id', 'scans', 'distinct_ingredients');
create trigger count_corrected_ingredients after update of detected_ingredients
  on public.ingredient_scans
  for each row execute function public.count_achievements('user_id', 'distinct_ingredients');
create trigger count_achievements after insert on public.recipes
  for each row when (new.is_generated)
  execute function public.count_achievements('created_by', 'recipes_generated');
create trigger count_achievements after insert or update of recipes_cooked on public.daily_cooks
  for each row when (new.recipes_cooked > 0)
  execute function public.count_achievements('user_id', 'recipes_completed');
create trigger count_achievements after insert on public.user_progress
  for each row when (
    new.action = 'SHARE_RECIPE' or new.action like 'SOCIAL\_SHARE\_%'
    or new.action = 'DISCOVER_NEW_CUISINE'
  )
  execute function public.count_achievements('user_id', 'shares', 'cuisines');
create trigger count_achievements after insert on public.live_recipe_shares
  for each row execute function public.count_achievements('user_id', 'shares');
create trigger count_achievements after insert on public.recipe_completion_photos
  for each row execute function public.count_achievements('user_id', 'cuisines');
create trigger count_following after insert on public.user_follows
  for each row execute function public.count_achievements('follower_id', 'following');
create trigger count_followers after insert on public.user_follows
  for each row execute function public.count_achievements('following_id', 'followers');
create trigger count_achievements after insert or update of rating on public.recipe_ratings
  for each row when (new.rating = 5)
  execute function public.count_achievements('user_id', 'five_star_ratings');
create trigger count_achievements after insert on public.mystery_boxes
  for each row execute function public.count_achievements('user_id', 'mystery_boxes');
create trigger count_achievements after insert on public.users
  for each row execute function public.count_achievements('id', 'joined_before');

do $$
begin
  perform public.evaluate_achievements(u.id, '{joined_before}')
  from public.users u where u.created_at < '2025-07-01';
end
$$;

revoke execute on function
  public.achievement_count(uuid, text, jsonb, integer),
  public.evaluate_achievements(uuid, text[]),
  public.count_achievements()
from public, anon, authenticated;
grant execute on function
  public.achievement_count(uuid, text, jsonb, integer),
  public.evaluate_achievements(uuid, text[])
to service_role;

-- An unlocked recipe is one more recipe in the UTC month of the box, beyond the limit of the tier.
alter table public.usage_counters
  drop constraint usage_counters_metric_check,
  add constraint usage_counters_metric_check
    check (metric in ('daily_scans', 'monthly_recipes', 'extra_recipes'));

create or replace function public.open_mystery_box(
  p_user_id uuid,
  p_scan_id uuid,
  p_rarity text default null,
  p_reward_type text default null,
  p_reward_value jsonb default null
) returns jsonb
language plpgsql set search_path = '' as $$
declare
  day_begins timestamptz := date_trunc('day', now() at time zone 'UTC') at time zone 'UTC';
begin
  perform public.hold_user(p_user_id);
  update public.ingredient_scans s set box_tried_at = now()
  where s.id = p_scan_id and s.user_id = p_user_id and s.created_at >= day_begins
    and s.box_tried_at is null;
  if not found or p_rarity is null or 3 <= (
    select count(*) from public.mystery_boxes b
    where b.user_id = p_user_id and b.opened_at >= day_begins
  ) then
    return pg_catalog.jsonb_build_object(
      'box_available', false, 'rarity', null, 'reward_type', null, 'reward_value', null
    );
  end if;
  insert into public.mystery_boxes (user_id, source_scan_id, rarity, reward_type, reward_value)
  values (p_user_id, p_scan_id, p_rarity, p_reward_type, p_reward_value);
  if p_reward_type = 'xp' then
    perform public.add_user_xp(
      p_user_id, (p_reward_value ->> 'amount')::integer, 'MYSTERY_BOX',
      pg_catalog.jsonb_build_object('scan_id', p_scan_id, 'rarity', p_rarity), 'box:' || p_scan_id
    );
  elsif p_reward_type = 'badge' then
    perform public.award_achievement(p_user_id, p_reward_value ->> 'id');
  elsif p_reward_type = 'recipe_unlock' then
    insert into public.usage_counters as c (user_id, metric, period_start, used)
    values (
      p_user_id, 'extra_recipes', date_trunc('month', now() at time zone 'UTC')::date,
      (p_reward_value ->> 'amount')::integer
    )
    on conflict (user_id, metric, period_start) do update set used = c.used + excluded.used;
  end if;
  return pg_catalog.jsonb_build_object(
    'box_available', true,
    'rarity', p_rarity,
    'reward_type', p_reward_type,
    'reward_value', p_reward_value
  );
end
$$;
