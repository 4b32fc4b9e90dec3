-- The backups that the server has made, and how it makes them. The files are outside of the database.
create table public.backups (
  id text primary key check (id ~ '^backup_[0-9]{1,20}$'),
  status text not null default 'running' check (status in ('running', 'completed', 'failed')),
  start_time timestamptz not null default pg_catalog.now(),
  -- While it runs: of the instance that makes it.
  heartbeat_at timestamptz not null default pg_catalog.now(),
  end_time timestamptz,
  size bigint check (size >= 0),
  sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
  error text,
  tables text[] not null default '{}',
  check ((status = 'running') = (end_time is null)),
  check ((status = 'completed') = (sha256 is not null and size is not null))
);

create unique index backups_one_running on public.backups ((status)) where status = 'running';
create index backups_by_time on public.backups (start_time desc);

-- At most one row; without it, the settings of the environment apply.
create table public.backup_config (
  singleton boolean primary key default true check (singleton),
  enabled boolean not null,
  frequency text not null check (frequency in ('daily', 'weekly', 'monthly')),
  retention_days integer not null check (retention_days between 1 and 3650)
);

alter table public.backups enable row level security;
alter table public.backup_config enable row level security;
revoke all on table public.backups, public.backup_config from anon, authenticated;
grant all on table public.backups, public.backup_config to service_role;
