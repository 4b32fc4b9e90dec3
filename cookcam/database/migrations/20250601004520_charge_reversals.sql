-- What of a user's billing is under way: the lease of the request that changes it, and the checkout
-- session that is open. One session is open at a time, so that two tabs are not both charged.
create table public.billing_in_progress (
  user_id uuid primary key references public.users (id) on delete cascade,
  lease_token uuid,
  leased_until timestamptz,
  checkout_session_id text,
  -- A hash of what is sold and where the page leads: the same again is the same session.
  checkout_wish text,
  checkout_expires_at timestamptz
);

-- Subscriptions whose charge is to be taken back: they are cancelled at their provider, and what was
-- paid last is refunded. No column says whose they were: most are of accounts that are gone.
create table public.charge_reversals (
  provider text not null check (provider in ('stripe', 'ios', 'android')),
  provider_subscription_id text not null,
  reason text not null check (reason in ('closed_account', 'second_purchase')),
  status text not null default 'pending' check (status in ('pending', 'settled')),
  -- Set before the provider is asked to end it. What had ended by itself is not refunded.
  ending boolean not null default false,
  outcome text,
  attempts integer not null default 0 check (attempts >= 0),
  noticed_at timestamptz not null default pg_catalog.now(),
  next_attempt_at timestamptz not null default pg_catalog.now(),
  settled_at timestamptz,
  primary key (provider, provider_subscription_id),
  check ((status = 'settled') = (settled_at is not null))
);

create index charge_reversals_due on public.charge_reversals (next_attempt_at)
  where status = 'pending';
create index charge_reversals_by_age on public.charge_reversals (noticed_at);

alter table public.billing_in_progress enable row level security;
alter table public.charge_reversals enable row level security;
revoke all on table public.billing_in_progress, public.charge_reversals from anon, authenticated;
grant all on table public.billing_in_progress, public.charge_reversals to service_role;
