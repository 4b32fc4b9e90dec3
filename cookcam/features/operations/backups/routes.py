"""Routes under `/backup`, for administrators."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cookcam.errors import NotOffered
from cookcam.features.literals import rejected_field
from cookcam.features.operations.backups.models import Frequency
from cookcam.features.operations.backups.responses import (
    BackupConfigResponse,
    BackupListResponse,
    BackupResponse,
    BackupTestResponse,
    ChangedBackupConfigResponse,
    DryRunResponse,
    StartedBackupResponse,
)
from cookcam.features.operations.backups.service import NOT_STARTED, Backups
from cookcam.http import (
    Routes,
    deadline,
    document_failures,
    errors_as,
    query_integers,
    serve_in_maintenance,
    unconditional,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import admin_only

NO_RESTORE = "A backup is restored by an operator: cookcam restore"

TableName = Annotated[str, Meta(min_length=1, max_length=63)]


class StartBackupRequest(Struct):
    """`incremental` is known to clients and not offered."""

    type: str = "full"


class RestoreRequest(Struct, rename="camel"):
    """Over HTTP only a dry run is offered."""

    backup_id: str | None = None
    tables: Annotated[list[TableName], Meta(max_length=500)] | None = None
    dry_run: bool = False

    def required_id(self) -> str:
        """Raises ValidationError."""
        if not self.backup_id:
            raise rejected_field("Backup ID is required", "backupId")
        return self.backup_id


class BackupConfigRequest(Struct):
    """`retention` is in days. `tables` and `incremental` may only repeat what they are: a backup
    always has every table, since a part could not be restored, and is never incremental."""

    enabled: bool | None = None
    frequency: Frequency | None = None
    retention: Annotated[int, Meta(ge=1, le=3650)] | None = None
    tables: list[TableName] | None = None
    incremental: bool | None = None


def routes(backups: Backups) -> Routes:
    bp = Routes("backups", __name__)

    @bp.post("/backup/start")
    @serve_in_maintenance
    @errors_as(unexpected=NOT_STARTED)
    @admin_only
    @document_failures(409, 500, 501)
    @validate_request(StartBackupRequest)
    @validate_response(StartedBackupResponse)
    async def start(caller: Identity, data: StartBackupRequest) -> StartedBackupResponse:
        """Start a backup in the background."""
        if data.type not in ("full", "incremental"):
            raise rejected_field("Invalid backup type", "type")
        if data.type == "incremental":
            raise NotOffered("Backups are full; incremental ones are the database provider's")
        return StartedBackupResponse(await backups.start(), "Backup started")

    @bp.get("/backup/status/<backup_id>")
    @serve_in_maintenance
    @unconditional
    @errors_as(unexpected="Failed to get backup status")
    @admin_only
    @document_failures(404)
    @validate_response(BackupResponse)
    async def status(caller: Identity, backup_id: str) -> BackupResponse:
        """The state of one backup."""
        return BackupResponse.of(await backups.find(backup_id))

    @bp.get("/backup/list")
    @serve_in_maintenance
    @unconditional
    @errors_as(unexpected="Failed to list backups")
    @admin_only
    @query_integers(limit=10)
    @validate_response(BackupListResponse)
    async def newest(caller: Identity, limit: int) -> BackupListResponse:
        """The newest backups."""
        return BackupListResponse.of(await backups.store.newest(limit))

    @bp.post("/backup/restore")
    @serve_in_maintenance
    @deadline(60)  # it reads the whole file
    @errors_as(unexpected="Failed to restore from backup")
    @admin_only
    @document_failures(404, 409, 501)
    @validate_request(RestoreRequest)
    @validate_response(DryRunResponse)
    async def restore(caller: Identity, data: RestoreRequest) -> DryRunResponse:
        """What a restore would replace. Only with `dryRun`: operators restore by command."""
        backup = await backups.find(data.required_id())
        if not data.dry_run:
            raise NotOffered(NO_RESTORE)
        return DryRunResponse.of(await backups.dry_run(backup, data.tables))

    @bp.get("/backup/config")
    @serve_in_maintenance
    @errors_as(unexpected="Failed to get backup configuration")
    @admin_only
    @validate_response(BackupConfigResponse)
    async def config(caller: Identity) -> BackupConfigResponse:
        """How the server makes backups."""
        return BackupConfigResponse.of(await backups.plan(), await backups.store.tables())

    @bp.put("/backup/config")
    @serve_in_maintenance
    @errors_as(unexpected="Failed to update backup configuration")
    @admin_only
    @validate_request(BackupConfigRequest)
    @validate_response(ChangedBackupConfigResponse)
    async def change_config(
        caller: Identity, data: BackupConfigRequest
    ) -> ChangedBackupConfigResponse:
        """Change the configuration, for all instances."""
        tables = await backups.store.tables()
        if data.tables is not None and sorted(data.tables) != tables:
            raise rejected_field("A backup always has every table", "tables")
        if data.incremental:
            raise rejected_field("Backups are never incremental", "incremental")
        plan = await backups.change_plan(data.enabled, data.frequency, data.retention)
        return ChangedBackupConfigResponse(
            "Backup configuration updated", BackupConfigResponse.of(plan, tables)
        )

    @bp.post("/backup/test")
    @serve_in_maintenance
    @errors_as(unexpected="Failed to test backup system")
    @admin_only
    @validate_response(BackupTestResponse)
    @validate_response(BackupTestResponse, 500)
    async def test(caller: Identity) -> tuple[BackupTestResponse, int]:
        """Test what a backup needs."""
        result = BackupTestResponse.of(await backups.checks())
        return result, 200 if result.success else 500

    return bp
