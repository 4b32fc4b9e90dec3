-- Profiles: one row of public.users for each identity of auth.users.

create function public.set_updated_at() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.updated_at := pg_catalog.now();
  return new;
end
$$;

create table public.users (
  id uuid primary key references auth.users (id) on delete cascade,
  email text,
  name text check (pg_catalog.char_length(name) between 2 and 100),
  avatar_url text
    check (avatar_url like 'https://%' and pg_catalog.char_length(avatar_url) <= 2048),
  creator_bio text check (pg_catalog.char_length(creator_bio) <= 1000),
  creator_specialty text check (pg_catalog.char_length(creator_specialty) <= 1000),
  level smallint not null default 1 check (level between 1 and 100),
  total_xp integer not null default 0 check (total_xp >= 0),
  xp integer not null default 0 check (xp = total_xp),
  streak_current integer not null default 0 check (streak_current >= 0),
  streak_shields integer not null default 3 check (streak_shields >= 0),
  is_creator boolean not null default false,
  creator_tier smallint not null default 0 check (creator_tier between 0 and 5),
  onboarding_completed boolean not null default false,
  meal_prep_enabled boolean not null default false,
  push_token text,
  timezone text not null default 'UTC',
  notifications_enabled boolean not null default true,
  notification_preferences jsonb not null default '{}'
    check (pg_catalog.jsonb_typeof(notification_preferences) = 'object'),
  default_serving_size smallint not null default 2 check (default_serving_size between 1 and 50),
  default_meal_prep_count smallint not null default 4
    check (default_meal_prep_count between 1 and 50),
  kitchen_appliances jsonb not null default '["oven", "stove"]'
    check (
      pg_catalog.jsonb_typeof(kitchen_appliances) = 'array'
      and not pg_catalog.jsonb_path_exists(kitchen_appliances, '$[*] ? (@.type() != "string")')
    ),
  dietary_preferences jsonb not null default '[]'
    check (
      pg_catalog.jsonb_typeof(dietary_preferences) = 'array'
      and not pg_catalog.jsonb_path_exists(dietary_preferences, '$[*] ? (@.type() != "string")')
    ),
  cuisine_preferences jsonb not null default '[]'
    check (
      pg_catalog.jsonb_typeof(cuisine_preferences) = 'array'
      and not pg_catalog.jsonb_path_exists(cuisine_preferences, '$[*] ? (@.type() != "string")')
    ),
  cooking_skill_level text not null default 'beginner'
    check (cooking_skill_level in ('beginner', 'intermediate', 'advanced')),
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create index users_by_total_xp on public.users (total_xp desc, id) where total_xp > 0;
create index users_by_name on public.users (pg_catalog.lower(name) text_pattern_ops);
create index users_by_chef_code on public.users (
  pg_catalog.upper(pg_catalog.right(id::text, 8))
) where is_creator;

-- What a client may decide about its own new row is its name. Everything else is the default, and
-- the e-mail is the one of the verified claims. The app inserts although the sign-up trigger has
-- already made the row: that insert does nothing, quietly.
create function public.users_guard() returns trigger
language plpgsql set search_path = '' as $$
declare
  fresh public.users;
begin
  if tg_op = 'INSERT' and current_user in ('anon', 'authenticated') then
    if exists (select from public.users u where u.id = new.id) then
      return null;
    end if;
    fresh.id := new.id;
    fresh.email := auth.jwt() ->> 'email';
    fresh.name := new.name;
    fresh.level := 1;
    fresh.total_xp := 0;
    fresh.streak_current := 0;
    fresh.streak_shields := 3;
    fresh.is_creator := false;
    fresh.creator_tier := 0;
    fresh.onboarding_completed := false;
    fresh.meal_prep_enabled := false;
    fresh.timezone := 'UTC';
    fresh.notifications_enabled := true;
    fresh.notification_preferences := '{}';
    fresh.default_serving_size := 2;
    fresh.default_meal_prep_count := 4;
    fresh.kitchen_appliances := '["oven", "stove"]';
    fresh.dietary_preferences := '[]';
    fresh.cuisine_preferences := '[]';
    fresh.cooking_skill_level := 'beginner';
    fresh.created_at := pg_catalog.now();
    fresh.updated_at := pg_catalog.now();
    new := fresh;
  end if;
  new.xp := new.total_xp;
  return new;
end
$$;

create trigger users_guard before insert or update on public.users
  for each row execute function public.users_guard();
create trigger set_updated_at before update on public.users
  for each row execute function public.set_updated_at();

-- The name a new profile starts with: the one given at sign-up, else the local part of the e-mail,
-- else none. Whatever does not fit the column is passed over, because a sign-up must not fail on it.
create function public.initial_name(metadata jsonb, email text) returns text
language sql immutable set search_path = '' as $$
  select candidate
  from (values
    (1, pg_catalog.left(pg_catalog.btrim(metadata ->> 'name'), 100)),
    (2, pg_catalog.left(pg_catalog.split_part(email, '@', 1), 100))
  ) as candidates(rank, candidate)
  where pg_catalog.char_length(candidate) >= 2
  order by rank
  limit 1
$$;

create function public.on_auth_user_created() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.users (id, email, name)
  values (new.id, new.email, public.initial_name(new.raw_user_meta_data, new.email))
  on conflict do nothing;
  return new;
end
$$;

create function public.on_auth_user_email_changed() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.users set email = new.email where id = new.id;
  return new;
end
$$;

create trigger on_auth_user_created after insert on auth.users
  for each row execute function public.on_auth_user_created();
create trigger on_auth_user_email_changed after update of email on auth.users
  for each row when (old.email is distinct from new.email)
  execute function public.on_auth_user_email_changed();

-- Identities older than the trigger.
insert into public.users (id, email, name)
select u.id, u.email, public.initial_name(u.raw_user_meta_data, u.email)
from auth.users u
on conflict do nothing;

revoke execute on function
  public.set_updated_at(),
  public.users_guard(),
  public.initial_name(jsonb, text),
  public.on_auth_user_created(),
  public.on_auth_user_email_changed()
from public, anon, authenticated;

-- Others see a public card of everybody, never an e-mail. A full profile is read by the server as
-- service_role with the user id in the statement.
alter table public.users enable row level security;
revoke all on table public.users from anon, authenticated;
grant all on table public.users to service_role;
grant select (
  id, name, avatar_url, level, xp, total_xp, is_creator, creator_tier, created_at
) on table public.users to authenticated;
grant insert on table public.users to authenticated;
grant update (push_token) on table public.users to authenticated;

create policy users_read on public.users for select to authenticated using (true);
create policy users_insert_own on public.users for insert to authenticated
  with check (id = (select auth.uid()));
create policy users_update_own on public.users for update to authenticated
  using (id = (select auth.uid())) with check (id = (select auth.uid()));
