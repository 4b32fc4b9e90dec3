-- What payment providers and app stores tell, and what became of it. All of it is the server's own.

-- Stripe's events, those of connected accounts as well: each is worked on once.
create table public.stripe_webhook_events (
  event_id text primary key,
  event_type text not null,
  account_id text,
  livemode boolean not null default true,
  status text not null check (status in ('processing', 'processed', 'failed')),
  attempts smallint not null default 1 check (attempts between 1 and 10),
  payload jsonb,
  processing_duration_ms integer check (processing_duration_ms >= 0),
  error_message text,
  provider_created_at timestamptz,
  next_attempt_at timestamptz,
  processed_at timestamptz,
  received_at timestamptz not null default pg_catalog.now(),
  claimed_at timestamptz not null default pg_catalog.now()
);

create index stripe_webhook_events_waiting
  on public.stripe_webhook_events ((coalesce(next_attempt_at, claimed_at)))
  where status <> 'processed';
create index stripe_webhook_events_by_age on public.stripe_webhook_events (received_at);

-- Which account a store purchase belongs to: the first that showed it. Rows are never deleted, and
-- outlive the account, so that a receipt cannot move to a new one.
create table public.iap_receipt_bindings (
  platform text not null check (platform in ('ios', 'android')),
  store_key text not null,
  user_id uuid references public.users (id) on delete set null,
  first_product_id text not null,
  first_seen_at timestamptz not null default pg_catalog.now(),
  primary key (platform, store_key)
);

create index iap_receipt_bindings_of_user on public.iap_receipt_bindings (user_id);

create table public.iap_validation_history (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid references public.users (id) on delete set null,
  platform text not null check (platform in ('ios', 'android')),
  product_id text not null,
  receipt_hash text not null check (receipt_hash ~ '^[0-9a-f]{64}$'),
  transaction_id text,
  original_transaction_id text,
  -- `valid` and `invalid` are final answers of the store, `error` is none.
  status text not null check (status in ('valid', 'invalid', 'pending', 'error')),
  environment text not null check (environment in ('sandbox', 'production')),
  expires_at timestamptz,
  receipt_ciphertext bytea,
  validation_response jsonb,
  validation_duration_ms integer check (validation_duration_ms >= 0),
  validated_at timestamptz not null default pg_catalog.now()
);

create index iap_validation_history_of_receipt
  on public.iap_validation_history (platform, receipt_hash, validated_at desc);
create index iap_validation_history_of_transaction
  on public.iap_validation_history (platform, original_transaction_id, validated_at desc)
  where status = 'valid';
create index iap_validation_history_of_user
  on public.iap_validation_history (user_id, validated_at desc);
create index iap_validation_history_by_age on public.iap_validation_history (validated_at);

create table public.iap_webhook_logs (
  platform text not null check (platform in ('ios', 'android')),
  notification_id text not null,
  notification_type text not null,
  subtype text,
  store_key text,
  user_id uuid references public.users (id) on delete set null,
  payload jsonb,
  status text not null check (status in ('processing', 'processed', 'failed', 'ignored')),
  attempts smallint not null default 1 check (attempts between 1 and 10),
  error_message text,
  provider_created_at timestamptz,
  next_attempt_at timestamptz,
  processed_at timestamptz,
  received_at timestamptz not null default pg_catalog.now(),
  claimed_at timestamptz not null default pg_catalog.now(),
  primary key (platform, notification_id)
);

create index iap_webhook_logs_waiting
  on public.iap_webhook_logs ((coalesce(next_attempt_at, claimed_at)))
  where status in ('processing', 'failed');
create index iap_webhook_logs_by_age on public.iap_webhook_logs (received_at);
create index iap_webhook_logs_of_user on public.iap_webhook_logs (user_id);

