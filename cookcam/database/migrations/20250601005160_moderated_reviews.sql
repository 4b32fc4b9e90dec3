-- Reviews are reported and hidden on their own; a block ends notifications; the moderators' log forgets
-- deleted users.

alter table public.recipe_ratings add column hidden_at timestamptz;

drop policy recipe_ratings_not_hidden on public.recipe_ratings;
create policy recipe_ratings_not_hidden on public.recipe_ratings as restrictive
  for select to anon, authenticated
  using (
    (user_id = any ((select safety.hidden_from_caller())::uuid[])) is not true
    and (hidden_at is null or user_id = (select auth.uid()))
  );

alter table public.content_reports
  drop constraint content_reports_target_type_check,
  add constraint content_reports_target_type_check
    check (target_type in ('recipe', 'photo', 'comment', 'message', 'review', 'user'));

-- Notifications that name a hidden user are not read, also one that is written while a block is made.
create policy notification_logs_not_hidden on public.notification_logs as restrictive
  for select to authenticated
  using ((actor_id = any ((select safety.hidden_from_caller())::uuid[])) is not true);

create function safety.delete_notifications() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  delete from public.notification_logs n
  where (n.user_id, n.actor_id) in (
    (new.blocker_id, new.blocked_id), (new.blocked_id, new.blocker_id)
  );
  return null;
end
$$;

create trigger user_blocks_delete_notifications after insert on public.user_blocks
  for each row execute function safety.delete_notifications();

-- The target of an action is the id of a user, or <recipe id>/<user id> of a review. The notes of
-- moderators may name the user too.
create function safety.forget_deleted_user() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  update public.moderation_actions a set
    target_id = pg_catalog.replace(a.target_id, old.id::text, 'deleted'), note = null
  where a.target_type = 'user' and a.target_id = old.id::text
    or a.target_type = 'review' and pg_catalog.split_part(a.target_id, '/', 2) = old.id::text;
  return null;
end
$$;

create trigger users_forgotten after delete on public.users
  for each row execute function safety.forget_deleted_user();

update public.moderation_actions a set target_id = 'deleted', note = null
where a.target_type = 'user'
  and not exists (select from public.users u where u.id::text = a.target_id);

revoke execute on function safety.delete_notifications(), safety.forget_deleted_user() from public;
