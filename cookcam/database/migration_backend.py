"""The yoyo-migrations backend with atomic records, an advisory lock and checksums.

yoyo finds, orders and splits the files, runs the steps and records the applied migrations.
This subclass differs in four ways:

- yoyo records a migration in a second transaction on a second connection; here the record and the
  migration commit together.
- yoyo's lock is a row that remains after its process died; here it is an advisory lock that ends
  with its transaction.
- yoyo's key is a hash of the file's name; here a checksum of its text is recorded as well.
- yoyo's tables are in the schema `cookcam`, which the data API does not expose.
"""
# yoyo has almost no type annotations.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol, cast

import psycopg
from yoyo import internalmigrations, read_migrations
from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
from yoyo.connections import parse_uri

from cookcam.database.connecting import connection_string

ADVISORY_LOCK = 0x_C00C_CA11
LOCK_TIMEOUT = "10min"  # another instance may be building an index
TABLE_LOCK_TIMEOUT = "1min"  # a migration that waits for a table lock blocks all later queries


class Migration(Protocol):
    id: str

    def process_steps(self, backend: object, direction: str) -> None: ...


class MigrationBackend(PostgresqlPsycopgBackend):
    """One connection that applies migrations. Use it in a `with` block, from a worker thread."""

    schema = "cookcam"

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(parse_uri("postgresql+psycopg:///"), "migrations")

    def connect(self, dburi: object) -> psycopg.Connection[tuple[Any, ...]]:
        """Connect with libpq's parser of the URL; yoyo's own supports fewer forms."""
        return psycopg.connect(connection_string(self.url), autocommit=True)

    def outstanding(self, directory: Path) -> Iterable[Migration]:
        """Return the migrations of a directory that are not recorded, in order."""
        migrations = read_migrations(glob.escape(str(directory)))
        return cast("Iterable[Migration]", self.to_apply(migrations))

    def prepare(self) -> None:
        """Create the record tables if they do not exist; safe to run concurrently."""
        with self.transaction():
            self._take_lock()
            self.execute(f"create schema if not exists {self.schema}")
            internalmigrations.upgrade(self)
            self.execute(
                "create table if not exists migration_checksums ("
                " migration_id text primary key,"
                " checksum text not null,"
                " applied_at timestamptz not null default now())"
            )
        self._internal_schema_updated = True

    def recorded_checksums(self) -> dict[str, str]:
        return dict(self.execute("select migration_id, checksum from migration_checksums"))

    def apply_with_record(self, migration: Migration, checksum: str) -> bool:
        """Apply and record in one transaction. Returns False when it was already applied."""
        with self.transaction():
            self._take_lock()
            if self.is_applied(migration):
                return False
            migration.process_steps(self, "apply")
            self.mark_one(migration, log=False)
            self.execute(
                "insert into cookcam.migration_checksums (migration_id, checksum)"
                " values (:name, :checksum)",
                {"name": migration.id, "checksum": checksum},
            )
        return True

    def grant_record_access(self) -> None:
        """Grant the server's login read access to the record, which the readiness check reads."""
        with self.transaction():
            self._take_lock()
            self.execute(
                "do $$ begin"
                " if exists (select from pg_catalog.pg_roles where rolname = 'cookcam_app') then"
                "  grant usage on schema cookcam to cookcam_app;"
                "  grant select on cookcam.migration_checksums to cookcam_app;"
                " end if; end $$"
            )

    def _take_lock(self) -> None:
        self.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")
        self.execute(f"select pg_advisory_xact_lock({ADVISORY_LOCK})")
        self.execute(f"set local lock_timeout = '{TABLE_LOCK_TIMEOUT}'")
