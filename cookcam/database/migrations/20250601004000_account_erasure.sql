-- Erasing accounts: what the job has to remember between its steps, and that nobody comes back
-- while it runs.

alter table public.account_deletions
  -- What receipts name the job by: it says nothing about whose it was.
  add column id uuid not null unique default pg_catalog.gen_random_uuid(),
  -- What became of the subscriptions, by provider; null until they have been dealt with.
  add column subscriptions jsonb check (pg_catalog.jsonb_typeof(subscriptions) = 'object'),
  -- How many objects went, by bucket.
  add column file_counts jsonb not null default '{}'
    check (pg_catalog.jsonb_typeof(file_counts) = 'object'),
  add column next_attempt_at timestamptz not null default pg_catalog.now(),
  -- When data and identity were gone; files may follow.
  add column deleted_at timestamptz,
  add check ((status in ('identity_deleted', 'completed')) = (deleted_at is not null));

create index account_deletions_due on public.account_deletions (next_attempt_at)
  where status <> 'completed';

-- A profile that is missing is made when it is read, and by the app. Not that of an account whose
-- data has just been erased and whose identity still lives.
create function public.users_not_while_erased() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if exists (
    select from public.account_deletions d where d.user_id = new.id and d.status <> 'pending'
  ) then
    raise exception 'this account is being deleted' using errcode = 'foreign_key_violation';
  end if;
  return new;
end
$$;

revoke execute on function public.users_not_while_erased() from public, anon, authenticated;
create trigger users_not_while_erased before insert on public.users
  for each row execute function public.users_not_while_erased();

-- The storage of the sandbox has no certificate.
alter table public.users
  drop constraint users_avatar_url_check,
  add constraint users_avatar_url_check check (
    avatar_url ~ '^(https://|http://127[.]0[.]0[.]1[:/])'
    and pg_catalog.char_length(avatar_url) <= 2048
  );
