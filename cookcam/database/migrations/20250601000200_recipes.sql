-- Stored recipes, the food catalogue, and the links between them.

create table public.recipes (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  title text not null check (pg_catalog.char_length(title) between 1 and 300),
  description text,
  cuisine text,
  image_url text,
  prep_time integer check (prep_time >= 0),
  cook_time integer check (cook_time >= 0),
  difficulty text check (difficulty in ('easy', 'medium', 'hard')),
  servings smallint check (servings > 0),
  ingredients jsonb not null default '[]'
    check (pg_catalog.jsonb_typeof(ingredients) = 'array'),
  instructions text[] not null default '{}',
  tags text[] not null default '{}',
  nutrition jsonb check (pg_catalog.jsonb_typeof(nutrition) = 'object'),
  ai_metadata jsonb check (pg_catalog.jsonb_typeof(ai_metadata) = 'object'),
  created_by uuid references public.users (id) on delete set null,
  is_generated boolean not null default false,
  is_published boolean not null default false,
  is_featured boolean not null default false,
  view_count integer not null default 0 check (view_count >= 0),
  saves_count integer not null default 0 check (saves_count >= 0),
  rating_sum integer not null default 0 check (rating_sum >= 0),
  rating_count integer not null default 0 check (rating_count >= 0),
  rating_avg numeric(3, 2) generated always as (
    case when rating_count > 0 then rating_sum::numeric / rating_count else 0 end
  ) stored,
  trending_score numeric(10, 2) not null default 0,
  search_tsv tsvector generated always as (
    pg_catalog.to_tsvector(
      'pg_catalog.simple'::pg_catalog.regconfig,
      title || ' ' || coalesce(cuisine, '') || ' ' || coalesce(description, '')
    )
  ) stored,
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create unique index recipes_title_of_author on public.recipes (created_by, pg_catalog.lower(title))
  where not is_generated;
create index recipes_of_author on public.recipes (created_by, created_at desc);
create index recipes_published on public.recipes (created_at desc, id) where is_published;
create index recipes_trending on public.recipes (trending_score desc, created_at desc)
  where is_published;
create index recipes_search on public.recipes using gin (search_tsv);
create index recipes_by_tag on public.recipes using gin (tags);

-- Counters and scores change all the time; updated_at says when the recipe itself did.
create trigger set_updated_at before update on public.recipes
  for each row when (
    (
      old.title, old.description, old.cuisine, old.image_url, old.prep_time, old.cook_time,
      old.difficulty, old.servings, old.ingredients, old.instructions, old.tags, old.nutrition,
      old.ai_metadata, old.is_published
    ) is distinct from (
      new.title, new.description, new.cuisine, new.image_url, new.prep_time, new.cook_time,
      new.difficulty, new.servings, new.ingredients, new.instructions, new.tags, new.nutrition,
      new.ai_metadata, new.is_published
    )
  )
  execute function public.set_updated_at();

-- A deleted user's published recipes stay, without an author; drafts go with the account.
create function public.users_before_delete() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.recipes where created_by = old.id and not is_published;
  return old;
end
$$;

revoke execute on function public.users_before_delete() from public, anon, authenticated;

create trigger users_before_delete before delete on public.users
  for each row execute function public.users_before_delete();

alter table public.recipes enable row level security;
revoke all on table public.recipes from anon, authenticated;
grant all on table public.recipes to service_role;
grant select on table public.recipes to anon, authenticated;
grant insert (
  title, description, cuisine, image_url, prep_time, cook_time, difficulty, servings, ingredients,
  instructions, tags, nutrition, ai_metadata, created_by, is_generated, is_published
) on table public.recipes to authenticated;
grant update (
  title, description, cuisine, image_url, prep_time, cook_time, difficulty, servings, ingredients,
  instructions, tags, nutrition, ai_metadata, is_published
) on table public.recipes to authenticated;
grant delete on table public.recipes to authenticated;

create policy recipes_read_published on public.recipes for select to anon using (is_published);
create policy recipes_read on public.recipes for select to authenticated
  using (is_published or created_by = (select auth.uid()));
create policy recipes_insert_own on public.recipes for insert to authenticated
  with check (created_by = (select auth.uid()));
create policy recipes_update_own on public.recipes for update to authenticated
  using (created_by = (select auth.uid())) with check (created_by = (select auth.uid()));
create policy recipes_delete_own on public.recipes for delete to authenticated
  using (created_by = (select auth.uid()));

create table public.ingredients (
  id integer primary key generated by default as identity,
  name text not null,
  fdc_id integer unique,
  category text,
  usda_data_type text,
  calories_per_100g double precision,
  protein_g_per_100g double precision,
  carbs_g_per_100g double precision,
  fat_g_per_100g double precision,
  fiber_g_per_100g double precision,
  sugar_g_per_100g double precision,
  sodium_mg_per_100g double precision,
  calcium_mg_per_100g double precision,
  iron_mg_per_100g double precision,
  vitamin_c_mg_per_100g double precision,
  potassium_mg_per_100g double precision,
  vitamin_d_mcg_per_100g double precision,
  vitamin_a_mcg_per_100g double precision,
  saturated_fat_g_per_100g double precision,
  trans_fat_g_per_100g double precision,
  cholesterol_mg_per_100g double precision,
  searchable_text text not null default '',
  tags text[] not null default '{}',
  dietary_flags text[] not null default '{}',
  search_tsv tsvector generated always as (
    pg_catalog.to_tsvector(
      'pg_catalog.simple'::pg_catalog.regconfig, name || ' ' || searchable_text
    )
  ) stored,
  usda_sync_date timestamptz,
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create index ingredients_search on public.ingredients using gin (search_tsv);
create index ingredients_by_prefix on public.ingredients (
  pg_catalog.lower(name) text_pattern_ops
);
create index ingredients_by_name on public.ingredients (name);
create index ingredients_by_category on public.ingredients (category, name);

create trigger set_updated_at before update on public.ingredients
  for each row execute function public.set_updated_at();

alter table public.ingredients enable row level security;
revoke all on table public.ingredients from anon, authenticated;
grant all on table public.ingredients to service_role;
grant select on table public.ingredients to anon, authenticated;
create policy ingredients_read on public.ingredients for select to anon, authenticated using (true);

create table public.recipe_ingredients (
  id integer primary key generated by default as identity,
  recipe_id uuid not null references public.recipes (id) on delete cascade,
  ingredient_id integer references public.ingredients (id) on delete set null,
  quantity numeric(10, 3) check (quantity >= 0),
  unit text,
  preparation text,
  order_index smallint not null default 0
);

create index recipe_ingredients_of_recipe on public.recipe_ingredients (recipe_id, order_index);
create index recipe_ingredients_by_ingredient on public.recipe_ingredients (ingredient_id);

alter table public.recipe_ingredients enable row level security;
revoke all on table public.recipe_ingredients from anon, authenticated;
grant all on table public.recipe_ingredients to service_role;
grant select on table public.recipe_ingredients to anon, authenticated;
-- Readable when the recipe is: the recipe's own policy decides, inside this subquery.
create policy recipe_ingredients_read on public.recipe_ingredients
  for select to anon, authenticated
  using (exists (select from public.recipes r where r.id = recipe_id));
