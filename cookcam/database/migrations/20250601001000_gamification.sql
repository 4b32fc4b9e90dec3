-- XP, streaks and achievements: what is counted, what it is worth, and who has it.

-- What an action is worth. The client never names an amount: the catalogue does.
create table public.xp_actions (
  action text primary key,
  xp_amount integer not null check (xp_amount >= 0),
  is_variable boolean not null default false,
  source text not null check (source in ('server', 'client', 'hint')),
  scope text not null default 'unlimited' check (scope in ('unlimited', 'per_subject', 'once')),
  daily_limit smallint check (daily_limit > 0),
  monthly_limit smallint check (monthly_limit > 0)
);

insert into public.xp_actions
  (action, xp_amount, is_variable, source, scope, daily_limit, monthly_limit)
values
  ('ingredient_scan', 10, false, 'server', 'per_subject', 20, null),
  ('image_scan_analysis', 15, false, 'server', 'per_subject', 20, null),
  ('recipe_suggestions_generated', 20, false, 'server', 'per_subject', 10, null),
  ('recipe_previews_generated', 15, false, 'server', 'per_subject', 10, null),
  ('diverse_recipes_generated', 30, false, 'server', 'per_subject', 10, null),
  ('detailed_recipe_generated', 50, false, 'server', 'per_subject', 10, null),
  ('full_recipe_generated', 100, false, 'server', 'per_subject', 5, null),
  ('RECIPE_COMPLETION_PHOTO', 75, false, 'server', 'per_subject', 10, null),
  ('recipe_favorited', 10, false, 'server', 'per_subject', null, null),
  ('BECOME_CREATOR', 500, false, 'server', 'once', null, null),
  ('DAILY_STREAK_BONUS', 50, true, 'server', 'per_subject', 1, null),
  ('WEEK_STREAK_BONUS', 50, false, 'server', 'per_subject', null, null),
  ('MONTH_STREAK_BONUS', 200, false, 'server', 'per_subject', null, null),
  ('CENTURY_STREAK_BONUS', 500, false, 'server', 'per_subject', null, null),
  ('MYSTERY_BOX', 1000, true, 'server', 'per_subject', null, null),
  ('UNLOCK_ACHIEVEMENT', 1000, true, 'server', 'per_subject', null, null),
  ('PHOTO_LIKE_RECEIVED', 3, false, 'server', 'per_subject', 20, null),
  ('PHOTO_COMMENT_RECEIVED', 8, false, 'server', 'per_subject', 20, null),
  ('RECEIVE_RATING', 10, false, 'server', 'per_subject', 20, null),
  ('RECEIVE_5_STAR', 25, false, 'server', 'per_subject', 20, null),
  ('RECIPE_FEATURED', 500, false, 'server', 'per_subject', null, null),
  ('VIRAL_PHOTO', 1000, false, 'server', 'per_subject', null, null),
  ('COMMUNITY_CHOICE_AWARD', 750, false, 'server', 'per_subject', null, null),
  ('MONTHLY_CREATOR_BONUS', 500, false, 'server', 'per_subject', null, null),
  ('WEEKLY_PHOTO_STREAK', 150, false, 'server', 'per_subject', null, null),
  ('SOCIAL_SHARE_VERIFIED', 100, false, 'server', 'per_subject', null, null),
  ('FIRST_CREATOR_RECIPE', 100, false, 'server', 'once', null, null),
  ('CREATOR_MILESTONE_100_FOLLOWERS', 250, false, 'server', 'once', null, null),
  ('CREATOR_MILESTONE_1K_FOLLOWERS', 1000, false, 'server', 'once', null, null),
  ('CREATOR_MILESTONE_10K_FOLLOWERS', 5000, false, 'server', 'once', null, null),
  ('COMPLETE_RECIPE', 75, false, 'client', 'unlimited', 5, null),
  ('FIRST_RECIPE_OF_DAY', 50, false, 'client', 'unlimited', 1, null),
  ('CREATE_RECIPE', 100, false, 'client', 'unlimited', 5, null),
  ('STEP_COMPLETE', 5, false, 'client', 'unlimited', 40, null),
  ('ADD_REAL_INGREDIENT', 5, false, 'client', 'unlimited', 10, null),
  ('APPLY_FILTERS', 5, false, 'client', 'unlimited', 3, null),
  ('COMPLETE_PREFERENCES', 20, false, 'client', 'unlimited', 1, null),
  ('DAILY_DISCOVERY_BONUS', 40, false, 'client', 'unlimited', 1, null),
  ('DAILY_CHECK_IN', 5, false, 'client', 'unlimited', 1, null),
  ('WEEKLY_CHECK_IN_BONUS', 50, false, 'client', 'unlimited', 1, null),
  ('DISCOVER_NEW_CUISINE', 10, false, 'client', 'unlimited', 10, null),
  ('JOIN_COMPETITION', 20, false, 'client', 'unlimited', 1, null),
  ('CLAIM_RECIPE', 200, false, 'client', 'unlimited', 5, 120),
  ('SHARE_RECIPE', 50, false, 'client', 'unlimited', 5, null),
  ('SAVE_RECIPE', 15, false, 'client', 'unlimited', 10, null),
  ('SUBMIT_RATING', 15, false, 'client', 'unlimited', 10, null),
  ('HELPFUL_REVIEW', 30, false, 'client', 'unlimited', 5, null),
  ('RECIPE_PROCESS_PHOTO', 40, false, 'client', 'unlimited', 10, null),
  ('PROCESS_PHOTO', 40, false, 'client', 'unlimited', 10, null),
  ('RECIPE_INGREDIENT_PHOTO', 25, false, 'client', 'unlimited', 10, null),
  ('INGREDIENTS_PHOTO', 25, false, 'client', 'unlimited', 10, null),
  ('SOCIAL_SHARE_INSTAGRAM', 60, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_FACEBOOK', 50, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_TWITTER', 45, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_TIKTOK', 80, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_PINTEREST', 55, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_WHATSAPP', 35, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_COPY', 25, false, 'client', 'unlimited', 5, null),
  ('SOCIAL_SHARE_COPY_LINK', 25, false, 'client', 'unlimited', 5, null),
  ('SCAN_INGREDIENTS', 0, false, 'hint', 'unlimited', null, null),
  ('SUCCESSFUL_SCAN', 0, false, 'hint', 'unlimited', null, null),
  ('COMPLETION_PHOTO', 0, false, 'hint', 'unlimited', null, null),
  ('LEVEL_UP', 0, false, 'hint', 'unlimited', null, null),
  ('STREAK_BONUS', 0, false, 'hint', 'unlimited', null, null),
  ('RECIPE_VIEW', 0, false, 'hint', 'unlimited', null, null);

