select
  id, email, name, avatar_url, creator_bio, creator_specialty, level, xp, total_xp, streak_current,
  streak_shields, is_creator, creator_tier, onboarding_completed, meal_prep_enabled,
  default_serving_size, default_meal_prep_count, kitchen_appliances, dietary_preferences,
  cuisine_preferences, cooking_skill_level, timezone, country, notifications_enabled,
  notification_preferences, to_char(quiet_hours_start, 'HH24:MI') as quiet_hours_start,
  to_char(quiet_hours_end, 'HH24:MI') as quiet_hours_end, created_at, updated_at
from public.users
where id = (select auth.uid())
