"""Migrations: plain SQL files, each applied once, in the order of their names.

A file `YYYYMMDDHHMMSS_name.sql` and its record are written in one transaction, so a process that
dies half way leaves no partial migration. The transaction holds an advisory lock, so any number of
instances may start at once: one applies the file, the others wait and skip it. The record
holds a checksum; a file that changed after it was applied is an error.

`url` is the login that owns the schema, over a direct or session-pooled connection: a transaction
pooler does not keep the session settings that migrations use. The server's own login
(`cookcam_app`) may list the pending migrations but not apply them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import psycopg
import trio

from cookcam.database.connecting import connect
from cookcam.database.connection import Connection

MIGRATIONS = Path(__file__).parent / "migrations"


class MigrationError(Exception):
    """The schema could not be brought up to date; the message has the file and the reason."""


async def migrate(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """Apply the pending migrations. Returns the names applied by this call, oldest first.

    Cancellation takes effect after the current file. Raises `MigrationError`; files applied before
    the failing one stay applied.
    """
    return await trio.to_thread.run_sync(_migrate, url, directory)


async def pending(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """Return the names that `migrate` would apply, oldest first. Changes nothing.

    Raises `MigrationError` when an applied file has changed, or when the connection fails.
    """
    checksums = checksums_of(directory)
    try:
        async with await connect(url) as connection:
            recorded = await _recorded(connection)
    except (psycopg.Error, ValueError) as error:
        raise MigrationError(f"reading the record: {error}") from error
    _reject_changed_files(checksums, recorded)
    return [name for name in checksums if name not in recorded]


def checksums_of(directory: Path) -> dict[str, str]:
    """Return the SHA-256 of each migration's text by name, independent of line endings."""
    return {
        path.stem: hashlib.sha256(path.read_text("utf-8").encode()).hexdigest()
        for path in sorted(directory.glob("*.sql"))
    }


def _migrate(url: str, directory: Path) -> list[str]:
    # Imported here because only migrating needs yoyo and sqlparse.
    from cookcam.database.migration_backend import MigrationBackend

    applied: list[str] = []
    current = "preparing"
    try:
        with MigrationBackend(url) as backend:
            backend.prepare()
            checksums = checksums_of(directory)
            _reject_changed_files(checksums, backend.recorded_checksums())
            for migration in backend.outstanding(directory):
                trio.from_thread.check_cancelled()
                current = migration.id
                if backend.apply_with_record(migration, checksums[migration.id]):
                    applied.append(migration.id)
            current = "granting"
            backend.grant_record_access()
    except (psycopg.Error, ValueError) as error:
        raise MigrationError(f"{current}: {error}") from error
    return applied


async def _recorded(connection: Connection) -> dict[str, str]:
    table = await connection.execute("select to_regclass('cookcam.migration_checksums')")
    if await table.fetchone() == (None,):
        return {}
    rows = await connection.execute(
        "select migration_id, checksum from cookcam.migration_checksums"
    )
    return dict(await rows.fetchall())


def _reject_changed_files(checksums: Mapping[str, str], recorded: Mapping[str, str]) -> None:
    changed = [
        name for name, checksum in checksums.items() if recorded.get(name, checksum) != checksum
    ]
    if changed:
        raise MigrationError(
            f"changed after being applied: {', '.join(changed)}. "
            "Restore the file and put the change into a new migration"
        )