-- The ledger: append only, one row for each award.
create table public.user_progress (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  action text not null,
  xp_gained integer not null check (xp_gained > 0),
  total_xp integer not null check (total_xp >= 0),
  old_level smallint not null,
  new_level smallint not null,
  metadata jsonb not null default '{}' check (pg_catalog.jsonb_typeof(metadata) = 'object'),
  idempotency_key text,
  created_at timestamptz not null default pg_catalog.now(),
  check (new_level >= old_level)
);

create unique index user_progress_once on public.user_progress (user_id, idempotency_key)
  where idempotency_key is not null;
create index user_progress_of_user on public.user_progress (user_id, created_at desc);
create index user_progress_by_time on public.user_progress (created_at)
  include (user_id, xp_gained);

create table public.user_streaks (
  user_id uuid primary key references public.users (id) on delete cascade,
  current_streak integer not null default 0 check (current_streak >= 0),
  longest_streak integer not null default 0 check (longest_streak >= 0),
  last_cook_date date,
  freeze_tokens_used integer not null default 0 check (freeze_tokens_used >= 0),
  total_freeze_tokens integer not null default 3 check (total_freeze_tokens >= 0),
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now(),
  check (longest_streak >= current_streak),
  check (freeze_tokens_used <= total_freeze_tokens)
);

