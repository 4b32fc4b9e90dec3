-- Tiers, what each allows, and who is entitled to which.

create table public.subscription_tiers (
  id smallint primary key,
  slug text not null unique check (slug in ('free', 'regular', 'creator')),
  name text not null,
  price_monthly_cents integer not null check (price_monthly_cents >= 0),
  price_yearly_cents integer not null check (price_yearly_cents >= 0),
  currency text not null default 'USD' check (currency ~ '^[A-Z]{3}$'),
  billing_period text not null default 'monthly' check (billing_period in ('monthly', 'yearly')),
  features jsonb not null default '[]'
    check (
      pg_catalog.jsonb_typeof(features) = 'array'
      and not pg_catalog.jsonb_path_exists(features, '$[*] ? (@.type() != "string")')
    ),
  -- A missing key, or -1, means unlimited.
  limits jsonb not null default '{}'
    check (
      pg_catalog.jsonb_typeof(limits) = 'object'
      and not pg_catalog.jsonb_path_exists(limits, '$.* ? (@.type() != "number")')
    ),
  revenue_share_percentage smallint not null default 0
    check (revenue_share_percentage between 0 and 100),
  is_active boolean not null default true,
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create trigger set_updated_at before update on public.subscription_tiers
  for each row execute function public.set_updated_at();

insert into public.subscription_tiers (
  id, slug, name, price_monthly_cents, price_yearly_cents, limits, revenue_share_percentage,
  features
) values
  (
    1, 'free', 'Free', 0, 0,
    '{"daily_scans": 5, "monthly_recipes": 10, "saved_recipes": 50}', 0,
    '["Basic recipes", "5 scans a day", "Community recipes"]'
  ),
  (
    2, 'regular', 'Regular', 399, 3999,
    '{"monthly_recipes": 500, "saved_recipes": 1000}', 0,
    '["Unlimited scans", "Premium recipes", "Meal planning", "Nutrition tracking"]'
  ),
  (
    3, 'creator', 'Creator', 999, 9999,
    '{"saved_recipes": 5000}', 30,
    '["Everything in Regular", "Publishing", "Analytics", "Revenue sharing"]'
  );

create table public.feature_access (
  feature_key text primary key,
  feature_name text not null,
  description text,
  tier_requirements smallint[] not null default '{}',
  is_active boolean not null default true
);

insert into public.feature_access (feature_key, feature_name, tier_requirements) values
  ('unlimited_recipes', 'Unlimited recipes', '{2, 3}'),
  ('nutrition_tracking', 'Nutrition tracking', '{2, 3}'),
  ('export_pdf', 'PDF export', '{2, 3}'),
  ('creator_dashboard', 'Creator dashboard', '{3}'),
  ('affiliate_links', 'Affiliate links', '{3}'),
  ('revenue_analytics', 'Revenue analytics', '{3}'),
  ('direct_messaging', 'Direct messaging', '{3}'),
  ('bulk_operations', 'Bulk operations', '{3}'),
  ('api_access', 'API access', '{3}');

-- One row for each subscription a provider knows of. Several may be paid for at once, and one of
-- them counts: the others are `cancelled` here, and `superseded_status` keeps what their provider
-- says, so that one of them can take over when the row that counts ends. `as_of` is the provider's
-- own time of the state the row shows: an older state never overwrites a newer one.
create table public.user_subscriptions (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid not null references public.users (id) on delete cascade,
  tier_id smallint not null references public.subscription_tiers (id),
  status text not null
    check (status in ('active', 'trialing', 'past_due', 'cancelled', 'expired', 'incomplete')),
  superseded_status text check (superseded_status in ('active', 'trialing', 'past_due')),
  current_period_start timestamptz not null,
  current_period_end timestamptz not null,
  cancel_at_period_end boolean not null default false,
  canceled_at timestamptz,
  last_verified_at timestamptz,
  provider text not null check (provider in ('stripe', 'ios', 'android', 'manual')),
  provider_subscription_id text,
  provider_customer_id text,
  product_id text,
  as_of timestamptz not null default pg_catalog.now(),
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now(),
  check (current_period_end > current_period_start),
  check (provider_subscription_id is not null or provider = 'manual'),
  check (superseded_status is null or status = 'cancelled')
);

create unique index user_subscriptions_live on public.user_subscriptions (user_id)
  where status in ('active', 'trialing', 'past_due');
create unique index user_subscriptions_of_provider
  on public.user_subscriptions (provider, provider_subscription_id)
  where provider_subscription_id is not null;
create index user_subscriptions_of_user on public.user_subscriptions (user_id, created_at desc);
create index user_subscriptions_ending on public.user_subscriptions (current_period_end)
  where status in ('active', 'trialing', 'past_due');
create index user_subscriptions_unverified
  on public.user_subscriptions (provider, last_verified_at nulls first)
  where status in ('active', 'trialing', 'past_due');
create index user_subscriptions_of_tier on public.user_subscriptions (tier_id);

create trigger set_updated_at before update on public.user_subscriptions
  for each row execute function public.set_updated_at();

create table public.subscription_history (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  user_id uuid references public.users (id) on delete set null,
  subscription_id uuid references public.user_subscriptions (id) on delete set null,
  action text not null
    check (action in (
      'created', 'renewed', 'upgraded', 'downgraded', 'scheduled_cancel', 'cancelled', 'expired',
      'reactivated', 'past_due', 'refunded', 'reconciled'
    )),
  source text not null default 'server'
    check (source in (
      'server', 'stripe', 'app_store', 'google_play', 'reconciliation', 'admin'
    )),
  event_ref text,
  from_tier_id smallint references public.subscription_tiers (id),
  to_tier_id smallint references public.subscription_tiers (id),
  metadata jsonb not null default '{}' check (pg_catalog.jsonb_typeof(metadata) = 'object'),
  created_at timestamptz not null default pg_catalog.now()
);

create index subscription_history_of_user
  on public.subscription_history (user_id, created_at desc);
create index subscription_history_of_subscription
  on public.subscription_history (subscription_id);
-- One event changes one subscription once, however often it is delivered.
create unique index subscription_history_of_event
  on public.subscription_history (source, event_ref, subscription_id)
  where event_ref is not null;
create index subscription_history_from_tier on public.subscription_history (from_tier_id);
create index subscription_history_to_tier on public.subscription_history (to_tier_id);

alter table public.subscription_tiers enable row level security;
alter table public.feature_access enable row level security;
alter table public.user_subscriptions enable row level security;
alter table public.subscription_history enable row level security;
revoke all on table
  public.subscription_tiers,
  public.feature_access,
  public.user_subscriptions,
  public.subscription_history
from anon, authenticated;
grant all on table
  public.subscription_tiers,
  public.feature_access,
  public.user_subscriptions,
  public.subscription_history
to service_role;
grant select on table public.subscription_tiers, public.feature_access to anon, authenticated;
grant select on table public.user_subscriptions, public.subscription_history to authenticated;

create policy subscription_tiers_read on public.subscription_tiers
  for select to anon, authenticated using (is_active);
create policy feature_access_read on public.feature_access
  for select to anon, authenticated using (is_active);
create policy user_subscriptions_read_own on public.user_subscriptions
  for select to authenticated using (user_id = (select auth.uid()));
create policy subscription_history_read_own on public.subscription_history
  for select to authenticated using (user_id = (select auth.uid()));

-- The tier a user is entitled to now: that of the row that counts while its period lasts, and for
-- seven days more while a payment is overdue; Free otherwise.
create function public.user_tier_id(p_user_id uuid) returns smallint
language sql stable set search_path = '' as $$
  select coalesce(
    (
      select s.tier_id
      from public.user_subscriptions s
      where s.user_id = p_user_id
        and (
          (s.status in ('active', 'trialing') and s.current_period_end > pg_catalog.now())
          or (
            s.status = 'past_due'
            and s.current_period_end + interval '7 days' > pg_catalog.now()
          )
        )
    ),
    1::smallint
  )
$$;

create function public.user_has_feature_access(user_id uuid, feature_key text) returns boolean
language sql stable set search_path = '' as $$
  select exists (
    select
    from public.feature_access f
    where f.feature_key = $2
      and f.is_active
      and public.user_tier_id($1) = any (f.tier_requirements)
  )
$$;

revoke execute on function
  public.user_tier_id(uuid),
  public.user_has_feature_access(uuid, text)
from public, anon, authenticated;
grant execute on function
  public.user_tier_id(uuid),
  public.user_has_feature_access(uuid, text)
to service_role;
