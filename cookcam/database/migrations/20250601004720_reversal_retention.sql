-- The hourly sweep deletes settled reversals by age (docs/retention.md).
create index charge_reversals_settled on public.charge_reversals (settled_at)
  where status = 'settled';
