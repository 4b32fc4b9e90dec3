"""Dumps of the whole database with pg_dump, and restoring them with pg_restore.

A dump is a file in pg_dump's custom format and beside it `FILE.json`, its manifest: checksum,
schema version, and the rows of each table. The rows are counted in the snapshot that pg_dump reads
(`pg_export_snapshot`), so the counts and the dump are of one moment, under any load.

Passwords are passed in the environment of the tools: command lines are visible to other users.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any, Final, cast

import msgspec
import psycopg
import trio
from attrs import frozen
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cookcam.database.connecting import connect, connection_string
from cookcam.database.connection import Connection

LOCK_TIMEOUT: Final = 30
"""Seconds that pg_dump and a restore wait for a lock, for instance of a migration."""

ROLES: Final[Mapping[str, str]] = {
    "anon": "nologin noinherit",
    "authenticated": "nologin noinherit",
    "service_role": "nologin noinherit bypassrls",
    "cookcam_app": "login noinherit in role anon, authenticated, service_role",
}
"""Roles with privileges in a dump, as `20250601000000_auth_shim.sql` creates them. They belong to
the cluster, not to the database, so a dump does not contain them."""

TABLES: Final = """
select n.nspname || '.' || c.relname
from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
  and not exists (
    select from pg_catalog.pg_depend d
    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'
  )
