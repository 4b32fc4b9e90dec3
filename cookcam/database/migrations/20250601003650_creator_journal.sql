-- Double entry for what creators earn and are paid.
--
-- `creator_ledger` says what a creator earned and `creator_payouts` where it goes; neither has a
-- counter side. Every change of theirs is posted here twice, in the same transaction: what one
-- account gets another one gives, so the journal sums to zero, each entry does by itself, and what
-- is in a creator's account is what is owed. The triggers below are the only writers; a posting
-- without its counter side cannot be committed.
--
--   account     what a positive sum means
--   platform    (negative) what was promised to creators out of what the platform took in
--   creator     owed to creators
--   transit     reserved for payouts, or sent to Stripe
--   paid        paid out to creators' banks

create table public.creator_journal (
  id bigint generated always as identity primary key,
  ledger_id bigint references public.creator_ledger (id),
  payout_id uuid references public.creator_payouts (id),
  account text not null check (account in ('platform', 'creator', 'transit', 'paid')),
  amount_cents bigint not null check (amount_cents <> 0),
  currency text not null,
  posted_at timestamptz not null default pg_catalog.now(),
  check ((ledger_id is null) <> (payout_id is null)),
  unique (ledger_id, account)
);

create index creator_journal_of_payout on public.creator_journal (payout_id);

-- Where the money of a payout is while it has this status.
create function public.creator_payout_place(status text) returns text
language sql immutable set search_path = '' as $$
  select case
    when $1 in ('pending', 'processing') then 'transit'
    when $1 = 'completed' then 'paid'
    else 'creator'
  end
$$;

create function public.creator_journal_of_entry() returns trigger
language plpgsql set search_path = '' as $$
begin
  insert into public.creator_journal (ledger_id, account, amount_cents, currency)
  values (new.id, 'platform', -new.amount_cents, new.currency),
         (new.id, 'creator', new.amount_cents, new.currency);
  return null;
end
$$;

create function public.creator_journal_of_payout() returns trigger
language plpgsql set search_path = '' as $$
declare
  was text := 'creator';
  was_cents bigint := 0;
begin
  if tg_op = 'UPDATE' then
    was := public.creator_payout_place(old.status);
    was_cents := old.amount_cents;
  end if;
  insert into public.creator_journal (payout_id, account, amount_cents, currency)
  select new.id, moved.account, pg_catalog.sum(moved.cents), new.currency
  from (
    values ('creator', was_cents), (was, -was_cents),
      ('creator', -new.amount_cents), (public.creator_payout_place(new.status), new.amount_cents)
  ) as moved (account, cents)
  group by moved.account having pg_catalog.sum(moved.cents) <> 0;
  return null;
end
$$;

-- What was entered before there was a journal.
insert into public.creator_journal (ledger_id, account, amount_cents, currency, posted_at)
select l.id, leg.account, leg.sign * l.amount_cents, l.currency, l.created_at
from public.creator_ledger l, (values ('platform', -1), ('creator', 1)) as leg (account, sign);

insert into public.creator_journal (payout_id, account, amount_cents, currency, posted_at)
select p.id, leg.account, leg.sign * p.amount_cents, p.currency, p.requested_at
from public.creator_payouts p,
  lateral (values ('creator', -1), (public.creator_payout_place(p.status), 1)) as leg (account, sign)
where public.creator_payout_place(p.status) <> 'creator';

create trigger creator_journal_of_entry after insert on public.creator_ledger
  for each row execute function public.creator_journal_of_entry();
create trigger creator_journal_of_payout after insert or update of status, amount_cents
  on public.creator_payouts
  for each row execute function public.creator_journal_of_payout();

create function public.creator_journal_balances() returns trigger
language plpgsql set search_path = '' as $$
declare
  total bigint;
begin
  select pg_catalog.sum(j.amount_cents) into total
  from public.creator_journal j
  where j.ledger_id = new.ledger_id or j.payout_id = new.payout_id;
  if total <> 0 then
    raise exception 'a posting has no counter side' using errcode = 'check_violation';
  end if;
  return null;
end
$$;

create constraint trigger creator_journal_balances after insert on public.creator_journal
  deferrable initially deferred
  for each row execute function public.creator_journal_balances();

create trigger creator_journal_no_change before update or delete on public.creator_journal
  for each row execute function public.creator_ledger_guard();

-- Money of payments that went back. What a payment leaves to a creator follows from the payment
-- and these rows, in whichever order they become known. `payment_ref` is the `source_ref` of the
-- receipt, or Stripe's payment of a tip; `ref` the refunds of a charge, or a dispute.
create table public.payment_returns (
  payment_ref text not null,
  ref text not null,
  paid_cents bigint not null check (paid_cents > 0),
  back_cents bigint not null check (back_cents >= 0),
  currency text not null,
  told_at timestamptz not null,
  primary key (payment_ref, ref)
);

alter table public.creator_journal enable row level security;
alter table public.payment_returns enable row level security;
revoke all on table public.creator_journal, public.payment_returns from anon, authenticated;
grant all on table public.creator_journal, public.payment_returns to service_role;
revoke execute on function
  public.creator_payout_place(text),
  public.creator_journal_of_entry(),
  public.creator_journal_of_payout(),
  public.creator_journal_balances()
from public, anon, authenticated;
grant execute on function public.creator_payout_place(text) to service_role;

-- When Stripe made the transfer of a payout: a payout of the account completes what came before it.
alter table public.creator_payouts add column transferred_at timestamptz;

-- Payouts whose transfer is not known to have been made or refused.
create index creator_payouts_unsettled on public.creator_payouts (requested_at)
  where status in ('pending', 'processing') and stripe_transfer_id is null;

-- What Stripe still wants to know of an account's owner, and when it was last asked.
alter table public.creator_stripe_accounts
  add column requirements_due text[] not null default '{}',
  add column read_at timestamptz not null default pg_catalog.now();

-- The visitors' hashes that are due to go.
create index affiliate_link_clicks_with_hash on public.affiliate_link_clicks (clicked_at)
  where ip_hash is not null;
