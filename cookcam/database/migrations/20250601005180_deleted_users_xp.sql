-- The id of a deleted user does not stay in the log of changes: what a foreign key deletes is logged
-- after the triggers of the user have run.

create function public.log_xp_deletions() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.xp_changes (user_id, deleted_user_hash)
  select distinct u.id, case when u.id is null then public.user_hash(c.user_id) end
  from changed c left join public.users u on u.id = c.user_id
  where c.period = 'allTime' or c.period <> 'yearly' and c.begins > current_date - 32;
  return null;
end
$$;

drop trigger xp_periods_deleted on public.xp_periods;
create trigger xp_periods_deleted after delete on public.xp_periods
  referencing old table as changed for each statement execute function public.log_xp_deletions();

drop trigger users_xp_deleted on public.users;
create trigger users_xp_deleted after delete on public.users
  for each row execute function public.log_deleted_user();

revoke execute on function public.log_xp_deletions() from public, anon, authenticated;
