"""Bodies of the backup routes."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.operations.backups.models import Frequency

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
