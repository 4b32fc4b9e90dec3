-- The networks from which a user has signed in, as keyed hashes: a sign-in from another one is told to
-- the user.
create table public.sign_in_places (
  user_id uuid not null references public.users (id) on delete cascade,
  place_hash text not null check (place_hash ~ '^[0-9a-f]{64}$'),
  first_at timestamptz not null default pg_catalog.now(),
  last_at timestamptz not null default pg_catalog.now(),
  primary key (user_id, place_hash)
);

create index sign_in_places_by_age on public.sign_in_places (last_at);

alter table public.sign_in_places enable row level security;
revoke all on table public.sign_in_places from anon, authenticated;
grant all on table public.sign_in_places to service_role;
