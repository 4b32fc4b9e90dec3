"""Makes backups in the background, deletes old ones, and checks what a restore would change.

One backup runs at a time, on any instance. An instance that ends while it makes one marks it as
failed; one that was killed is noticed by the others, because its heartbeat stops.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import trio
from attrs import define, field, frozen

from cookcam.config.secret import Secret
from cookcam.database.dumps import (
    DumpError,
    DumpTools,
    count_rows,
    manifest_path,
    verify_dump,
    write_dump,
)
from cookcam.errors import AppError, Conflict, InternalError, NotFound, ValidationError
from cookcam.features.operations.backups.models import PERIODS, Backup, BackupPlan, Frequency
from cookcam.features.operations.backups.store import BackupStore
from cookcam.lifecycle.background import Bell
from cookcam.lifecycle.groups import service_nursery
from cookcam.observability.logging import get_logger
from cookcam.observability.metrics import Metrics

log = get_logger(__name__)

CHECK_INTERVAL: Final = 60.0
"""Seconds between two looks at the plan."""
HEARTBEAT_INTERVAL: Final = 30.0
MAX_SILENCE: Final = timedelta(minutes=5)
SETTLE_TIMEOUT: Final = 2.0
"""Seconds to mark a backup as failed during a shutdown."""

NOT_STARTED: Final = "Failed to start backup"
FAILED: Final = "The dump failed; the server's log has the reason"


class BackupsDisabled(InternalError):
    """No backup can be started: an operator's setting, not a fault."""

    of_the_client = True


@frozen
class RestoredTable:
    """A table of a dry run: its rows in the backup and now; None where it does not exist."""

    name: str
    rows_in_backup: int
    rows_now: int | None


@frozen
class Check:
    """A result of the test of the backup system."""

    name: str
    success: bool
    message: str


