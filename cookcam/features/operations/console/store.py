"""The SQL of the console: the audit trail, and the counts of what waits for an operator."""

from __future__ import annotations

from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database

MAX_LISTED: Final = 20

ADD: LiteralString = """
insert into public.operator_actions (operator_id, action, target, instance)
values (%(operator)s, %(action)s, left(%(target)s, 300), left(%(instance)s, 300))
returning id"""

LATEST: LiteralString = """
select a.action, a.target, a.instance, a.created_at, u.name as operator
from public.operator_actions a left join public.users u on u.id = a.operator_id
order by a.created_at desc, a.id desc
limit %(limit)s"""

# The conditions are those of the partial indexes on these tables.
WAITING: LiteralString = """
select
  (
    select count(*) from public.stripe_webhook_events
    where status <> 'processed' and status = 'failed' and next_attempt_at is null
  ) + (
    select count(*) from public.iap_webhook_logs
    where status in ('processing', 'failed') and status = 'failed' and next_attempt_at is null
  ) as dead_letters,
  (select count(*) from public.content_reports where status = 'open') as open_reports"""


@frozen
class OperatorAction:
    """`operator` is the name of an administrator, None for a deleted account."""

    action: str
    target: str | None
    instance: str
    created_at: datetime
    operator: str | None


@frozen
class Waiting:
    dead_letters: int
    open_reports: int


@frozen
class ConsoleStore:
    database: Database

    async def add(self, operator: UUID, action: str, target: str | None, instance: str) -> None:
        """Record what an operator did."""
        await self.database.write_one_as(
            SERVICE, dict, ADD, operator=operator, action=action, target=target, instance=instance
        )

    async def latest(self) -> list[OperatorAction]:
        """The latest actions of all operators, newest first."""
        return await self.database.fetch_all_as(SERVICE, OperatorAction, LATEST, limit=MAX_LISTED)

    async def waiting(self) -> Waiting:
        return await self.database.fetch_one_as(SERVICE, Waiting, WAITING)