create trigger set_updated_at before update on public.user_streaks
  for each row execute function public.set_updated_at();

-- The profile shows the streak too.
create function public.user_streaks_mirror() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.users set
    streak_current = new.current_streak,
    streak_shields = new.total_freeze_tokens - new.freeze_tokens_used
  where id = new.user_id;
  return null;
end
$$;

create trigger user_streaks_mirror after insert or update on public.user_streaks
  for each row execute function public.user_streaks_mirror();

-- A sign-up makes the streak along with the profile.
create or replace function public.on_auth_user_created() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.users (id, email, name)
  values (new.id, new.email, public.initial_name(new.raw_user_meta_data, new.email))
  on conflict do nothing;
  insert into public.user_streaks (user_id) values (new.id) on conflict do nothing;
  return new;
end
$$;

insert into public.user_streaks (user_id)
select u.id from public.users u
on conflict do nothing;

create table public.daily_cooks (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  cook_date date not null,
  recipes_cooked integer not null default 1 check (recipes_cooked >= 0),
  xp_earned integer not null default 0 check (xp_earned >= 0),
  freeze_used boolean not null default false,
  created_at timestamptz not null default pg_catalog.now(),
  unique (user_id, cook_date)
);

create table public.achievements (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  key text not null unique,
  name text not null,
  category text not null
    check (category in ('scanning', 'recipes', 'streaks', 'social', 'progression', 'special')),
  description text,
  icon text,
  rarity text not null default 'common'
    check (rarity in ('common', 'uncommon', 'rare', 'legendary')),
  xp_reward integer not null default 0 check (xp_reward >= 0),
  requirements jsonb not null check (pg_catalog.jsonb_typeof(requirements) = 'object'),
  is_active boolean not null default true,
  created_at timestamptz not null default pg_catalog.now()
);

insert into public.achievements (key, name, category, description, rarity, xp_reward, requirements)
values
  ('first_scan', 'First Scan', 'scanning', 'Scan your first ingredients', 'common', 50,
   '{"scans": 1}'),
  ('scan_master_10', 'Scan Master', 'scanning', 'Scan ten times', 'uncommon', 100,
   '{"scans": 10}'),
  ('ai_whisperer', 'AI Whisperer', 'scanning', 'Make five scans with 95% confidence', 'uncommon',
   150, '{"scans": 5, "confidence": 0.95}'),
  ('ingredient_hunter_50', 'Ingredient Hunter', 'scanning', 'Find 50 different ingredients',
   'rare', 200, '{"distinct_ingredients": 50}'),
  ('first_recipe', 'First Recipe', 'recipes', 'Generate your first recipe', 'common', 75,
   '{"recipes_generated": 1}'),
  ('recipe_creator_25', 'Recipe Creator', 'recipes', 'Generate 25 recipes', 'rare', 250,
   '{"recipes_generated": 25}'),
  ('cuisine_explorer', 'Cuisine Explorer', 'recipes', 'Cook from ten cuisines', 'rare', 300,
   '{"cuisines": 10}'),
  ('recipes_10', 'Home Cook', 'recipes', 'Complete ten recipes', 'common', 0,
   '{"recipes_completed": 10}'),
  ('recipes_50', 'Seasoned Cook', 'recipes', 'Complete 50 recipes', 'uncommon', 0,
   '{"recipes_completed": 50}'),
  ('master_chef', 'Master Chef', 'recipes', 'Complete 100 recipes', 'legendary', 500,
   '{"recipes_completed": 100}'),
  ('streak_7', 'Week Warrior', 'streaks', 'Cook seven days in a row', 'uncommon', 100,
   '{"streak_days": 7}'),
  ('streak_30', 'Monthly Master', 'streaks', 'Cook 30 days in a row', 'rare', 400,
   '{"streak_days": 30}'),
  ('streak_100', 'Century Chef', 'streaks', 'Cook 100 days in a row', 'legendary', 1000,
   '{"streak_days": 100}'),
  ('social_butterfly', 'Social Butterfly', 'social', 'Follow ten cooks', 'common', 50,
   '{"following": 10}'),
  ('share_master', 'Share Master', 'social', 'Share ten times', 'uncommon', 0, '{"shares": 10}'),
  ('community_leader', 'Community Leader', 'social', 'Have 100 followers', 'rare', 200,
   '{"followers": 100}'),
  ('level_5', 'Level 5', 'progression', 'Reach level 5', 'common', 0, '{"level": 5}'),
  ('level_10', 'Level 10', 'progression', 'Reach level 10', 'uncommon', 0, '{"level": 10}'),
  ('level_25', 'Level 25', 'progression', 'Reach level 25', 'uncommon', 0, '{"level": 25}'),
  ('level_50', 'Level 50', 'progression', 'Reach level 50', 'rare', 0, '{"level": 50}'),
  ('level_75', 'Level 75', 'progression', 'Reach level 75', 'rare', 0, '{"level": 75}'),
  ('level_100', 'Level 100', 'progression', 'Reach level 100', 'legendary', 0, '{"level": 100}'),
  ('perfectionist', 'Perfectionist', 'special', 'Give 20 ratings of five stars', 'uncommon', 150,
   '{"five_star_ratings": 20}'),
  ('early_adopter', 'Early Adopter', 'special', 'Join before July 2025', 'uncommon', 100,
   '{"joined_before": "2025-07-01"}'),
  ('mystery_hunter', 'Mystery Hunter', 'special', 'Find this badge in a mystery box', 'rare', 0,
   '{"mystery_box_reward": true}'),
  ('mystery_box_legend', 'Mystery Box Legend', 'special', 'Open 50 mystery boxes', 'rare', 300,
   '{"mystery_boxes": 50}');

