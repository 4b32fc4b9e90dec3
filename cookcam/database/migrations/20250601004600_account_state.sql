-- The state of one account, for the check of every access token.
--
-- 'banned': banned at the identity provider, until then. 'deleted': no such identity, or a deletion
-- that was requested and has not finished. 'active': everything else.
create function public.account_state(p_user_id uuid) returns text
language sql stable security definer set search_path = '' as $$
  select case
    when u.id is null or u.deleted_at is not null then 'deleted'
    when u.banned_until > pg_catalog.now() then 'banned'
    when exists (select from public.account_deletions d where d.user_id = p_user_id) then 'deleted'
    else 'active'
  end
  from (select p_user_id as id) as wanted
  left join auth.users u on u.id = wanted.id
$$;

-- A requested deletion closes live connections as well.
create or replace function public.closed_accounts(users uuid[]) returns setof uuid
language sql stable security definer set search_path = '' as $$
  select wanted.id
  from pg_catalog.unnest(users) as wanted(id)
  where public.account_state(wanted.id) <> 'active'
$$;

create function public.announce_account_deletion() returns trigger
language plpgsql set search_path = '' as $$
begin
  perform pg_catalog.pg_notify('cookcam_account_closed', new.user_id::text);
  return null;
end
$$;

create trigger announce_account_deletion after insert on public.account_deletions
  for each row execute function public.announce_account_deletion();

revoke execute on function
  public.account_state(uuid),
  public.announce_account_deletion()
from public, anon, authenticated;
grant execute on function public.account_state(uuid) to service_role;
