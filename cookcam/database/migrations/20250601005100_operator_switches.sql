-- Maintenance and read-only mode, for all instances: a switch is on while it has a row.
create table public.operator_switches (
  name text primary key check (name in ('maintenance', 'read_only')),
  retry_after integer not null check (retry_after between 1 and 86400),
  since timestamptz not null default pg_catalog.now()
);

alter table public.operator_switches enable row level security;
revoke all on table public.operator_switches from anon, authenticated;
grant all on table public.operator_switches to service_role;