create table public.user_achievements (
  user_id uuid not null references public.users (id) on delete cascade,
  achievement_id uuid not null references public.achievements (id) on delete cascade,
  progress integer not null default 0 check (progress >= 0),
  unlocked_at timestamptz,
  created_at timestamptz not null default pg_catalog.now(),
  primary key (user_id, achievement_id)
);

create index user_achievements_of_achievement on public.user_achievements (achievement_id);

revoke execute on function public.user_streaks_mirror() from public, anon, authenticated;

alter table public.xp_actions enable row level security;
alter table public.user_progress enable row level security;
alter table public.user_streaks enable row level security;
alter table public.daily_cooks enable row level security;
alter table public.achievements enable row level security;
alter table public.user_achievements enable row level security;
revoke all on table
  public.xp_actions,
  public.user_progress,
  public.user_streaks,
  public.daily_cooks,
  public.achievements,
  public.user_achievements
from anon, authenticated;
grant all on table
  public.xp_actions,
  public.user_progress,
  public.user_streaks,
  public.daily_cooks,
  public.achievements,
  public.user_achievements
to service_role;

grant select on table
  public.user_progress,
  public.user_streaks,
  public.daily_cooks,
  public.user_achievements
to authenticated;
grant select on table public.achievements to anon, authenticated;
-- The app makes the row where it finds none. What it may put in is nothing.
grant insert (user_id, current_streak, longest_streak) on table public.user_streaks
  to authenticated;

create policy user_progress_read_own on public.user_progress for select to authenticated
  using (user_id = (select auth.uid()));
create policy user_streaks_read_own on public.user_streaks for select to authenticated
  using (user_id = (select auth.uid()));
create policy user_streaks_insert_own on public.user_streaks for insert to authenticated
  with check (user_id = (select auth.uid()) and current_streak = 0 and longest_streak = 0);
create policy daily_cooks_read_own on public.daily_cooks for select to authenticated
  using (user_id = (select auth.uid()));
create policy achievements_read on public.achievements for select to anon, authenticated
  using (is_active);
create policy user_achievements_read_own on public.user_achievements for select to authenticated
  using (user_id = (select auth.uid()));
