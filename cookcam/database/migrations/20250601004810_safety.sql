-- Safety between users: blocks, reports, and content that moderators have hidden.

-- A schema that no API serves: clients cannot call what their row policies use.
create schema safety;
revoke all on schema safety from public;
grant usage on schema safety to anon, authenticated, service_role;

create table public.user_blocks (
  blocker_id uuid not null references public.users (id) on delete cascade,
  blocked_id uuid not null references public.users (id) on delete cascade,
  created_at timestamptz not null default pg_catalog.now(),
  primary key (blocker_id, blocked_id),
  check (blocker_id <> blocked_id)
);

create index user_blocks_of_blocked on public.user_blocks (blocked_id);

alter table public.users add column hidden_at timestamptz;
create index users_hidden on public.users (id) where hidden_at is not null;
alter table public.recipes
  add column hidden_at timestamptz,
  add constraint recipes_hidden_check check (hidden_at is null or not is_published);
alter table public.recipe_completion_photos add column hidden_at timestamptz;
alter table public.live_recipe_comments add column hidden_at timestamptz;
alter table public.live_cooking_messages add column hidden_at timestamptz;

-- The users who do not exist for this one: those it has blocked, those who have blocked it, and those
-- that moderators have hidden. Null stands for a guest.
create function safety.hidden_from(p_user_id uuid) returns uuid[]
language sql stable security definer set search_path = '' as $$
  select array(
    select b.blocked_id from public.user_blocks b where b.blocker_id = p_user_id
    union
    select b.blocker_id from public.user_blocks b where b.blocked_id = p_user_id
    union
    select u.id from public.users u
    where u.hidden_at is not null and u.id is distinct from p_user_id
  )
$$;

create function safety.hidden_from_caller() returns uuid[]
language sql stable security definer set search_path = '' as $$
  select safety.hidden_from((select auth.uid()))
$$;

-- A block ends the follows between the two. The locks order it with follows that are being made.
create function safety.end_follows() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform from public.users u where u.id in (new.blocker_id, new.blocked_id)
  order by u.id for no key update;
  delete from public.user_follows f
  where (f.follower_id, f.following_id) in (
    (new.blocker_id, new.blocked_id), (new.blocked_id, new.blocker_id)
  );
  return null;
end
$$;

create trigger user_blocks_end_follows after insert on public.user_blocks
  for each row execute function safety.end_follows();

revoke execute on all functions in schema safety from public;
grant execute on function safety.hidden_from(uuid) to service_role;
grant execute on function safety.hidden_from_caller() to anon, authenticated, service_role;

alter table public.user_blocks enable row level security;
revoke all on table public.user_blocks from anon, authenticated;
grant all on table public.user_blocks to service_role;
grant select, delete on table public.user_blocks to authenticated;
grant insert (blocker_id, blocked_id) on table public.user_blocks to authenticated;
create policy user_blocks_own on public.user_blocks for all to authenticated
  using (blocker_id = (select auth.uid())) with check (blocker_id = (select auth.uid()));

-- What hidden users wrote, and hidden content of others, is not read. Each subquery runs once for a
-- statement.
create policy recipes_not_hidden on public.recipes as restrictive
  for select to anon, authenticated
  using ((created_by = any ((select safety.hidden_from_caller())::uuid[])) is not true);
create policy recipe_ratings_not_hidden on public.recipe_ratings as restrictive
  for select to anon, authenticated
  using ((user_id = any ((select safety.hidden_from_caller())::uuid[])) is not true);
create policy recipe_completion_photos_not_hidden on public.recipe_completion_photos as restrictive
  for select to anon, authenticated
  using (
    (user_id = any ((select safety.hidden_from_caller())::uuid[])) is not true
    and (hidden_at is null or user_id = (select auth.uid()))
  );
create policy live_cooking_sessions_not_hidden on public.live_cooking_sessions as restrictive
  for select to authenticated
  using ((host_id = any ((select safety.hidden_from_caller())::uuid[])) is not true);
create policy live_cooking_messages_not_hidden on public.live_cooking_messages as restrictive
  for select to authenticated
  using (
    (user_id = any ((select safety.hidden_from_caller())::uuid[])) is not true
    and (hidden_at is null or user_id = (select auth.uid()))
  );
create policy live_recipe_shares_not_hidden on public.live_recipe_shares as restrictive
  for select to authenticated
  using ((user_id = any ((select safety.hidden_from_caller())::uuid[])) is not true);
create policy live_recipe_comments_not_hidden on public.live_recipe_comments as restrictive
  for select to authenticated
  using (
    (user_id = any ((select safety.hidden_from_caller())::uuid[])) is not true
    and (hidden_at is null or user_id = (select auth.uid()))
  );
create policy user_follows_not_hidden on public.user_follows as restrictive
  for insert to authenticated
  with check ((following_id = any ((select safety.hidden_from_caller())::uuid[])) is not true);

-- A report of one user about content or another user. `content` is the text at the time of the report.
create table public.content_reports (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  reporter_id uuid references public.users (id) on delete set null,
  target_type text not null
    check (target_type in ('recipe', 'photo', 'comment', 'message', 'user')),
  target_id text not null check (pg_catalog.char_length(target_id) <= 200),
  author_id uuid references public.users (id) on delete set null,
  reason text not null
    check (reason in (
      'spam', 'harassment', 'hate', 'sexual', 'violence', 'dangerous', 'copyright', 'other'
    )),
  details text check (pg_catalog.char_length(details) <= 1000),
  content text check (pg_catalog.char_length(content) <= 2100),
  status text not null default 'open' check (status in ('open', 'dismissed', 'upheld')),
  decided_by uuid references public.users (id) on delete set null,
  decided_at timestamptz,
  created_at timestamptz not null default pg_catalog.now(),
  check ((status = 'open') = (decided_at is null))
);

-- A user reports the same thing once while it waits for a decision.
create unique index content_reports_once
  on public.content_reports (reporter_id, target_type, target_id) where status = 'open';
create index content_reports_of_reporter on public.content_reports (reporter_id);
create index content_reports_by_status on public.content_reports (status, created_at desc);
create index content_reports_of_target on public.content_reports (target_type, target_id);
create index content_reports_of_author on public.content_reports (author_id);
create index content_reports_decided_by on public.content_reports (decided_by);
create index content_reports_decided on public.content_reports (decided_at)
  where decided_at is not null;

-- What moderators did: rows are only added.
create table public.moderation_actions (
  id bigint primary key generated always as identity,
  report_id uuid references public.content_reports (id) on delete set null,
  moderator_id uuid references public.users (id) on delete set null,
  action text not null check (action in ('dismiss', 'hide', 'restore')),
  target_type text not null,
  target_id text not null,
  note text check (pg_catalog.char_length(note) <= 1000),
  created_at timestamptz not null default pg_catalog.now()
);

create index moderation_actions_of_report on public.moderation_actions (report_id);
create index moderation_actions_of_moderator on public.moderation_actions (moderator_id);
create index moderation_actions_by_age on public.moderation_actions (created_at);

alter table public.content_reports enable row level security;
alter table public.moderation_actions enable row level security;
revoke all on table public.content_reports, public.moderation_actions
from anon, authenticated, service_role;
grant all on table public.content_reports, public.moderation_actions to service_role;
revoke update on table public.moderation_actions from service_role;
-- The retention sweep locks the rows that it deletes, which needs this; an identity cannot be updated.
grant update (id) on table public.moderation_actions to service_role;
