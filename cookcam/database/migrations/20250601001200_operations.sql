-- What the server keeps for itself: quotas, stored replies, erasure, analytics, push, security.
-- Only usage counters may be read by the user they count; nobody else has any business here.

create table public.usage_counters (
  user_id uuid not null references public.users (id) on delete cascade,
  metric text not null check (metric in ('daily_scans', 'monthly_recipes')),
  period_start date not null,
  used integer not null default 0 check (used >= 0),
  primary key (user_id, metric, period_start)
);

-- Whether one more fits. Two callers who come for the last one are served one after the other by
-- the row itself. Without a limit nothing is counted.
create function public.consume_quota(
  p_user_id uuid, p_metric text, p_limit integer, p_period_start date
) returns boolean
language plpgsql set search_path = '' as $$
begin
  if p_limit is null then
    return true;
  end if;
  insert into public.usage_counters as c (user_id, metric, period_start, used)
  select p_user_id, p_metric, p_period_start, 1
  where p_limit > 0
  on conflict (user_id, metric, period_start) do update set used = c.used + 1
  where c.used < p_limit;
  return found;
end
$$;

-- A stored reply of a POST that may be repeated. status_code is null while the first one runs.
create table public.idempotency_keys (
  user_id uuid not null references public.users (id) on delete cascade,
  key text not null check (pg_catalog.char_length(key) <= 200),
  endpoint text not null,
  request_hash text not null,
  status_code smallint,
  response jsonb,
  created_at timestamptz not null default pg_catalog.now(),
  expires_at timestamptz not null default pg_catalog.now() + interval '24 hours',
  primary key (user_id, key)
);

create index idempotency_keys_expired on public.idempotency_keys (expires_at);

-- The job of erasing an account. It outlives the user, so nothing here refers to one.
create table public.account_deletions (
  user_hash text primary key check (user_hash ~ '^[0-9a-f]{64}$'),
  user_id uuid unique,
  status text not null default 'pending'
    check (status in ('pending', 'data_deleted', 'identity_deleted', 'completed', 'failed')),
  attempts smallint not null default 0 check (attempts >= 0),
  error_message text,
  email_ciphertext bytea,
  stripe_account_id text,
  unpaid_balance_cents bigint not null default 0 check (unpaid_balance_cents >= 0),
  storage_prefixes text[] not null default '{}',
  row_counts jsonb not null default '{}' check (pg_catalog.jsonb_typeof(row_counts) = 'object'),
  requested_at timestamptz not null default pg_catalog.now(),
  completed_at timestamptz,
  check ((status = 'completed') = (completed_at is not null)),
  check (user_id is not null or status = 'completed')
);

create index account_deletions_open on public.account_deletions (requested_at)
  where status <> 'completed';

create table public.analytics_events (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid references public.users (id) on delete set null,
  event_type text not null check (event_type ~ '^[A-Za-z0-9_.:-]{1,64}$'),
  event_data jsonb not null default '{}',
  metadata jsonb not null default '{}' check (pg_catalog.jsonb_typeof(metadata) = 'object'),
  session_id text check (pg_catalog.char_length(session_id) <= 200),
  created_at timestamptz not null default pg_catalog.now(),
  check (
    pg_catalog.octet_length(event_data::text) + pg_catalog.octet_length(metadata::text) <= 8192
  ),
  check (pg_catalog.char_length(metadata ->> 'timestamp') <= 200)
);

create unique index analytics_events_once
  on public.analytics_events (user_id, event_type, (metadata ->> 'timestamp'))
  where user_id is not null and metadata ->> 'timestamp' is not null;
create index analytics_events_of_user on public.analytics_events (user_id, created_at desc);
create index analytics_events_by_time on public.analytics_events (created_at);

