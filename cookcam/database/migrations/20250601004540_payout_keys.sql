-- A key stands for one payout: with another amount it is refused, and not answered with the old one.
create or replace function public.request_creator_payout(
  p_creator_id uuid, p_amount_cents bigint, p_method text, p_idempotency_key text
) returns uuid
language plpgsql set search_path = '' as $$
declare
  payout_id uuid;
  reserved_cents bigint;
begin
  perform from public.users u where u.id = p_creator_id for update;
  if not found then
    raise exception 'unknown_creator' using errcode = 'P0002';
  end if;
  select p.id, p.amount_cents into payout_id, reserved_cents
  from public.creator_payouts p
  where p.creator_id = p_creator_id and p.idempotency_key = p_idempotency_key;
  if found then
    if reserved_cents is distinct from p_amount_cents then
      raise exception 'key_reused' using errcode = 'P0001';
    end if;
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
