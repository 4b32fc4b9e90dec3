-- The app sends the favourite toggle without a wish and repeats it when the answer was lost. What a
-- toggle came to is kept here, so that its repetition within 3 seconds gets the same answer from
-- any instance. Each toggle removes its user's older rows: there are a few for each user at most.
create table public.favorite_toggles (
  user_id uuid not null references public.users (id) on delete cascade,
  recipe_id uuid not null references public.recipes (id) on delete cascade,
  favorited boolean not null,
  toggled_at timestamptz not null default pg_catalog.now(),
  primary key (user_id, recipe_id)
);

create index favorite_toggles_of_recipe on public.favorite_toggles (recipe_id);

-- The server's own: no grant and no policy for anybody else.
alter table public.favorite_toggles enable row level security;
revoke all on table public.favorite_toggles from anon, authenticated;
grant all on table public.favorite_toggles to service_role;
