-- Creators: how they are referred to, what they earn, and how it is paid out. Money in cents.

create table public.creator_stripe_accounts (
  creator_id uuid primary key references public.users (id) on delete cascade,
  stripe_account_id text not null unique,
  account_status text not null default 'pending'
    check (account_status in ('pending', 'active', 'restricted', 'disabled')),
  details_submitted boolean not null default false,
  charges_enabled boolean not null default false,
  payouts_enabled boolean not null default false,
  country text not null default 'US' check (country ~ '^[A-Z]{2}$'),
  currency text not null default 'usd',
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create trigger set_updated_at before update on public.creator_stripe_accounts
  for each row execute function public.set_updated_at();

create table public.creator_affiliate_links (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  creator_id uuid not null references public.users (id) on delete cascade,
  link_code text not null unique check (link_code ~ '^(CC_[A-Z0-9]{8}|CHEF_[0-9A-F]{8})$'),
  custom_slug text unique check (custom_slug ~ '^[a-z0-9-]{3,40}$'),
  campaign_name text not null default 'Default Campaign',
  is_active boolean not null default true,
  click_count integer not null default 0 check (click_count >= 0),
  conversions_count integer not null default 0 check (conversions_count >= 0),
  created_at timestamptz not null default pg_catalog.now(),
  updated_at timestamptz not null default pg_catalog.now()
);

create index creator_affiliate_links_of_creator
  on public.creator_affiliate_links (creator_id, created_at desc);

create trigger set_updated_at before update on public.creator_affiliate_links
  for each row execute function public.set_updated_at();

-- One click for each visitor and hour.
create table public.affiliate_link_clicks (
  id bigint generated always as identity primary key,
  link_id uuid not null references public.creator_affiliate_links (id) on delete cascade,
  source text,
  ip_hash text,
  user_agent text,
  referrer text,
  hour_bucket timestamptz not null,
  clicked_at timestamptz not null default pg_catalog.now(),
  unique (link_id, ip_hash, hour_bucket)
);

create index affiliate_link_clicks_of_link
  on public.affiliate_link_clicks (link_id, clicked_at desc);
create index affiliate_link_clicks_by_age on public.affiliate_link_clicks (clicked_at);

-- Who brought a user: the first who did.
create table public.referral_attributions (
  user_id uuid primary key references public.users (id) on delete cascade,
  referrer_id uuid not null references public.users (id) on delete cascade,
  affiliate_link_id uuid references public.creator_affiliate_links (id) on delete set null,
  link_code text not null,
  attributed_at timestamptz not null default pg_catalog.now(),
  converted_at timestamptz,
  check (user_id <> referrer_id)
);

create index referral_attributions_of_referrer
  on public.referral_attributions (referrer_id, attributed_at desc);
create index referral_attributions_of_link on public.referral_attributions (affiliate_link_id);

create function public.referral_attributions_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'a converted attribution is final' using errcode = 'check_violation';
end
$$;

create trigger referral_attributions_guard before update on public.referral_attributions
  for each row when (
    old.converted_at is not null
    and (old.user_id, old.referrer_id, old.link_code, old.attributed_at, old.converted_at)
      is distinct from
      (new.user_id, new.referrer_id, new.link_code, new.attributed_at, new.converted_at)
  )
  execute function public.referral_attributions_guard();

create table public.affiliate_conversions (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  link_id uuid references public.creator_affiliate_links (id) on delete set null,
  creator_id uuid references public.users (id) on delete set null,
  subscriber_id uuid references public.users (id) on delete set null,
  subscription_id uuid unique references public.user_subscriptions (id) on delete set null,
  tier_id smallint not null references public.subscription_tiers (id),
  converted_at timestamptz not null default pg_catalog.now(),
  deactivated_at timestamptz,
  is_active boolean generated always as (deactivated_at is null) stored,
  check (deactivated_at >= converted_at)
);

create unique index affiliate_conversions_active on public.affiliate_conversions (subscriber_id)
  where deactivated_at is null;
create index affiliate_conversions_of_creator
  on public.affiliate_conversions (creator_id, converted_at desc);
create index affiliate_conversions_of_subscriber on public.affiliate_conversions (subscriber_id);
create index affiliate_conversions_of_link on public.affiliate_conversions (link_id);
create index affiliate_conversions_of_tier on public.affiliate_conversions (tier_id);

create function public.affiliate_counters() returns trigger
language plpgsql set search_path = '' as $$
begin
  if tg_table_name = 'affiliate_link_clicks' then
    update public.creator_affiliate_links set click_count = click_count + 1
    where id = new.link_id;
  else
    update public.creator_affiliate_links set conversions_count = conversions_count + 1
    where id = new.link_id;
  end if;
  return null;
end
$$;

create trigger affiliate_counters after insert on public.affiliate_link_clicks
  for each row execute function public.affiliate_counters();
create trigger affiliate_counters after insert on public.affiliate_conversions
  for each row execute function public.affiliate_counters();

create table public.creator_tips (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  recipe_id uuid references public.recipes (id) on delete set null,
  creator_id uuid references public.users (id) on delete set null,
  tipper_id uuid references public.users (id) on delete set null,
  amount_cents integer not null check (amount_cents between 50 and 50000),
  currency text not null default 'usd',
  message text check (pg_catalog.char_length(message) <= 500),
  is_anonymous boolean not null default false,
  stripe_payment_intent_id text unique,
  status text not null default 'pending'
    check (status in ('pending', 'completed', 'failed', 'refunded')),
  processed_at timestamptz,
  created_at timestamptz not null default pg_catalog.now(),
  check (creator_id <> tipper_id)
);

create index creator_tips_of_creator on public.creator_tips (creator_id, created_at desc);
create index creator_tips_of_tipper on public.creator_tips (tipper_id, created_at desc);
create index creator_tips_of_recipe on public.creator_tips (recipe_id);

-- What creators earn. What was booked stays booked: a mistake, and a refund, is an entry of its own.
create table public.creator_ledger (
  id bigint generated always as identity primary key,
  creator_id uuid references public.users (id) on delete set null,
  kind text not null
    check (kind in ('commission', 'tip', 'collection', 'refund', 'adjustment')),
  amount_cents bigint not null check (amount_cents <> 0),
  currency text not null default 'usd',
  source_ref text not null unique,
  conversion_id uuid references public.affiliate_conversions (id) on delete set null,
  tip_id uuid references public.creator_tips (id) on delete set null,
  occurred_at timestamptz not null,
  available_at timestamptz not null,
  created_at timestamptz not null default pg_catalog.now(),
  check (amount_cents > 0 or kind in ('refund', 'adjustment'))
);

create index creator_ledger_of_creator on public.creator_ledger (creator_id, occurred_at);
create index creator_ledger_of_conversion on public.creator_ledger (conversion_id);
create index creator_ledger_of_tip on public.creator_ledger (tip_id);

create function public.creator_ledger_hold() returns trigger
language plpgsql set search_path = '' as $$
begin
  new.available_at := new.occurred_at + interval '7 days';
  return new;
end
$$;

create trigger creator_ledger_hold before insert on public.creator_ledger
  for each row when (new.available_at is null)
  execute function public.creator_ledger_hold();

-- Only the references to people and deeds that are deleted change: they become null.
create function public.creator_ledger_guard() returns trigger
language plpgsql set search_path = '' as $$
begin
  raise exception 'the ledger is append only' using errcode = 'check_violation';
end
$$;

create trigger creator_ledger_no_change before update on public.creator_ledger
  for each row when (
    (
      old.id, old.kind, old.amount_cents, old.currency, old.source_ref, old.occurred_at,
      old.available_at, old.created_at
    ) is distinct from (
      new.id, new.kind, new.amount_cents, new.currency, new.source_ref, new.occurred_at,
      new.available_at, new.created_at
    )
  )
  execute function public.creator_ledger_guard();
create trigger creator_ledger_no_delete before delete on public.creator_ledger
  for each row execute function public.creator_ledger_guard();

create table public.creator_payouts (
  id uuid primary key default pg_catalog.gen_random_uuid(),
  creator_id uuid references public.users (id) on delete set null,
  amount_cents bigint not null check (amount_cents >= 1000),
  currency text not null default 'usd',
  method text not null default 'stripe' check (method in ('stripe', 'paypal', 'bank_transfer')),
  status text not null default 'pending'
    check (status in ('pending', 'processing', 'completed', 'failed', 'cancelled')),
  stripe_account_id text,
  stripe_transfer_id text unique,
  stripe_payout_id text,
  notes text,
  idempotency_key text not null unique default pg_catalog.gen_random_uuid()::text,
  requested_at timestamptz not null default pg_catalog.now(),
  processed_at timestamptz,
  updated_at timestamptz not null default pg_catalog.now()
);

create index creator_payouts_of_creator
  on public.creator_payouts (creator_id, requested_at desc);
create index creator_payouts_processing on public.creator_payouts (stripe_account_id)
  where status = 'processing';

create trigger set_updated_at before update on public.creator_payouts
  for each row execute function public.set_updated_at();

alter table public.creator_stripe_accounts enable row level security;
alter table public.creator_affiliate_links enable row level security;
alter table public.affiliate_link_clicks enable row level security;
alter table public.referral_attributions enable row level security;
alter table public.affiliate_conversions enable row level security;
alter table public.creator_tips enable row level security;
alter table public.creator_ledger enable row level security;
alter table public.creator_payouts enable row level security;
revoke all on table
  public.creator_stripe_accounts,
  public.creator_affiliate_links,
  public.affiliate_link_clicks,
  public.referral_attributions,
  public.affiliate_conversions,
  public.creator_tips,
  public.creator_ledger,
  public.creator_payouts
from anon, authenticated;
grant all on table
  public.creator_stripe_accounts,
  public.creator_affiliate_links,
  public.affiliate_link_clicks,
  public.referral_attributions,
  public.affiliate_conversions,
  public.creator_tips,
  public.creator_ledger,
  public.creator_payouts
to service_role;
grant select on table
  public.creator_stripe_accounts,
  public.creator_affiliate_links,
  public.referral_attributions,
  public.creator_tips,
  public.creator_payouts
to authenticated;
-- A creator sees that somebody subscribed, not who.
grant select (
  id, link_id, creator_id, tier_id, converted_at, deactivated_at, is_active
) on table public.affiliate_conversions to authenticated;

create policy creator_stripe_accounts_read_own on public.creator_stripe_accounts
  for select to authenticated using (creator_id = (select auth.uid()));
create policy creator_affiliate_links_read_own on public.creator_affiliate_links
  for select to authenticated using (creator_id = (select auth.uid()));
create policy referral_attributions_read_own on public.referral_attributions
  for select to authenticated using (user_id = (select auth.uid()));
create policy affiliate_conversions_read_own on public.affiliate_conversions
  for select to authenticated using (creator_id = (select auth.uid()));
-- Creators read tips through the server, which hides who tips anonymously.
create policy creator_tips_read_own on public.creator_tips
  for select to authenticated using (tipper_id = (select auth.uid()));
create policy creator_payouts_read_own on public.creator_payouts
  for select to authenticated using (creator_id = (select auth.uid()));

-- What a creator earned in a month (UTC). A refund or adjustment counts where the entry it
-- corrects does: by conversion or by tip; a refund of neither is of a collection, an adjustment of
-- neither is in the total alone. Completed payouts cover the months oldest first.
create function public.calculate_creator_monthly_revenue(
  creator_id uuid, target_month integer, target_year integer
) returns table (
  affiliate_cents bigint,
  tips_cents bigint,
  collections_cents bigint,
  total_cents bigint,
  active_referrals integer,
  new_referrals integer,
  lost_referrals integer,
  payout_status text
)
language sql stable set search_path = '' as $$
  with bounds as (
    select
      pg_catalog.make_timestamptz($3, $2, 1, 0, 0, 0, 'UTC') as begins,
      pg_catalog.timezone(
        'UTC',
        pg_catalog.timezone('UTC', pg_catalog.make_timestamptz($3, $2, 1, 0, 0, 0, 'UTC'))
          + interval '1 month'
      ) as ends
  ),
  earned as (
    select
      coalesce(pg_catalog.sum(l.amount_cents) filter (
        where l.kind = 'commission'
          or (l.kind in ('refund', 'adjustment') and l.conversion_id is not null)
      ), 0)::bigint as affiliate,
      coalesce(pg_catalog.sum(l.amount_cents) filter (
        where l.kind = 'tip'
          or (
            l.kind in ('refund', 'adjustment')
            and l.conversion_id is null and l.tip_id is not null
          )
      ), 0)::bigint as tips,
      coalesce(pg_catalog.sum(l.amount_cents) filter (
        where l.kind = 'collection'
          or (l.kind = 'refund' and l.conversion_id is null and l.tip_id is null)
      ), 0)::bigint as collections,
      coalesce(pg_catalog.sum(l.amount_cents), 0)::bigint as total
    from public.creator_ledger l, bounds b
    where l.creator_id = $1 and l.occurred_at >= b.begins and l.occurred_at < b.ends
  ),
  before as (
    select coalesce(pg_catalog.sum(l.amount_cents), 0)::bigint as total
    from public.creator_ledger l, bounds b
    where l.creator_id = $1 and l.occurred_at < b.begins
  ),
  paid as (
    select coalesce(pg_catalog.sum(p.amount_cents), 0)::bigint as total
    from public.creator_payouts p
    where p.creator_id = $1 and p.status = 'completed'
  ),
  referrals as (
    select
      pg_catalog.count(*) filter (
        where c.deactivated_at is null or c.deactivated_at >= b.begins
      )::integer as active,
      pg_catalog.count(*) filter (where c.converted_at >= b.begins)::integer as new,
      pg_catalog.count(*) filter (
        where c.deactivated_at >= b.begins and c.deactivated_at < b.ends
      )::integer as lost
    from public.affiliate_conversions c, bounds b
    where c.creator_id = $1 and c.converted_at < b.ends
  )
  select
    earned.affiliate,
    earned.tips,
    earned.collections,
    earned.total,
    referrals.active,
    referrals.new,
    referrals.lost,
    case
      when earned.total <= 0 or paid.total <= greatest(before.total, 0) then 'pending'
      when paid.total >= greatest(before.total, 0) + earned.total then 'paid'
      else 'partially_paid'
    end
  from earned, before, paid, referrals
$$;

-- What may be paid out now: what is no longer held, less what was or is being paid. What is owed
-- back counts at once.
create function public.calculate_creator_unpaid_balance(creator_id uuid) returns bigint
language sql stable set search_path = '' as $$
  select greatest(
    0,
    coalesce((
      select pg_catalog.sum(l.amount_cents)
      from public.creator_ledger l
      where l.creator_id = $1
        and (l.available_at <= pg_catalog.now() or l.amount_cents < 0)
    ), 0)
    - coalesce((
      select pg_catalog.sum(p.amount_cents)
      from public.creator_payouts p
      where p.creator_id = $1 and p.status in ('pending', 'processing', 'completed')
    ), 0)
  )::bigint
$$;

-- Reserves money for a payout; the row is locked so that the same money is reserved once. A
-- repeated key is the payout it made. P0001 `below_minimum` under 10.00, P0001
-- `insufficient_balance` over the balance, P0002 for nobody.
create function public.request_creator_payout(
  p_creator_id uuid, p_amount_cents bigint, p_method text, p_idempotency_key text
) returns uuid
language plpgsql set search_path = '' as $$
declare
  payout_id uuid;
begin
  perform from public.users u where u.id = p_creator_id for update;
  if not found then
    raise exception 'unknown_creator' using errcode = 'P0002';
  end if;
  select p.id into payout_id
  from public.creator_payouts p
  where p.creator_id = p_creator_id and p.idempotency_key = p_idempotency_key;
  if found then
    return payout_id;
  end if;
  if p_amount_cents is null or p_amount_cents < 1000 then
    raise exception 'below_minimum' using errcode = 'P0001';
  end if;
  if p_amount_cents > public.calculate_creator_unpaid_balance(p_creator_id) then
    raise exception 'insufficient_balance' using errcode = 'P0001';
  end if;
  insert into public.creator_payouts (
    creator_id, amount_cents, method, idempotency_key, stripe_account_id
  )
  values (
    p_creator_id, p_amount_cents, p_method, p_idempotency_key,
    (select a.stripe_account_id from public.creator_stripe_accounts a
     where a.creator_id = p_creator_id)
  )
  returning id into payout_id;
  return payout_id;
end
$$;

revoke execute on function
  public.referral_attributions_guard(),
  public.affiliate_counters(),
  public.creator_ledger_hold(),
  public.creator_ledger_guard(),
  public.calculate_creator_monthly_revenue(uuid, integer, integer),
  public.calculate_creator_unpaid_balance(uuid),
  public.request_creator_payout(uuid, bigint, text, text)
from public, anon, authenticated;
grant execute on function
  public.calculate_creator_monthly_revenue(uuid, integer, integer),
  public.calculate_creator_unpaid_balance(uuid),
  public.request_creator_payout(uuid, bigint, text, text)
to service_role;
