"""The SQL of security events and alerts, as SERVICE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import LiteralString

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.features.operations.security.models import SecurityFigures

# The account of an event may have been deleted since.
STORE: LiteralString = """
insert into public.security_events
  (type, severity, ip, user_id, details, request_id, path, method, user_agent, created_at)
select
  e.type, e.severity, e.ip, u.id, e.details, e.request_id, e.path, e.method, e.user_agent,
  e.created_at
from jsonb_to_recordset(%(events)s::jsonb) as e(
  type text, severity text, ip inet, user_id uuid, details jsonb, request_id text, path text,
  method text, user_agent text, created_at timestamptz
)
left join public.users u on u.id = e.user_id"""

# One alert for each critical event, and one in five minutes for an address with ten events.
RAISE_ALERTS: LiteralString = """
with events as (
  select e.severity, e.ip, e.details
  from jsonb_to_recordset(%(events)s::jsonb) as e(severity text, ip inet, details jsonb)
), repeated as (
  select e.ip, count(*) as count
  from public.security_events e
  where e.ip in (select ip from events) and e.created_at > now() - interval '5 minutes'
  group by e.ip
  having count(*) >= 10
)
insert into public.security_alerts (type, severity, message, details)
select
  'critical_security_event', 'critical', 'A critical security event',
  e.details || jsonb_build_object('ip', host(e.ip))
from events e where e.severity = 'critical'
union all
select
  'repeated_security_events', 'high', 'Many security events from one address',
  jsonb_build_object('ip', host(r.ip), 'events', r.count)
from repeated r
where not exists (
  select from public.security_alerts a
  where a.type = 'repeated_security_events' and a.created_at > now() - interval '5 minutes'
    and a.details ->> 'ip' = host(r.ip)
)"""

FIGURES: LiteralString = """
select
  count(*) filter (where type = 'auth_failure') as auth_failures,
  count(*) filter (where type = 'rate_limit') as rate_limits,
  count(*) filter (where type not in ('auth_failure', 'rate_limit')) as suspicious_activities,
  count(*) filter (
    where type = 'auth_failure' and details ->> 'reason' = 'INVALID_CREDENTIALS'
  ) as failed_sign_ins
from public.security_events
where created_at > now() - interval '24 hours'"""


@frozen
class SecurityEventStore:
    database: Database

    async def write(self, rows: Sequence[bytes]) -> None:
        """Store events, which are JSON objects, and raise the alerts that follow from them."""
        events = (b"[" + b",".join(rows) + b"]").decode()
        async with self.database.transaction() as tx:
            tx.defer(STORE, events=events)
            tx.defer(RAISE_ALERTS, events=events)

    async def figures(self) -> SecurityFigures:
        return await self.database.fetch_one_as(SERVICE, SecurityFigures, FIGURES)