create table public.reconciliation_metrics (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  total_checked integer not null default 0 check (total_checked >= 0),
  expired_count integer not null default 0 check (expired_count >= 0),
  updated_count integer not null default 0 check (updated_count >= 0),
  errors_count integer not null default 0 check (errors_count >= 0),
  drift_detected integer not null default 0 check (drift_detected >= 0),
  duration_ms integer not null check (duration_ms >= 0),
  reconciled_at timestamptz not null default pg_catalog.now()
);

create index reconciliation_metrics_newest on public.reconciliation_metrics (reconciled_at desc);

alter table public.stripe_webhook_events enable row level security;
alter table public.iap_receipt_bindings enable row level security;
alter table public.iap_validation_history enable row level security;
alter table public.iap_webhook_logs enable row level security;
alter table public.reconciliation_metrics enable row level security;
revoke all on table
  public.stripe_webhook_events,
  public.iap_receipt_bindings,
  public.iap_validation_history,
  public.iap_webhook_logs,
  public.reconciliation_metrics
from anon, authenticated;
grant all on table
  public.stripe_webhook_events,
  public.iap_receipt_bindings,
  public.iap_validation_history,
  public.iap_webhook_logs,
  public.reconciliation_metrics
to service_role;

-- Says who works on an event: the caller (`claimed`), nobody any more (`duplicate`), or somebody
-- else at this moment (`in_progress`). What failed, or was claimed five minutes ago and is still
-- not done, is given to the next who asks. The claim has to be committed before the work begins.
-- `attempts` stops counting at 10, where the sweeper gives up; the provider may still redeliver.
create function public.claim_stripe_event(
  p_event_id text, p_event_type text, p_payload jsonb, p_account_id text, p_livemode boolean
) returns text
language plpgsql set search_path = '' as $$
declare
  found_status text;
begin
  insert into public.stripe_webhook_events as e (
    event_id, event_type, account_id, livemode, status, payload, provider_created_at
  )
  values (
    p_event_id, p_event_type, p_account_id, coalesce(p_livemode, true), 'processing', p_payload,
    case when pg_catalog.jsonb_typeof(p_payload -> 'created') = 'number'
      then pg_catalog.to_timestamp((p_payload ->> 'created')::double precision) end
  )
  on conflict (event_id) do update set
    status = 'processing',
    attempts = least(e.attempts + 1, 10),
    payload = coalesce(excluded.payload, e.payload),
    error_message = null,
    next_attempt_at = null,
    claimed_at = pg_catalog.now()
  where e.status = 'failed'
    or (e.status = 'processing' and e.claimed_at < pg_catalog.now() - interval '5 minutes');
  if found then
    return 'claimed';
  end if;
  select e.status into found_status
  from public.stripe_webhook_events e where e.event_id = p_event_id;
  return case when found_status = 'processed' then 'duplicate' else 'in_progress' end;
end
$$;

create function public.claim_iap_notification(
  p_platform text, p_notification_id text, p_notification_type text, p_payload jsonb
) returns text
language plpgsql set search_path = '' as $$
declare
  found_status text;
begin
  insert into public.iap_webhook_logs as n (
    platform, notification_id, notification_type, status, payload
  )
  values (p_platform, p_notification_id, p_notification_type, 'processing', p_payload)
  on conflict (platform, notification_id) do update set
    status = 'processing',
    attempts = least(n.attempts + 1, 10),
    payload = coalesce(excluded.payload, n.payload),
    error_message = null,
    next_attempt_at = null,
    claimed_at = pg_catalog.now()
  where n.status = 'failed'
    or (n.status = 'processing' and n.claimed_at < pg_catalog.now() - interval '5 minutes');
  if found then
    return 'claimed';
  end if;
  select n.status into found_status
  from public.iap_webhook_logs n
  where n.platform = p_platform and n.notification_id = p_notification_id;
  return case when found_status in ('processed', 'ignored') then 'duplicate' else 'in_progress' end;
end
$$;

revoke execute on function
  public.claim_stripe_event(text, text, jsonb, text, boolean),
  public.claim_iap_notification(text, text, text, jsonb)
