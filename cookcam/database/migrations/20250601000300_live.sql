-- Who follows whom, cooking together live, and the live feed.

create table public.user_follows (
  follower_id uuid not null references public.users (id) on delete cascade,
  following_id uuid not null references public.users (id) on delete cascade,
  created_at timestamptz not null default pg_catalog.now(),
  primary key (follower_id, following_id),
  check (follower_id <> following_id)
);

create index user_follows_followers on public.user_follows (following_id, created_at desc);

alter table public.user_follows enable row level security;
revoke all on table public.user_follows from anon, authenticated;
grant all on table public.user_follows to service_role;
grant select on table public.user_follows to anon, authenticated;
grant insert (follower_id, following_id) on table public.user_follows to authenticated;
grant delete on table public.user_follows to authenticated;

create policy user_follows_read on public.user_follows
  for select to anon, authenticated using (true);
create policy user_follows_insert_own on public.user_follows for insert to authenticated
  with check (follower_id = (select auth.uid()));
create policy user_follows_delete_own on public.user_follows for delete to authenticated
  using (follower_id = (select auth.uid()));

-- The live tables are the server's own: no grant and no policy for anybody else.

create table public.live_cooking_sessions (
  id text primary key,
  host_id uuid not null references public.users (id) on delete cascade,
  recipe_id uuid references public.recipes (id) on delete set null,
  title text not null,
  is_public boolean not null default false,
  invite_code_hash text,
  current_step integer not null default 0 check (current_step >= 0),
  total_steps integer not null default 0 check (total_steps >= 0),
  is_active boolean not null default true,
  seq bigint not null default 0,
  created_at timestamptz not null default pg_catalog.now(),
  ended_at timestamptz,
  end_reason text,
  check (is_active = (ended_at is null))
);

create index live_cooking_sessions_active on public.live_cooking_sessions (created_at desc)
  where is_active;
create index live_cooking_sessions_of_host on public.live_cooking_sessions (host_id);
create index live_cooking_sessions_of_recipe on public.live_cooking_sessions (recipe_id);

-- A row says that the user may join; one without left_at, that the user takes part. Somebody who
-- was invited and has not come yet left the moment the session was made.
create table public.live_cooking_participants (
  session_id text not null references public.live_cooking_sessions (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  joined_at timestamptz not null default pg_catalog.now(),
  left_at timestamptz,
  primary key (session_id, user_id)
);

create index live_cooking_participants_of_user on public.live_cooking_participants (user_id);

create table public.live_cooking_messages (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  session_id text not null references public.live_cooking_sessions (id) on delete cascade,
  seq bigint not null,
  user_id uuid references public.users (id) on delete set null,
  message text not null check (pg_catalog.char_length(message) <= 2000),
  message_type text not null default 'text'
    check (message_type in ('text', 'image', 'timer', 'help')),
  created_at timestamptz not null default pg_catalog.now(),
  unique (session_id, seq)
);

create index live_cooking_messages_by_age on public.live_cooking_messages (created_at);
create index live_cooking_messages_of_user on public.live_cooking_messages (user_id);

create table public.live_recipe_shares (
  id text primary key,
  user_id uuid not null references public.users (id) on delete cascade,
  recipe_id uuid references public.recipes (id) on delete set null,
  title text not null,
  description text,
  tags text[] not null default '{}',
  created_at timestamptz not null default pg_catalog.now()
);

create index live_recipe_shares_newest on public.live_recipe_shares (created_at desc);
create index live_recipe_shares_of_user on public.live_recipe_shares (user_id);
create index live_recipe_shares_of_recipe on public.live_recipe_shares (recipe_id);

create table public.live_recipe_likes (
  share_id text not null references public.live_recipe_shares (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  created_at timestamptz not null default pg_catalog.now(),
  primary key (share_id, user_id)
);

create index live_recipe_likes_of_user on public.live_recipe_likes (user_id);

create table public.live_recipe_comments (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  share_id text not null references public.live_recipe_shares (id) on delete cascade,
  user_id uuid not null references public.users (id) on delete cascade,
  comment text not null check (pg_catalog.char_length(comment) <= 1000),
  created_at timestamptz not null default pg_catalog.now()
);

create index live_recipe_comments_of_share on public.live_recipe_comments (share_id, created_at);
create index live_recipe_comments_of_user on public.live_recipe_comments (user_id);

alter table public.live_cooking_sessions enable row level security;
alter table public.live_cooking_participants enable row level security;
alter table public.live_cooking_messages enable row level security;
alter table public.live_recipe_shares enable row level security;
alter table public.live_recipe_likes enable row level security;
alter table public.live_recipe_comments enable row level security;
revoke all on table
  public.live_cooking_sessions,
  public.live_cooking_participants,
  public.live_cooking_messages,
  public.live_recipe_shares,
  public.live_recipe_likes,
  public.live_recipe_comments
from anon, authenticated;
grant all on table
  public.live_cooking_sessions,
  public.live_cooking_participants,
  public.live_cooking_messages,
  public.live_recipe_shares,
  public.live_recipe_likes,
  public.live_recipe_comments
to service_role;
