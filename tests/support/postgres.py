"""The PostgreSQL that tests run against: embedded, shared by all xdist workers, thrown away after.

One cluster for a test run, one migrated template database in it, and cheap copies of the template
for its callers. The login in the URLs is `cookcam_app`, as in production: it can do nothing
without taking a role. `as_owner` gives the same database as its superuser.
"""

from __future__ import annotations

import atexit
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString, cast
from uuid import uuid4

import fasteners
import psutil
import psycopg
import trio
from attrs import frozen
from psycopg import sql

from cookcam.database.migrate import migrate
from cookcam.sandbox.postgres import Postgres, start_postgres, stop_postgres

TEMPLATE = "cookcam_template"

# A crash may lose everything here, and many workers connect.
SETTINGS = """
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
shared_buffers = '32MB'
max_connections = 200
wal_level = minimal
max_wal_senders = 0
max_wal_size = '256MB'
"""

MEMORY = Path("/dev/shm")
MIN_MEMORY = 4 << 30
"""Bytes that a machine and its file system in memory have at least if they hold the databases."""


@frozen
class Cluster:
    """A running PostgreSQL server that listens on a Unix socket in `directory`."""

    directory: Path

    @property
    def socket(self) -> Path:
        return self.directory / ".s.PGSQL.5432"

    def url(self, database: str, user: str = "postgres") -> str:
        return f"postgresql://{user}@/{database}?host={self.directory}"

    def create(self, database: str, template: str = "template1") -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("create database {} template {} strategy file_copy").format(
                    sql.Identifier(database), sql.Identifier(template)
                )
            )

    def drop(self, database: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(database))
            )

    @contextmanager
    def temporary(self, template: str = "template1") -> Iterator[str]:
        """The name of a database that exists for the length of the block."""
        database = f"test_{uuid4().hex}"
        self.create(database, template)
        try:
            yield database
        finally:
            self.drop(database)


def databases_directory() -> Path:
    """The parent of data directories: in memory where there is room, else the temporary directory.

    A copy of the template has 800 files. It takes 0.03 s of processor time in memory, and 0.4 s on
    a disk. All processes of a run get the same directory.
    """
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return Path(tempfile.gettempdir())
    has_room = min(shutil.disk_usage(MEMORY).total, psutil.virtual_memory().total) >= MIN_MEMORY
    return MEMORY if has_room else Path(tempfile.gettempdir())


def start_cluster(directory: Path) -> Cluster:
    """Start or join the cluster of this test run and make sure that it has its template.

    The last process to exit stops the server and removes the directory. The directory is not one
    of pytest's: pytest withdraws the permissions of others from its own when the next run starts,
    and a server started by root runs under another system user.
    """
    directory.mkdir(exist_ok=True)
    users = directory / "users"
    users.mkdir(exist_ok=True)
    with fasteners.InterProcessLock(directory / "lock"):
        (users / str(os.getpid())).touch()
        postgres = start_postgres(directory / "data", SETTINGS)
        cluster = Cluster(postgres.sockets)
        ready = directory / "template.ready"
        if not ready.exists():
            cluster.create(TEMPLATE)
            trio.run(migrate, cluster.url(TEMPLATE))
            ready.touch()
    atexit.register(_leave, directory, postgres)
    return cluster


def _leave(directory: Path, postgres: Postgres) -> None:
    """Stop the server and remove the directory when no living process uses it."""
    with fasteners.InterProcessLock(directory / "lock"):
        users = {int(path.name) for path in (directory / "users").iterdir()} - {os.getpid()}
        (directory / "users" / str(os.getpid())).unlink(missing_ok=True)
        if any(psutil.pid_exists(user) for user in users):
            return
        stop_postgres(postgres)
    shutil.rmtree(directory, ignore_errors=True)


_owners: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}
_owners_lock = threading.Lock()


def _run_as_owner(url: str, statement: str, params: Mapping[str, Any]) -> list[Any]:
    query = sql.SQL(cast("LiteralString", statement))
    # A setting would stay, and another statement may hold the shared session.
    if statement.lstrip().startswith("set ") or not _owners_lock.acquire(blocking=False):
        with psycopg.connect(url, autocommit=True) as connection:
            return _rows_of(connection.execute(query, params))
    try:
        connection = _owners.get(url)
        try:
            if connection is not None:
                return _rows_of(connection.execute(query, params))
        except psycopg.OperationalError:
            if not connection.closed:
                raise  # otherwise the test has ended the session
        connection = _owners[url] = psycopg.connect(url, autocommit=True, prepare_threshold=None)
        return _rows_of(connection.execute(query, params))
    finally:
        _owners_lock.release()


def _rows_of(cursor: psycopg.Cursor[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return cursor.fetchall() if cursor.description else []


async def run_as_owner(url: str, statement: str, params: Mapping[str, Any]) -> list[Any]:
    """Run a statement as the superuser of the database of `url`.

    A new session costs PostgreSQL 10 ms of processor time, so the statements of a process share one
    for each database.
    """
    return await trio.to_thread.run_sync(_run_as_owner, as_owner(url), statement, params)


def as_owner(url: str) -> str:
    """The same database as its superuser: to arrange and inspect, never for what is tested."""
    return re.sub(r"//[^@/]*@", "//postgres@", url, count=1)
