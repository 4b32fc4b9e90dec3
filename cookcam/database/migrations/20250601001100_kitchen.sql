-- Scans, generation sessions, and what people do with recipes.

create table public.ingredient_scans (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  detected_ingredients jsonb not null
    check (pg_catalog.jsonb_typeof(detected_ingredients) = 'array'),
  corrected boolean not null default false,
  image_url text check (image_url not like 'data:%'),
  confidence_score double precision check (confidence_score between 0 and 1),
  scan_metadata jsonb not null default '{}'
    check (pg_catalog.jsonb_typeof(scan_metadata) = 'object'),
  -- When this scan was used to try for a mystery box; there is one try.
  box_tried_at timestamptz,
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create index ingredient_scans_of_user on public.ingredient_scans (user_id, created_at desc);
create trigger set_updated_at before update on public.ingredient_scans
  for each row execute function public.set_updated_at();

create table public.mystery_boxes (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  source_scan_id uuid references public.ingredient_scans (id) on delete set null,
  rarity text not null check (rarity in ('common', 'uncommon', 'rare', 'legendary')),
  reward_type text not null
    check (reward_type in ('xp', 'subscription', 'badge', 'recipe_unlock', 'tip')),
  reward_value jsonb not null check (pg_catalog.jsonb_typeof(reward_value) = 'object'),
  opened_at timestamptz not null default pg_catalog.now(),
  unique (user_id, source_scan_id)
);

create index mystery_boxes_of_user on public.mystery_boxes (user_id, opened_at desc);
create index mystery_boxes_of_scan on public.mystery_boxes (source_scan_id);

create table public.recipe_sessions (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  input_data jsonb not null,
  suggestions jsonb not null,
  created_at timestamptz not null default pg_catalog.now()
);

create index recipe_sessions_of_user on public.recipe_sessions (user_id, created_at desc);

create table public.cooking_sessions (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  session_id text not null default (pg_catalog.gen_random_uuid())::text
    check (pg_catalog.char_length(session_id) between 1 and 128),
  user_id uuid not null references public.users (id) on delete cascade,
  original_ingredients jsonb not null,
  user_preferences jsonb not null,
  previews_generated smallint not null default 0 check (previews_generated >= 0),
  completed boolean not null default false,
  selected_preview_id text,
  detailed_recipe_id uuid references public.recipes (id) on delete set null,
  created_at timestamptz not null default pg_catalog.now(),
  completed_at timestamptz,
  unique (user_id, session_id),
  check (completed = (completed_at is not null))
);

create index cooking_sessions_of_user on public.cooking_sessions (user_id, created_at desc);
create index cooking_sessions_of_recipe on public.cooking_sessions (detailed_recipe_id);

create table public.recipe_previews (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  preview_id text not null,
  session_id text not null,
  user_id uuid not null,
  title text not null,
  description text,
  estimated_time integer not null default 30 check (estimated_time >= 0),
  difficulty text not null default 'easy' check (difficulty in ('easy', 'medium', 'hard')),
  cuisine_type text not null default 'International',
  main_ingredients jsonb not null default '[]'
    check (pg_catalog.jsonb_typeof(main_ingredients) = 'array'),
  appeal_factors jsonb not null default '[]'
    check (pg_catalog.jsonb_typeof(appeal_factors) = 'array'),
  selected_for_details boolean not null default false,
  created_at timestamptz not null default pg_catalog.now(),
  unique (user_id, session_id, preview_id),
  foreign key (user_id, session_id)
    references public.cooking_sessions (user_id, session_id) on delete cascade
);

create table public.recipe_nutrition (
  recipe_id uuid primary key references public.recipes (id) on delete cascade,
  servings smallint not null check (servings > 0),
  total_calories double precision not null,
  total_protein_g double precision not null,
  total_carbs_g double precision not null,
  total_fat_g double precision not null,
  total_fiber_g double precision not null,
  total_sodium_mg double precision not null,
  calories_per_serving double precision not null,
  protein_g_per_serving double precision not null,
  carbs_g_per_serving double precision not null,
  fat_g_per_serving double precision not null,
  fiber_g_per_serving double precision not null,
  sodium_mg_per_serving double precision not null,
  calculated_at timestamptz not null default pg_catalog.now()
);

create table public.saved_recipes (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  recipe_id uuid not null references public.recipes (id) on delete cascade,
  created_at timestamptz not null default pg_catalog.now(),
  unique (user_id, recipe_id)
);

create index saved_recipes_of_user on public.saved_recipes (user_id, created_at desc);
create index saved_recipes_of_recipe on public.saved_recipes (recipe_id);

create table public.recipe_ratings (
  user_id uuid not null references public.users (id) on delete cascade,
  recipe_id uuid not null references public.recipes (id) on delete cascade,
  rating smallint not null check (rating between 1 and 5),
  review text check (pg_catalog.char_length(review) <= 1000),
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now(),
  primary key (user_id, recipe_id)
);

create index recipe_ratings_of_recipe on public.recipe_ratings (recipe_id);
create trigger set_updated_at before update on public.recipe_ratings
  for each row execute function public.set_updated_at();

create table public.recipe_completion_photos (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  recipe_id uuid not null references public.recipes (id) on delete cascade,
  photo_url text not null
    check (photo_url not ilike 'data:%' and pg_catalog.char_length(photo_url) <= 2048),
  description text check (pg_catalog.char_length(description) <= 500),
  uploaded_at timestamptz not null default pg_catalog.now()
);

create index recipe_completion_photos_of_recipe
  on public.recipe_completion_photos (recipe_id, uploaded_at desc);
create index recipe_completion_photos_of_user on public.recipe_completion_photos (user_id);

-- Counters on recipes. They add differences: a recipe with ten thousand ratings is not summed again
-- for each of them. An update takes the old row off and puts the new one on, recipe by recipe.

create function public.saved_recipes_counter() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    update public.recipes set saves_count = saves_count - 1 where id = old.recipe_id;
  end if;
  if tg_op <> 'DELETE' then
    update public.recipes set saves_count = saves_count + 1 where id = new.recipe_id;
  end if;
  return null;
end
$$;

create trigger saved_recipes_counter after insert or delete or update of recipe_id
  on public.saved_recipes
  for each row execute function public.saved_recipes_counter();

-- An author's rating of their own recipe is kept and not counted.
create function public.recipe_ratings_counters() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if tg_op <> 'INSERT' then
    update public.recipes
    set rating_sum = rating_sum - old.rating, rating_count = rating_count - 1
    where id = old.recipe_id and created_by is distinct from old.user_id;
  end if;
  if tg_op <> 'DELETE' then
    update public.recipes
    set rating_sum = rating_sum + new.rating, rating_count = rating_count + 1
    where id = new.recipe_id and created_by is distinct from new.user_id;
  end if;
  return null;
end
$$;

create trigger recipe_ratings_counters after insert or delete or update of rating, recipe_id, user_id
  on public.recipe_ratings
  for each row execute function public.recipe_ratings_counters();

-- An author's own ratings go before the recipes lose their author: afterwards nobody could tell
-- that they were never counted.
create or replace function public.users_before_delete() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.recipe_ratings r using public.recipes owned
  where r.user_id = old.id and owned.id = r.recipe_id and owned.created_by = old.id;
  delete from public.recipes where created_by = old.id and not is_published;
  return old;
end
$$;

create function public.increment_recipe_views(p_recipe_id uuid) returns void
language sql set search_path = '' as $$
  update public.recipes set view_count = view_count + 1 where id = p_recipe_id and is_published
$$;

revoke execute on function
  public.saved_recipes_counter(),
  public.recipe_ratings_counters(),
  public.increment_recipe_views(uuid)
from public, anon, authenticated;
grant execute on function public.increment_recipe_views(uuid) to service_role;

alter table public.ingredient_scans enable row level security;
alter table public.mystery_boxes enable row level security;
alter table public.recipe_sessions enable row level security;
alter table public.cooking_sessions enable row level security;
alter table public.recipe_previews enable row level security;
alter table public.recipe_nutrition enable row level security;
alter table public.saved_recipes enable row level security;
alter table public.recipe_ratings enable row level security;
alter table public.recipe_completion_photos enable row level security;
revoke all on table
  public.ingredient_scans,
  public.mystery_boxes,
  public.recipe_sessions,
  public.cooking_sessions,
  public.recipe_previews,
  public.recipe_nutrition,
  public.saved_recipes,
  public.recipe_ratings,
  public.recipe_completion_photos
from anon, authenticated;
grant all on table
  public.ingredient_scans,
  public.mystery_boxes,
  public.recipe_sessions,
  public.cooking_sessions,
  public.recipe_previews,
  public.recipe_nutrition,
  public.saved_recipes,
  public.recipe_ratings,
  public.recipe_completion_photos
to service_role;

-- Whether a scan was tried for a box, and when it was made, is not for its owner to write.
grant select, delete on table public.ingredient_scans to authenticated;
grant insert (
  id, user_id, detected_ingredients, corrected, image_url, confidence_score, scan_metadata
) on table public.ingredient_scans to authenticated;
grant update (
  detected_ingredients, corrected, image_url, confidence_score, scan_metadata
) on table public.ingredient_scans to authenticated;
grant select, insert, update, delete on table
  public.recipe_sessions,
  public.cooking_sessions,
  public.recipe_previews,
  public.saved_recipes,
  public.recipe_ratings
to authenticated;
grant select on table public.mystery_boxes to authenticated;
grant select on table public.recipe_nutrition, public.recipe_completion_photos
  to anon, authenticated;
grant insert (id, user_id, recipe_id, photo_url, description)
  on table public.recipe_completion_photos to authenticated;
grant delete on table public.recipe_completion_photos to authenticated;

create policy ingredient_scans_own on public.ingredient_scans for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy mystery_boxes_read_own on public.mystery_boxes for select to authenticated
  using (user_id = (select auth.uid()));
create policy recipe_sessions_own on public.recipe_sessions for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy cooking_sessions_own on public.cooking_sessions for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy recipe_previews_own on public.recipe_previews for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy saved_recipes_own on public.saved_recipes for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
create policy recipe_ratings_own on public.recipe_ratings for all to authenticated
  using (user_id = (select auth.uid())) with check (user_id = (select auth.uid()));
-- Readable when the recipe is: the recipe's own policy decides, inside these subqueries.
create policy recipe_nutrition_read on public.recipe_nutrition for select to anon, authenticated
  using (exists (select from public.recipes r where r.id = recipe_id));
create policy recipe_completion_photos_read on public.recipe_completion_photos
  for select to anon, authenticated
  using (exists (select from public.recipes r where r.id = recipe_id));
create policy recipe_completion_photos_insert_own on public.recipe_completion_photos
  for insert to authenticated
  with check (
    user_id = (select auth.uid()) and exists (select from public.recipes r where r.id = recipe_id)
  );
create policy recipe_completion_photos_delete_own on public.recipe_completion_photos
  for delete to authenticated using (user_id = (select auth.uid()));
