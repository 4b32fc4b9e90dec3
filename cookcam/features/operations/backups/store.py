"""The SQL of backups, as SERVICE."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from attrs import asdict, frozen

from cookcam.database import SERVICE, Database
from cookcam.features.operations.backups.models import Backup, BackupPlan

FIND: Final = """
select id, status, start_time, end_time, size, error, tables from public.backups
where id = %(id)s"""

NEWEST: Final = """
select id, status, start_time, end_time, size, error, tables from public.backups
order by start_time desc limit %(limit)s"""

# Nothing is inserted while another backup runs.
BEGIN: Final = """
insert into public.backups (id)
select 'backup_' || %(milliseconds)s::text
where not exists (
  select from public.backups
  where status = 'running' or (status = 'completed' and start_time > %(after)s)
)
on conflict do nothing
returning id"""

HEARTBEAT: Final = "update public.backups set heartbeat_at = now() where id = %(id)s"

COMPLETE: Final = """
update public.backups set
  status = 'completed', end_time = now(), size = %(size)s, sha256 = %(sha256)s, tables = %(tables)s
where id = %(id)s and status = 'running'"""

FAIL: Final = """
update public.backups set status = 'failed', end_time = now(), error = %(error)s
where id = %(id)s and status = 'running'"""

FAIL_LOST: Final = """
update public.backups set
  status = 'failed', end_time = now(), error = 'The server that made it has ended'
where status = 'running' and heartbeat_at < now() - %(silence)s"""

DELETE_OLD: Final = """
delete from public.backups
where status <> 'running' and start_time < %(before)s
  and id is distinct from (
    select id from public.backups where status = 'completed' order by start_time desc limit 1
  )
returning id"""

LAST_COMPLETED: Final = """
select coalesce(extract(epoch from max(start_time)), 0)::float8
from public.backups where status = 'completed'"""

READ_PLAN: Final = "select enabled, frequency, retention_days from public.backup_config"

WRITE_PLAN: Final = """
insert into public.backup_config (enabled, frequency, retention_days)
values (%(enabled)s, %(frequency)s, %(retention_days)s)
on conflict (singleton) do update set
  enabled = excluded.enabled,
  frequency = excluded.frequency,
  retention_days = excluded.retention_days"""

TABLES: Final = """
select c.relname from pg_catalog.pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition
order by 1"""


@frozen
class _Id:
    id: str


@frozen
class _Table:
    relname: str


@frozen
class BackupStore:
    database: Database

    async def begin(self, now: datetime, after: datetime) -> str | None:
        """The id of a new running backup; None while one runs, or when one completed that began
        later than `after`."""
        milliseconds = int(now.timestamp() * 1000)
        async with self.database.transaction() as tx:
            row = await tx.fetch_optional(_Id, BEGIN, milliseconds=milliseconds, after=after)
        return None if row is None else row.id

    async def heartbeat(self, backup_id: str) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(HEARTBEAT, id=backup_id)

    async def complete(self, backup_id: str, size: int, sha256: str, tables: list[str]) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(COMPLETE, id=backup_id, size=size, sha256=sha256, tables=tables)

    async def fail(self, backup_id: str, error: str) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(FAIL, id=backup_id, error=error)

    async def fail_lost(self, silence: timedelta) -> None:
        """Mark the backups as failed whose instance has not reported for `silence`."""
        async with self.database.transaction() as tx:
            await tx.execute(FAIL_LOST, silence=silence)

    async def delete_older(self, before: datetime) -> list[str]:
        """Delete the backups that began before, except the newest complete one; their ids."""
        async with self.database.transaction() as tx:
            return [row.id for row in await tx.fetch_all(_Id, DELETE_OLD, before=before)]

    async def find(self, backup_id: str) -> Backup | None:
        return await self.database.fetch_optional_as(SERVICE, Backup, FIND, id=backup_id)

    async def newest(self, limit: int) -> list[Backup]:
        """Newest first."""
        return await self.database.fetch_all_as(SERVICE, Backup, NEWEST, limit=limit)

    async def last_completed(self) -> float:
        """When the newest complete backup began, Unix time; 0 without one."""
        return await self.database.fetch_value_as(SERVICE, LAST_COMPLETED)

    async def plan(self) -> BackupPlan | None:
        """The configuration of an administrator, or None before the first."""
        return await self.database.fetch_optional_as(SERVICE, BackupPlan, READ_PLAN)

    async def set_plan(self, plan: BackupPlan) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(WRITE_PLAN, **asdict(plan))

    async def tables(self) -> list[str]:
        """The tables of the schema `public`."""
        rows = await self.database.fetch_all_as(SERVICE, _Table, TABLES)
        return [row.relname for row in rows]
