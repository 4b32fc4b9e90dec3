-- Whoever is connected live is told to go when the account is banned or deleted: every ban and
-- deletion is announced to the servers, whoever decides it (the app, an administrator, the
-- provider's own console).

-- The columns of Supabase Auth that say so, where the shim stands in for it.
do $$
declare
  wanted text;
begin
  foreach wanted in array array['banned_until', 'deleted_at'] loop
    if not exists (
      select from pg_catalog.pg_attribute a
      where a.attrelid = 'auth.users'::pg_catalog.regclass and a.attname = wanted
        and not a.attisdropped
    ) then
      execute pg_catalog.format('alter table auth.users add column %I timestamptz', wanted);
    end if;
  end loop;
end
$$;

create function public.announce_account_closed() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('cookcam_account_closed', old.id::text);
  return null;
end
$$;

-- Deleting an identity deletes its profile, so that this hears of both.
create trigger announce_account_closed after delete on public.users
  for each row execute function public.announce_account_closed();

create trigger on_auth_user_closed after update on auth.users
  for each row when (
    (new.banned_until is distinct from old.banned_until and new.banned_until > pg_catalog.now())
    or (new.deleted_at is distinct from old.deleted_at and new.deleted_at is not null)
  )
  execute function public.announce_account_closed();

-- Which of these users have no account, or one that is banned or deleted. The server's own roles
-- may not read auth.users, so this does it for them.
create function public.closed_accounts(users uuid[]) returns setof uuid
language sql stable security definer set search_path = '' as $$
  select asked.id
  from pg_catalog.unnest(users) as asked(id)
  left join auth.users u on u.id = asked.id
  where u.id is null or u.deleted_at is not null or u.banned_until > pg_catalog.now()
$$;

revoke execute on function
  public.announce_account_closed(),
  public.closed_accounts(uuid[])
from public, anon, authenticated;
grant execute on function public.closed_accounts(uuid[]) to service_role;