@define(eq=False)
class Backups:
    """`url` is the login that dumps; `default` the plan where no administrator has set one.
    `ping_cache` raises when the cache does not respond."""

    store: BackupStore
    directory: Path | None
    url: Secret
    tools: DumpTools
    default: BackupPlan
    ping_cache: Callable[[], Awaitable[object]]
    metrics: Metrics
    now: Callable[[], datetime]
    _requested: str | None = field(default=None, init=False)
    _bell: Bell = field(factory=Bell, init=False)

    async def run(self) -> None:
        """Background task: make the backups that were requested or are due."""
        while True:
            if self.directory is not None:
                await self.run_due()
            await self._bell.wait(CHECK_INTERVAL)

    async def run_due(self) -> None:
        """Make the backup that was requested or is due, if any, and delete old ones."""
        await self.store.fail_lost(MAX_SILENCE)
        plan, now = await self.plan(), self.now()
        backup_id, self._requested = self._requested, None
        if backup_id is None and plan.enabled:
            backup_id = await self.store.begin(now, after=now - PERIODS[plan.frequency])
        if backup_id is not None:
            await self._make(backup_id)
        for old in await self.store.delete_older(now - timedelta(days=plan.retention_days)):
            file = self._file(old)
            file.unlink(missing_ok=True)
            manifest_path(file).unlink(missing_ok=True)
            log.info("backup deleted", backup=old)
        period = PERIODS[plan.frequency].total_seconds() if plan.enabled else 0.0
        self.metrics.backup_period_seconds.set(period)
        self.metrics.backup_last_completed_timestamp.set(await self.store.last_completed())

    async def start(self) -> str:
        """Start a backup in the background; returns its id. Raises BackupsDisabled, Conflict."""
        if self.directory is None:
            raise BackupsDisabled("BACKUP_DIRECTORY is not set", error=NOT_STARTED)
        if not (await self.plan()).enabled:
            raise BackupsDisabled("Backups are disabled", error=NOT_STARTED)
        now = self.now()
        backup_id = await self.store.begin(now, after=now)
        if backup_id is None:
            raise Conflict("A backup is running", error=NOT_STARTED)
        self._requested = backup_id
        self._bell.ring()
        return backup_id

    async def find(self, backup_id: str) -> Backup:
        """Raises NotFound."""
        backup = await self.store.find(backup_id)
        if backup is None:
            raise NotFound("Backup not found", error="Backup not found")
        return backup

    async def plan(self) -> BackupPlan:
        return await self.store.plan() or self.default

    async def change_plan(
        self, enabled: bool | None, frequency: Frequency | None, retention_days: int | None
    ) -> BackupPlan:
        """Store the plan with the given changes; None is no change."""
        plan = await self.plan()
        plan = BackupPlan(
            plan.enabled if enabled is None else enabled,
            frequency or plan.frequency,
            retention_days or plan.retention_days,
        )
        await self.store.set_plan(plan)
        return plan

    async def dry_run(self, backup: Backup, tables: Sequence[str] | None) -> list[RestoredTable]:
        """What a restore would replace: the named tables, or all of the backup.

        Reads the whole file, for its checksum. Raises ValidationError for a table that the backup
        does not have, and Conflict for a backup that cannot be restored.
        """
        if backup.status != "completed":
            raise Conflict(f"The backup is {backup.status}")
        unknown = sorted(set(tables or ()) - set(backup.tables))
        if unknown:
            raise ValidationError.of("tables", f"must be tables of the backup, not {unknown[0]}")
        try:
            manifest = await verify_dump(self._file(backup.id))
            now = await count_rows(self.url.reveal())
        except DumpError as error:
            log.warning("backup cannot be restored", backup=backup.id, reason=str(error))
            raise Conflict("The file of the backup is missing here or damaged") from error
        return [
            RestoredTable(name, manifest.rows[_qualified(name)], now.get(_qualified(name)))
            for name in (backup.tables if tables is None else tables)
        ]

    async def checks(self) -> list[Check]:
        """Test everything that a backup needs."""
        return [
            await _check("Database Connection", self.store.database.ping),
            await _check("Cache Connection", self.ping_cache),
            await _check("Backup Configuration", self._check_configuration),
        ]

    async def _check_configuration(self) -> None:
        if self.directory is None:
            raise DumpError("BACKUP_DIRECTORY is not set")
        if not await trio.to_thread.run_sync(_is_writable, self.directory):
            raise DumpError("BACKUP_DIRECTORY is not a folder that the server may write to")
        for name in ("pg_dump", "pg_restore"):
            self.tools.path(name)
        if not (await self.plan()).enabled:
            raise DumpError("Backups are disabled")

    async def _make(self, backup_id: str) -> None:
        log.info("backup started", backup=backup_id)
        ended = False
        try:
            async with service_nursery() as nursery:
                nursery.start_soon(self._keep_alive, backup_id)
                manifest = await write_dump(self.url.reveal(), self._file(backup_id), self.tools)
            tables = sorted(name.removeprefix("public.") for name in manifest.rows)
            await self.store.complete(backup_id, manifest.size, manifest.sha256, tables)
            ended = True
            log.info("backup completed", backup=backup_id, bytes=manifest.size)
        except DumpError as error:
            log.error("backup failed", backup=backup_id, reason=str(error))
            await self.store.fail(backup_id, FAILED)
            ended = True
        finally:
            if not ended:  # cancelled, or the database is away: then the row is failed later
                with trio.move_on_after(SETTLE_TIMEOUT, shield=True), suppress(AppError):
                    await self.store.fail(backup_id, "The server was stopped")

    async def _keep_alive(self, backup_id: str) -> None:
        while True:
            await trio.sleep(HEARTBEAT_INTERVAL)
            try:
                await self.store.heartbeat(backup_id)
            except AppError as error:
                log.warning("backup heartbeat failed", backup=backup_id, code=error.code)

    def _file(self, backup_id: str) -> Path:
        return Path(self.directory or "") / f"{backup_id}.dump"


def _qualified(table: str) -> str:
    return table if "." in table else f"public.{table}"


def _is_writable(directory: Path) -> bool:
    return directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)


async def _check(name: str, work: Callable[[], Awaitable[object]]) -> Check:
    try:
        await work()
    except DumpError as error:
        return Check(name, False, str(error))
    except AppError as error:
        return Check(name, False, f"Failed: {error.code}")
    return Check(name, True, "OK")