create table public.device_tokens (
  token text primary key,
  user_id uuid not null references public.users (id) on delete cascade,
  platform text check (platform in ('ios', 'android')),
  provider text not null default 'expo' check (provider in ('expo', 'fcm', 'apns')),
  active boolean not null default true,
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

-- Of all tokens and not only of the active ones: the deletion of a user looks for all.
create index device_tokens_of_user on public.device_tokens (user_id);
create trigger set_updated_at before update on public.device_tokens
  for each row execute function public.set_updated_at();

-- The app writes its token into its profile. A device belongs to one user at a time, so a token
-- that somebody else had moves; a token that is taken away no longer receives anything.
create function public.users_push_token() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  if new.push_token <> '' then
    insert into public.device_tokens as d (token, user_id) values (new.push_token, new.id)
    on conflict (token) do update set user_id = excluded.user_id, active = true;
  else
    update public.device_tokens set active = false
    where token = old.push_token and user_id = new.id;
  end if;
  return null;
end
$$;

create trigger users_push_token after update of push_token on public.users
  for each row when (new.push_token is not null or old.push_token is not null)
  execute function public.users_push_token();

create table public.notification_logs (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  type text not null,
  title text not null,
  body text not null,
  data jsonb not null default '{}' check (pg_catalog.jsonb_typeof(data) = 'object'),
  status text not null default 'queued'
    check (status in ('queued', 'sending', 'sent', 'failed', 'skipped')),
  error_message text,
  dedupe_key text,
  sent_at timestamptz,
  created_at timestamptz not null default pg_catalog.now()
);

create unique index notification_logs_once on public.notification_logs (user_id, dedupe_key)
  where dedupe_key is not null;
create index notification_logs_of_user on public.notification_logs (user_id, created_at desc);
create index notification_logs_waiting on public.notification_logs (created_at)
  where status in ('queued', 'sending');

create table public.security_events (
  id bigint primary key generated by default as identity,
  type text not null check (type in (
    'auth_failure', 'rate_limit', 'suspicious_activity', 'sql_injection', 'xss_attempt',
    'unauthorized_access'
  )),
  severity text not null check (severity in ('low', 'medium', 'high', 'critical')),
  ip inet,
  user_id uuid references public.users (id) on delete set null,
  details jsonb not null default '{}' check (pg_catalog.jsonb_typeof(details) = 'object'),
  request_id text,
  path text,
  method text,
  user_agent text,
  created_at timestamptz not null default pg_catalog.now()
);

create index security_events_by_time on public.security_events (created_at desc);
create index security_events_of_ip on public.security_events (ip, created_at desc);
create index security_events_of_user on public.security_events (user_id);

create table public.security_alerts (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  type text not null,
  severity text not null check (severity in ('low', 'medium', 'high', 'critical')),
  message text not null,
  details jsonb not null default '{}' check (pg_catalog.jsonb_typeof(details) = 'object'),
  acknowledged boolean not null default false,
  acknowledged_by uuid references public.users (id) on delete set null,
  acknowledged_at timestamptz,
  created_at timestamptz not null default pg_catalog.now(),
  check (acknowledged = (acknowledged_at is not null))
);

create index security_alerts_open on public.security_alerts (created_at desc)
  where not acknowledged;

revoke execute on function
  public.consume_quota(uuid, text, integer, date),
  public.users_push_token()
from public, anon, authenticated;
grant execute on function public.consume_quota(uuid, text, integer, date) to service_role;

alter table public.usage_counters enable row level security;
alter table public.idempotency_keys enable row level security;
alter table public.account_deletions enable row level security;
alter table public.analytics_events enable row level security;
alter table public.device_tokens enable row level security;
alter table public.notification_logs enable row level security;
alter table public.security_events enable row level security;
alter table public.security_alerts enable row level security;
revoke all on table
  public.usage_counters,
  public.idempotency_keys,
  public.account_deletions,
  public.analytics_events,
  public.device_tokens,
  public.notification_logs,
  public.security_events,
  public.security_alerts
from anon, authenticated;
grant all on table
  public.usage_counters,
  public.idempotency_keys,
  public.account_deletions,
  public.analytics_events,
  public.device_tokens,
  public.notification_logs,
  public.security_events,
  public.security_alerts
to service_role;

grant select on table public.usage_counters to authenticated;
create policy usage_counters_read_own on public.usage_counters for select to authenticated
  using (user_id = (select auth.uid()));
