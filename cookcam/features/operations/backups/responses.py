"""Responses of the backup routes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.operations.backups.models import Backup, BackupPlan, Frequency, Status
from cookcam.features.operations.backups.service import Check, RestoredTable
from cookcam.http.responses import time_text


class StartedBackupResponse(Struct, rename="camel"):
    backup_id: str
    message: str


class BackupResponse(Struct, rename="camel"):
    """`size` in bytes. `tablesBackedUp` is empty until the backup is completed."""

    id: str
    status: Status
    type: Literal["full"]
    start_time: str
    tables_backed_up: list[str]
    end_time: str | UnsetType = UNSET
    size: int | UnsetType = UNSET
    error: str | UnsetType = UNSET

    @classmethod
    def of(cls, backup: Backup) -> BackupResponse:
        return cls(
            backup.id,
            backup.status,
            "full",
            time_text(backup.start_time),
            backup.tables,
            UNSET if backup.end_time is None else time_text(backup.end_time),
            UNSET if backup.size is None else backup.size,
            UNSET if backup.error is None else backup.error,
        )


class BackupListResponse(Struct):
    backups: list[BackupResponse]
    count: int

    @classmethod
    def of(cls, backups: Sequence[Backup]) -> BackupListResponse:
        return cls([BackupResponse.of(backup) for backup in backups], len(backups))


class RestoredTableResponse(Struct, rename="camel"):
    """`rowsNow` is null where the table does not exist any more."""

    name: str
    rows_in_backup: int
    rows_now: int | None


class DryRunResponse(Struct, rename="camel"):
    """`affectedTables` would be replaced; `rows` has what they have."""

    success: bool
    message: str
    affected_tables: list[str]
    rows: list[RestoredTableResponse]

    @classmethod
    def of(cls, tables: Sequence[RestoredTable]) -> DryRunResponse:
        total = sum(table.rows_in_backup for table in tables)
        return cls(
            True,
            f"Dry run: the file is intact; {len(tables)} tables with {total} rows",
            [table.name for table in tables],
            [
                RestoredTableResponse(table.name, table.rows_in_backup, table.rows_now)
                for table in tables
            ],
        )


class BackupConfigResponse(Struct):
    """`retention` in days."""

    enabled: bool
    frequency: Frequency
    retention: int
    tables: list[str]
    incremental: bool

    @classmethod
    def of(cls, plan: BackupPlan, tables: list[str]) -> BackupConfigResponse:
        return cls(plan.enabled, plan.frequency, plan.retention_days, tables, False)


class ChangedBackupConfigResponse(Struct):
    message: str
    config: BackupConfigResponse


class BackupCheck(Struct):
    name: str
    success: bool
    message: str


class BackupTestResponse(Struct):
    success: bool
    message: str
    checks: list[BackupCheck]

    @classmethod
    def of(cls, checks: Sequence[Check]) -> BackupTestResponse:
        failed = [check.name for check in checks if not check.success]
        return cls(
            not failed,
            f"Failed: {', '.join(failed)}" if failed else "All checks passed",
            [BackupCheck(check.name, check.success, check.message) for check in checks],
        )
