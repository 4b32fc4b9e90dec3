-- How far a reconciliation is: a run that was killed is taken up where its last page ended.
--
-- `step` and `cursor` name the page that is next; counts are those of what is behind it, and of every
-- correction so far. `holder` is who works on it: another holder has taken the run over, and who
-- was it before can count nothing any more.
create table public.reconciliation_runs (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  holder uuid not null,
  step text,
  cursor text,
  total_checked integer not null default 0 check (total_checked >= 0),
  expired_count integer not null default 0 check (expired_count >= 0),
  updated_count integer not null default 0 check (updated_count >= 0),
  errors_count integer not null default 0 check (errors_count >= 0),
  drift_detected integer not null default 0 check (drift_detected >= 0),
  worked_ms bigint not null default 0 check (worked_ms >= 0),
  began_at timestamptz not null default pg_catalog.now(),
  finished_at timestamptz
);

-- One at a time.
create unique index reconciliation_runs_unfinished on public.reconciliation_runs ((true))
  where finished_at is null;
create index reconciliation_runs_newest on public.reconciliation_runs (began_at desc);

alter table public.reconciliation_runs enable row level security;
revoke all on table public.reconciliation_runs from anon, authenticated;
grant all on table public.reconciliation_runs to service_role;

-- Pages of what goes on at a provider, superseded subscriptions among it.
create index user_subscriptions_going_on on public.user_subscriptions (provider, id)
  where coalesce(superseded_status, status) in ('active', 'trialing', 'past_due');
