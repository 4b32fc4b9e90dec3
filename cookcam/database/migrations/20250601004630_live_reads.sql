-- What users read back of the live tables and of reviews, under their own role. Only the server
-- writes the live tables.

create function public.is_admitted_to_session(p_session_id text) returns boolean
language sql stable security definer set search_path = '' as $$
  select exists (
    select from public.live_cooking_participants p
    where p.session_id = p_session_id and p.user_id = (select auth.uid())
  )
$$;

-- The part of a profile that everyone may see, also guests, who have no access to the table.
create function public.user_card(p_user_id uuid) returns jsonb
language sql stable security definer set search_path = '' as $$
  select pg_catalog.jsonb_build_object(
    'id', u.id, 'name', u.name, 'avatar_url', u.avatar_url, 'level', u.level
  )
  from public.users u where u.id = p_user_id
$$;

revoke execute on function
  public.is_admitted_to_session(text),
  public.user_card(uuid)
from public, anon, authenticated;
grant execute on function public.is_admitted_to_session(text) to authenticated, service_role;
grant execute on function public.user_card(uuid) to anon, authenticated, service_role;

-- Sessions: public ones, and those that the user hosts, takes or took part in, or is invited to.
-- The hash of the invite code is for the server only.
grant select (
  id, host_id, recipe_id, title, is_public, current_step, total_steps, is_active, seq, created_at,
  ended_at, end_reason
) on table public.live_cooking_sessions to authenticated;
create policy live_cooking_sessions_read on public.live_cooking_sessions
  for select to authenticated
  using (is_public or public.is_admitted_to_session(id));
create index live_cooking_sessions_public on public.live_cooking_sessions (created_at desc)
  where is_active and is_public;

-- Readable when the session is: the session's own policy decides, inside this subquery.
grant select on table public.live_cooking_participants to authenticated;
create policy live_cooking_participants_read on public.live_cooking_participants
  for select to authenticated
  using (
    exists (select from public.live_cooking_sessions s where s.id = session_id)
  );

-- Messages of a private session: participants read all of them, former participants those sent
-- before they left. An invited user who has not joined yet (left_at = joined_at) reads none.
-- The first subquery is scalar: PostgreSQL would turn an EXISTS into a hash of all public sessions.
grant select on table public.live_cooking_messages to authenticated;
create policy live_cooking_messages_read on public.live_cooking_messages
  for select to authenticated
  using (
    (select s.is_public from public.live_cooking_sessions s where s.id = session_id)
    or exists (
      select from public.live_cooking_participants p
      where p.session_id = live_cooking_messages.session_id
        and p.user_id = (select auth.uid())
        and (
          p.left_at is null
          or (p.left_at > p.joined_at and live_cooking_messages.created_at <= p.left_at)
        )
    )
  );

-- The live feed goes to all users.
grant select on table
  public.live_recipe_shares,
  public.live_recipe_likes,
  public.live_recipe_comments
to authenticated;
create policy live_recipe_shares_read on public.live_recipe_shares
  for select to authenticated using (true);
create policy live_recipe_likes_read on public.live_recipe_likes
  for select to authenticated using (true);
create policy live_recipe_comments_read on public.live_recipe_comments
  for select to authenticated using (true);

-- Reviews are as readable as their recipe. Stars without a review stay private.
grant select on table public.recipe_ratings to anon;
create policy recipe_ratings_read_reviews on public.recipe_ratings
  for select to anon, authenticated
  using (
    review is not null
    and exists (select from public.recipes r where r.id = recipe_id)
  );
create index recipe_ratings_reviews on public.recipe_ratings (recipe_id, created_at desc)
  where review is not null;
