"""A Redis server of a test's own, which the test may kill and start again on the same port."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import trio
from attrs import define, field

from tests.support.external import require_program
from tests.support.ports import free_ports

TIMEOUT = 10.0


@define(eq=False)
class RedisServer:
    """Listens on the loopback only, keeps nothing on disk. A cluster of one node if asked."""

    program: str
    directory: Path
    port: int
    cluster: bool
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _requested: int = field(default=0, init=False)

    @property
    def url(self) -> str:
        return f"redis{'+cluster' if self.cluster else ''}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Returns when it answers."""
        self._spawn()
        with trio.fail_after(TIMEOUT):
            while not await self._answers():
                await trio.sleep(0.02)
            if self.cluster and b"cluster_slots_assigned:16384" not in await self._state():
                await self.ask("CLUSTER ADDSLOTSRANGE 0 16383")
            while self.cluster and b"cluster_state:ok" not in await self._state():
                await trio.sleep(0.1)

    def _spawn(self) -> None:
        options = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.directory)]
        options += ["--save", "", "--appendonly", "no", "--loglevel", "warning"]
        if self.cluster:
            bus = str(free_ports(1)[0])
            options += ["--cluster-enabled", "yes", "--cluster-port", bus]
        self._process = subprocess.Popen(
            [self.program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._requested = 0

    def kill(self) -> None:
        """SIGKILL: connections are reset, what was in memory is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """SIGSTOP: connections stay, nobody answers."""
        assert self._process is not None
        self._process.send_signal(SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(SIGCONT)

    async def ask(self, command: str) -> bytes:
        """The answer to an inline command, as it comes over the wire."""
        stream = await trio.open_tcp_stream("127.0.0.1", self.port)
        self._requested += 1
        async with stream:
            await stream.send_all(f"{command}\r\nQUIT\r\n".encode())
            response = b""
            while data := await stream.receive_some():
                response += data
        return response

    async def connections_received(self) -> int:
        """How often anybody but this object has connected since the start."""
        stats = await self.ask("INFO stats")
        total = int(stats.split(b"total_connections_received:")[1].split(b"\r\n")[0])
        return total - self._requested

    async def _state(self) -> bytes:
        return await self.ask("CLUSTER INFO")

    async def _answers(self) -> bool:
        try:
            return b"+PONG" in await self.ask("PING")
        except OSError:
            return False


@contextmanager
def redis_server(*, cluster: bool = False) -> Generator[RedisServer]:
    """A server in a directory of its own, not started yet, gone after the block. Skips where
    redis-server is not installed."""
    program = require_program("redis-server")
    directory = Path(tempfile.mkdtemp(prefix="cookcam-redis-"))
    server = RedisServer(program, directory, free_ports(1)[0], cluster)
    try:
        yield server
    finally:
        server.kill()
        shutil.rmtree(directory, ignore_errors=True)