order by 1"""

SCHEMAS: Final = """
select nspname from pg_catalog.pg_namespace
where nspname !~ '^pg_' and nspname <> 'information_schema'"""

SCHEMA_VERSION: Final = "select max(migration_id) from cookcam.migration_checksums"


class DumpError(Exception):
    """A dump or a restore failed. The text has neither rows nor passwords."""


class Manifest(msgspec.Struct, frozen=True):
    """What a dump has. `schema_version` is the latest migration, `size` is in bytes, `rows` has the
    number of rows by `schema.table`."""

    created_at: datetime
    schema_version: str
    server_version: int
    size: int
    sha256: str
    rows: dict[str, int]


@frozen
class Restored:
    """The result of a restore; `seconds` includes the checks."""

    manifest: Manifest
    seconds: float


@frozen
class DumpTools:
    """pg_dump and pg_restore: in `directory`, else on PATH. They must not be older than the
    server."""

    directory: str | None = None

    def path(self, name: str) -> str:
        """Raises DumpError when there is no such program."""
        found = shutil.which(name, path=self.directory)
        if found is None:
            where = "POSTGRES_TOOLS_DIRECTORY" if self.directory else "PATH"
            raise DumpError(f"{name} is not in {where}: install PostgreSQL's client programs")
        return found

    async def run(self, name: str, url: str, *arguments: str) -> None:
        """Run a program on the database at `url`. Raises DumpError; kills it when cancelled."""
        parameters: dict[str, Any] = dict(conninfo_to_dict(connection_string(url)))
        password = parameters.pop("password", None)
        environment = {"LC_ALL": "C"}
        if password is not None:
            environment["PGPASSWORD"] = str(password)
        done = await trio.run_process(
            [self.path(name), *arguments, "--dbname", make_conninfo("", **parameters)],
            env=environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if done.returncode != 0:
            raise DumpError(f"{name} failed: {_reason(done.stderr)}")


def manifest_path(file: Path) -> Path:
    return file.with_name(file.name + ".json")


def read_manifest(file: Path) -> Manifest:
    """Raises DumpError when the dump has no readable manifest."""
    try:
        return msgspec.json.decode(manifest_path(file).read_bytes(), type=Manifest)
    except (OSError, msgspec.MsgspecError) as error:
        raise DumpError(f"{manifest_path(file).name} cannot be read: {error}") from error


async def write_dump(url: str, file: Path, tools: DumpTools) -> Manifest:
    """Dump the database to `file`, which appears when it is complete, with mode 0600.

    The login needs to read all tables past row-level security. Raises DumpError.
    """
    partial = file.with_name(file.name + ".partial")
    if not file.parent.is_dir():
        raise DumpError(f"there is no folder {file.parent}")
    try:
        async with await connect(url) as connection:
            created_at = datetime.now(UTC)
            await connection.execute("begin transaction isolation level repeatable read read only")
            await connection.execute(
                "select set_config(name, '0', true) from unnest(array["
                "'statement_timeout', 'idle_in_transaction_session_timeout']) as name"
            )
            await connection.execute("set local row_security = off")
            snapshot = await _value(connection, "select pg_export_snapshot()")
            partial.unlink(missing_ok=True)
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL, 0o600))
            await tools.run(
                *("pg_dump", url, "--format=custom", "--no-owner", "--no-comments"),
                *("--no-publications", "--no-subscriptions", f"--snapshot={snapshot}"),
                *(f"--lock-wait-timeout={LOCK_TIMEOUT}s", "--file", str(partial)),
            )
            manifest = Manifest(
                created_at=created_at,
                schema_version=await _value(connection, SCHEMA_VERSION),
                server_version=connection.info.server_version,
                size=partial.stat().st_size,
                sha256=await _checksum(partial),
                rows=await _count_rows(connection),
            )
        await trio.to_thread.run_sync(_publish, partial, file, manifest)
    except (psycopg.Error, ValueError, OSError) as error:
        raise DumpError(_message(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    return manifest


async def verify_dump(file: Path) -> Manifest:
    """The manifest of a dump whose checksum is right. Raises DumpError."""
    manifest = read_manifest(file)
    try:
        checksum = await _checksum(file)
    except OSError as error:
        raise DumpError(f"{file.name} cannot be read: {error.strerror}") from error
    if checksum != manifest.sha256:
        raise DumpError(f"{file.name} is damaged: its checksum differs from the manifest's")
    return manifest


async def restore_dump(url: str, file: Path, tools: DumpTools, *, overwrite: bool) -> Restored:
    """Restore a dump, in one transaction, and compare the rows of each table with the manifest.

    The login becomes the owner of all objects; missing roles are created. Raises DumpError, also
    for a database with tables, unless `overwrite`: then its schemas are dropped first.
    """
    began = perf_counter()
    manifest = await verify_dump(file)
    try:
        async with await connect(url) as connection:
            await _prepare(connection, overwrite=overwrite)
            await tools.run(
                *("pg_restore", url, "--exit-on-error", "--single-transaction", "--no-owner"),
                str(file),
            )
            rows = await _count_rows(connection)
            await connection.execute("analyze")
    except (psycopg.Error, ValueError) as error:
        raise DumpError(_message(error)) from error
    if rows != manifest.rows:
        wrong = sorted(name for name, _ in rows.items() ^ manifest.rows.items())
        raise DumpError(f"restored, but the number of rows differs in {', '.join(wrong)}")
    return Restored(manifest, perf_counter() - began)


async def create_database(url: str, name: str) -> str:
    """The address of the database `name` on the server of `url`; created unless it exists.

    Raises DumpError.
    """
    try:
        async with await connect(url) as connection:
            found = await connection.execute(
                "select from pg_catalog.pg_database where datname = %s", [name]
            )
            if not await found.fetchall():
                await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        return make_conninfo(url, dbname=name)
    except psycopg.Error as error:
        raise DumpError(_message(error)) from error


async def count_rows(url: str) -> dict[str, int]:
    """The rows of each table now. Raises DumpError."""
    try:
        async with await connect(url) as connection:
            return await _count_rows(connection)
    except (psycopg.Error, ValueError) as error:
        raise DumpError(_message(error)) from error


async def _prepare(connection: Connection, *, overwrite: bool) -> None:
    await connection.execute(sql.SQL("set lock_timeout = {}").format(LOCK_TIMEOUT * 1000))
    for role, attributes in ROLES.items():
        found = await connection.execute(
            "select from pg_catalog.pg_roles where rolname = %s", [role]
        )
        if not await found.fetchall():
            await connection.execute(
                sql.SQL("create role {} ").format(sql.Identifier(role))
                + sql.SQL(cast("Any", attributes))
            )
    tables = await (await connection.execute(TABLES)).fetchall()
    if tables and not overwrite:
        raise DumpError(f"the database is not empty: it has {len(tables)} tables")
    if tables:
        schemas = await (await connection.execute(SCHEMAS)).fetchall()
        async with connection.transaction():
            for (schema,) in schemas:
                await connection.execute(
                    sql.SQL("drop schema {} cascade").format(sql.Identifier(schema))
                )
            await connection.execute("create schema public authorization pg_database_owner")
            await connection.execute("grant usage on schema public to public")


async def _count_rows(connection: Connection) -> dict[str, int]:
    rows: dict[str, int] = {}
    for (name,) in await (await connection.execute(TABLES)).fetchall():
        table = sql.Identifier(*name.split(".", 1))
        rows[name] = await _value(connection, sql.SQL("select count(*) from {}").format(table))
    return rows


async def _value(connection: Connection, statement: Any) -> Any:
    row = await (await connection.execute(statement)).fetchone()
    return None if row is None else row[0]


async def _checksum(file: Path) -> str:
    def compute() -> str:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()

    return await trio.to_thread.run_sync(compute)


def _publish(partial: Path, file: Path, manifest: Manifest) -> None:
    """Write the manifest, then give the dump its name; both are on the disk when it returns."""
    described = manifest_path(file)
    temporary = described.with_name(described.name + ".partial")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    for path in (partial, file.parent):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    temporary.replace(described)
    partial.replace(file)


def _reason(stderr: bytes) -> str:
    """The first error of a tool, without the lines that quote rows (DETAIL, CONTEXT)."""
    lines = [
        line
        for line in stderr.decode(errors="replace").splitlines()
        if "error:" in line or "ERROR:" in line or "FATAL:" in line
    ]
    return lines[0] if lines else "no message"


def _message(error: BaseException) -> str:
    """The first line: the others of PostgreSQL's messages quote rows and statements."""
    return str(error).partition("\n")[0] or type(error).__name__