from public, anon, authenticated;
grant execute on function
  public.claim_stripe_event(text, text, jsonb, text, boolean),
  public.claim_iap_notification(text, text, text, jsonb)
to service_role;

create view public.reconciliation_health_view with (security_invoker = true) as
select
  (m.reconciled_at at time zone 'UTC')::date as date,
  pg_catalog.count(*) as runs_per_day,
  pg_catalog.round(pg_catalog.avg(m.total_checked), 2) as avg_subscriptions_checked,
  pg_catalog.round(pg_catalog.avg(m.drift_detected), 2) as avg_drift_detected,
  pg_catalog.round(pg_catalog.avg(m.errors_count), 2) as avg_errors,
  pg_catalog.round(pg_catalog.avg(m.duration_ms), 2) as avg_duration_ms,
  pg_catalog.max(m.duration_ms) as max_duration_ms,
  pg_catalog.count(*) filter (where m.errors_count > 0) as runs_with_errors,
  pg_catalog.round(
    pg_catalog.avg(
      case when m.total_checked = 0 then 0
        else m.drift_detected * 100.0 / m.total_checked end
    ),
    2
  ) as drift_rate_percentage
from public.reconciliation_metrics m
where m.reconciled_at > pg_catalog.now() - interval '30 days'
group by 1
order by 1 desc;

-- A run that checked nothing has no rates, and any error in it is an error too many.
create view public.reconciliation_alerts_view with (security_invoker = true) as
select
  r.id, r.reconciled_at, r.total_checked, r.drift_detected, r.errors_count, r.duration_ms,
  r.alerts[1] as alert_level,
  r.alerts,
  pg_catalog.round(r.errors_count * 100.0 / nullif(r.total_checked, 0), 2)
    as error_rate_percentage,
  pg_catalog.round(r.drift_detected * 100.0 / nullif(r.total_checked, 0), 2)
    as drift_rate_percentage
from (
  select
    m.*,
    pg_catalog.array_remove(
      array[
        case when m.errors_count * 10::bigint > m.total_checked then 'HIGH_ERROR_RATE' end,
        case when m.drift_detected * 20::bigint > m.total_checked then 'HIGH_DRIFT_RATE' end,
        case when m.duration_ms > 300000 then 'SLOW_EXECUTION' end
      ],
      null
    ) as alerts
  from public.reconciliation_metrics m
  where m.reconciled_at > pg_catalog.now() - interval '7 days'
) r
where pg_catalog.cardinality(r.alerts) > 0
order by r.reconciled_at desc;

create view public.iap_fraud_detection_view with (security_invoker = true) as
select
  v.user_id,
  v.platform,
  v.product_id,
  pg_catalog.count(*) as validation_attempts,
  pg_catalog.count(distinct v.transaction_id) as unique_transactions,
  pg_catalog.count(*) filter (where v.status = 'invalid') as invalid_attempts,
  pg_catalog.count(*) filter (where v.environment = 'sandbox') as sandbox_attempts,
  pg_catalog.min(v.validated_at) as first_attempt,
  pg_catalog.max(v.validated_at) as last_attempt,
  pg_catalog.round(pg_catalog.avg(v.validation_duration_ms), 2) as avg_duration_ms
from public.iap_validation_history v
where v.validated_at > pg_catalog.now() - interval '30 days'
group by v.user_id, v.platform, v.product_id
having pg_catalog.count(*) > 5
  or pg_catalog.count(*) filter (where v.status = 'invalid') > 3
  or pg_catalog.count(*) filter (where v.environment = 'sandbox') > 1;

revoke all on table
  public.reconciliation_health_view,
  public.reconciliation_alerts_view,
  public.iap_fraud_detection_view
from anon, authenticated, service_role;
grant select on table
  public.reconciliation_health_view,
  public.reconciliation_alerts_view,
  public.iap_fraud_detection_view
to service_role;
