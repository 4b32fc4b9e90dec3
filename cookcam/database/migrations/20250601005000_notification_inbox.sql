-- The inbox. A notification is written in the transaction of the fact that it tells, by a trigger or
-- by the server; `notification_logs` is inbox, queue and log.

-- app: in the inbox, to the sockets, and pushed. reminder: pushed only. mail: sent as a mail only.
-- `actor_id` is the other user whom the notification names; it is deleted with that user.
-- `shown_at` is when it was sent to the sockets.
alter table public.notification_logs
  -- The order in which one transaction writes them.
  alter column created_at set default pg_catalog.clock_timestamp(),
  add column channel text not null default 'app' check (channel in ('app', 'reminder', 'mail')),
  add column actor_id uuid references public.users (id) on delete cascade,
  add column read_at timestamptz,
  add column shown_at timestamptz;
update public.notification_logs
set channel = 'reminder', expires_at = coalesce(expires_at, created_at + interval '1 day');
alter table public.notification_logs
  alter column expires_at set default pg_catalog.now() + interval '1 day',
  alter column expires_at set not null;

create index notification_logs_unread on public.notification_logs (user_id)
  where channel = 'app' and read_at is null;
create index notification_logs_of_actor on public.notification_logs (actor_id)
  where actor_id is not null;

grant select (id, user_id, channel, type, title, body, data, created_at, read_at)
  on table public.notification_logs to authenticated;
grant update (read_at) on table public.notification_logs to authenticated;
grant delete on table public.notification_logs to authenticated;
create policy notification_logs_own on public.notification_logs to authenticated
  using (user_id = (select auth.uid()) and channel = 'app')
  with check (user_id = (select auth.uid()) and channel = 'app');

-- Wakes the senders. Equal notifications of one transaction are sent once.
create function public.notification_logs_added() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('cookcam_notifications', '');
  return null;
end
$$;
create trigger notification_logs_added after insert on public.notification_logs
  for each statement execute function public.notification_logs_added();

-- Writes a notification that is pushed within a day, once for each key.
create function public.notify_user(
  p_user_id uuid, p_type text, p_title text, p_body text, p_data jsonb, p_dedupe_key text,
  p_actor_id uuid default null
) returns void
language sql security definer set search_path = '' as $$
  insert into public.notification_logs (
    user_id, type, title, body, data, dedupe_key, actor_id, expires_at
  )
  values (
    p_user_id, p_type, p_title, p_body, p_data, p_dedupe_key, p_actor_id,
    pg_catalog.now() + interval '1 day'
  )
  on conflict (user_id, dedupe_key) where dedupe_key is not null do nothing
$$;

create function public.user_progress_notify() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  perform public.notify_user(
    new.user_id, 'level_up', 'Level ' || new.new_level || ' reached!',
    'You have ' || new.total_xp || ' XP now.',
    pg_catalog.jsonb_build_object(
      'old_level', new.old_level, 'new_level', new.new_level, 'total_xp', new.total_xp
    ),
    'level_up:' || new.new_level
  );
  return null;
end
$$;
create trigger user_progress_notify after insert on public.user_progress
  for each row when (new.new_level > new.old_level)
  execute function public.user_progress_notify();

create function public.user_achievements_notify() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  won public.achievements;
begin
  select * into won from public.achievements a where a.id = new.achievement_id;
  perform public.notify_user(
    new.user_id, 'achievement', 'Achievement unlocked!',
    won.name || case when won.xp_reward > 0 then ': +' || won.xp_reward || ' XP' else '' end,
    pg_catalog.jsonb_build_object('key', won.key, 'name', won.name, 'points', won.xp_reward),
    'achievement:' || won.key
  );
  return null;
end
$$;
create trigger user_achievements_unlocked after insert on public.user_achievements
  for each row when (new.unlocked_at is not null)
  execute function public.user_achievements_notify();
create trigger user_achievements_completed after update of unlocked_at on public.user_achievements
  for each row when (old.unlocked_at is null and new.unlocked_at is not null)
  execute function public.user_achievements_notify();

