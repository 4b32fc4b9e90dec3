-- Google refunds what is not acknowledged within three days. When it has to be tried again, by
-- whoever runs then; null where there is nothing to do.
alter table public.iap_receipt_bindings
  add column acknowledge_at timestamptz,
  add column acknowledge_attempts smallint not null default 0;

create index iap_receipt_bindings_unacknowledged on public.iap_receipt_bindings (acknowledge_at)
  where acknowledge_at is not null;
