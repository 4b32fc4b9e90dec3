-- Addresses, networks and users to which operators deny access (`cookcam blocklist`).
create table public.blocklist (
  id bigint primary key generated always as identity,
  network cidr,
  user_id uuid references public.users (id) on delete cascade,
  reason text not null check (pg_catalog.char_length(reason) between 1 and 500),
  created_at timestamptz not null default pg_catalog.now(),
  expires_at timestamptz check (expires_at > created_at),
  check ((network is null) <> (user_id is null))
);

create unique index blocklist_networks on public.blocklist (network) where network is not null;
create unique index blocklist_users on public.blocklist (user_id) where user_id is not null;

alter table public.blocklist enable row level security;
revoke all on table public.blocklist from anon, authenticated;
grant all on table public.blocklist to service_role;