create function public.user_follows_notify() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  follower jsonb := public.user_card(new.follower_id);
begin
  perform public.notify_user(
    new.following_id, 'new_follower', 'New follower',
    coalesce(follower ->> 'name', 'A CookCam user') || ' follows you now.',
    pg_catalog.jsonb_build_object('user', follower), 'new_follower:' || new.follower_id,
    new.follower_id
  );
  return null;
end
$$;
create trigger user_follows_notify after insert on public.user_follows
  for each row execute function public.user_follows_notify();

-- The text of a comment or review is not copied: it may be edited or removed.
create function public.live_recipe_comments_notify() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  share public.live_recipe_shares;
  author jsonb := public.user_card(new.user_id);
begin
  select * into share from public.live_recipe_shares s where s.id = new.share_id;
  if share.user_id <> new.user_id then
    perform public.notify_user(
      share.user_id, 'comment', 'New comment',
      coalesce(author ->> 'name', 'A CookCam user') || ' commented on ' || share.title || '.',
      pg_catalog.jsonb_build_object('user', author, 'share_id', share.id, 'comment_id', new.id),
      'comment:' || new.id, new.user_id
    );
  end if;
  return null;
end
$$;
create trigger live_recipe_comments_notify after insert on public.live_recipe_comments
  for each row execute function public.live_recipe_comments_notify();

create function public.recipe_ratings_notify() returns trigger
language plpgsql security definer set search_path = '' as $$
declare
  recipe public.recipes;
  author jsonb := public.user_card(new.user_id);
begin
  select * into recipe from public.recipes r where r.id = new.recipe_id;
  if recipe.created_by <> new.user_id then
    perform public.notify_user(
      recipe.created_by, 'review', 'New review',
      coalesce(author ->> 'name', 'A CookCam user') || ' reviewed ' || recipe.title || '.',
      pg_catalog.jsonb_build_object('user', author, 'recipe_id', recipe.id),
      'review:' || recipe.id || ':' || new.user_id, new.user_id
    );
  end if;
  return null;
end
$$;
create trigger recipe_ratings_notify after insert or update of review on public.recipe_ratings
  for each row when (new.review <> '')
  execute function public.recipe_ratings_notify();

-- Hours of the user's local day in which nothing is pushed; equal times mean none.
alter table public.users
  add column quiet_hours_start time(0) without time zone,
  add column quiet_hours_end time(0) without time zone,
  add check ((quiet_hours_start is null) = (quiet_hours_end is null));

-- The end of the quiet hours that hold at a moment, at least a minute later; null when none hold.
-- An unknown zone counts as UTC.
create function public.quiet_until(
  p_at timestamptz, p_timezone text, p_start time, p_end time
) returns timestamptz
language plpgsql stable set search_path = '' as $$
declare
  zone text := p_timezone;
  at_local timestamp;
  ends timestamp;
  is_quiet boolean;
begin
  begin
    at_local := p_at at time zone zone;
  exception
    when invalid_parameter_value then
      zone := 'UTC';
      at_local := p_at at time zone zone;
  end;
  is_quiet := case
    when p_start <= p_end then at_local::time >= p_start and at_local::time < p_end
    else at_local::time >= p_start or at_local::time < p_end
  end;
  if is_quiet is not true then
    return null;
  end if;
  ends := at_local::date + p_end;
  if ends <= at_local then
    ends := ends + interval '1 day';
  end if;
  return greatest(ends at time zone zone, p_at + interval '1 minute');
end
$$;

revoke execute on function
  public.notification_logs_added(),
  public.notify_user(uuid, text, text, text, jsonb, text, uuid),
  public.user_progress_notify(),
  public.user_achievements_notify(),
  public.user_follows_notify(),
  public.live_recipe_comments_notify(),
  public.recipe_ratings_notify(),
  public.quiet_until(timestamptz, text, time, time)
from public, anon, authenticated;
grant execute on function
  public.notify_user(uuid, text, text, text, jsonb, text, uuid),
  public.quiet_until(timestamptz, text, time, time)
to service_role;
