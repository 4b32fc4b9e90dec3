-- A run that could not read a provider's list to its end, or stopped asking a provider, has compared
-- less than there is, whatever its error rate says.
alter table public.reconciliation_runs add column cut_short boolean not null default false;
alter table public.reconciliation_metrics add column cut_short boolean not null default false;

create or replace view public.reconciliation_alerts_view with (security_invoker = true) as
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
        case when m.cut_short then 'RUN_CUT_SHORT' end,
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
