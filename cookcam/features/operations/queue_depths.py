"""How much stored work waits: the depth of each queue in the database, for the metrics."""

from __future__ import annotations

from typing import Final, Literal, LiteralString, NoReturn, get_args

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.lifecycle.background import run_periodically
from cookcam.observability.metrics import Metrics

INTERVAL: Final = 30.0

Queue = Literal["stripe_webhooks", "store_webhooks", "notifications"]
State = Literal["waiting", "overdue", "dead"]
"""`overdue`: due for more than five minutes, so the worker is slow or does not run. `dead`: given
up after the last attempt."""

# The conditions are those of the partial indexes on these tables.
_COUNT: LiteralString = """
select queue, state, count(*)::int as entries
from (
  select
    'stripe_webhooks' as queue,
    case
      when status = 'failed' and next_attempt_at is null then 'dead'
      when coalesce(next_attempt_at, claimed_at) < now() - interval '5 minutes' then 'overdue'
      else 'waiting'
    end as state
  from public.stripe_webhook_events where status <> 'processed'
  union all
  select
    'store_webhooks',
    case
      when status = 'failed' and next_attempt_at is null then 'dead'
      when coalesce(next_attempt_at, claimed_at) < now() - interval '5 minutes' then 'overdue'
      else 'waiting'
    end
  from public.iap_webhook_logs where status in ('processing', 'failed')
  union all
  select
    'notifications',
    case
      when coalesce(next_attempt_at, claimed_at, created_at) < now() - interval '5 minutes'
        then 'overdue'
      else 'waiting'
    end
  from public.notification_logs where status in ('queued', 'sending')
) as entry
group by queue, state"""


@frozen
class _Depth:
    queue: Queue
    state: State
    entries: int


@frozen
class QueueDepths:
    """Sets `queue_entries`; every instance reports the same database."""

    database: Database
    metrics: Metrics

    async def run(self) -> NoReturn:
        """Background task: count now and every half a minute."""
        await run_periodically(self.measure, INTERVAL, at_once=True)

    async def measure(self) -> None:
        depths = await self.database.fetch_all_as(SERVICE, _Depth, _COUNT)
        counted = {(depth.queue, depth.state): depth.entries for depth in depths}
        for queue in get_args(Queue):
            for state in get_args(State):
                self.metrics.queue_entries.of(queue, state).set(counted.get((queue, state), 0))
