"""Migrations: plain SQL files, each applied once, in the order of their names.

A file `YYYYMMDDHHMMSS_name.sql` is applied in one transaction together with the record that it was,
so a process that dies half way leaves nothing behind. The transaction holds an advisory lock, so
any number of instances may start at once: one applies, the others wait and find it done. The record
holds a checksum, and a file that changed after it was applied stops everything
(`spec/database.md` §0).

`url` is the login that owns the schema, over a direct or session-pooled connection: a transaction
pooler does not keep the session settings that migrations use. The server's own login
(`cookcam_app`) may not migrate; it may ask what is pending.
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
    """The schema could not be brought up to date; the words say which file and why."""


async def migrate(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """Apply what is pending and return the names applied by this call, oldest first.

    Cancelling stops after the file at hand. Raises `MigrationError`: what was applied before the
    failing file stays applied.
    """
    return await trio.to_thread.run_sync(_migrate, url, directory)


async def pending(url: str, directory: Path = MIGRATIONS) -> list[str]:
    """The names that `migrate` would apply, oldest first. Changes nothing.

    Raises `MigrationError` where `migrate` would refuse because a file changed, or could not
    connect.
    """
    checksums = checksums_of(directory)
    try:
        async with await connect(url) as connection:
            recorded = await _recorded(connection)
    except (psycopg.Error, ValueError) as error:
        raise MigrationError(f"reading the record: {error}") from error
    _refuse_changed(checksums, recorded)
    return [name for name in checksums if name not in recorded]


def checksums_of(directory: Path) -> dict[str, str]:
    """SHA-256 of each migration's text by name; line endings do not count."""
    return {
        path.stem: hashlib.sha256(path.read_text("utf-8").encode()).hexdigest()
        for path in sorted(directory.glob("*.sql"))
    }


def _migrate(url: str, directory: Path) -> list[str]:
    # yoyo and sqlparse are needed by whoever migrates, and by no other start of the program.
    from cookcam.database.migration_backend import MigrationBackend

    done: list[str] = []
    current = "preparing"
    try:
        with MigrationBackend(url) as backend:
            backend.prepare()
            checksums = checksums_of(directory)
            _refuse_changed(checksums, backend.recorded_checksums())
            for migration in backend.outstanding(directory):
                trio.from_thread.check_cancelled()
                current = migration.id
                if backend.apply_with_record(migration, checksums[migration.id]):
                    done.append(migration.id)
            current = "granting"
            backend.share_record()
    except (psycopg.Error, ValueError) as error:
        raise MigrationError(f"{current}: {error}") from error
    return done


async def _recorded(connection: Connection) -> dict[str, str]:
    table = await connection.execute("select to_regclass('cookcam.migration_checksums')")
    if await table.fetchone() == (None,):
        return {}
    rows = await connection.execute(
        "select migration_id, checksum from cookcam.migration_checksums"
    )
    return dict(await rows.fetchall())


def _refuse_changed(checksums: Mapping[str, str], recorded: Mapping[str, str]) -> None:
    changed = [name for name, sum_ in checksums.items() if recorded.get(name, sum_) != sum_]
    if changed:
        raise MigrationError(
            f"changed after being applied: {', '.join(changed)}. "
            "Restore the file and put the change into a new migration"
        )
