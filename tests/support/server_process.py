"""`cookcam serve` as a process in production mode: its log, its signals, its end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import trio
from attrs import frozen

from tests.support.commands import clean_environment

START_TIMEOUT = 30.0


@frozen
class ServerProcess:
    """A server that has been started; standard output and error go to one file."""

    process: subprocess.Popen[bytes]
    log: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        return self.log.read_text()

    def lines(self) -> list[dict[str, Any]]:
        """The log; every whole line of it has to be JSON."""
        return [json.loads(line) for line in self.text().split("\n")[:-1]]

    def messages(self) -> list[str]:
        return [line["message"] for line in self.lines()]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    async def logged(self, message: str, within: float = START_TIMEOUT) -> None:
        """Waits until the log has that message."""
        with trio.fail_after(within):
            while f'"message":"{message}"' not in self.text():
                assert self.process.poll() is None, self.text()
                await trio.sleep(0.005)

    async def ready(self) -> None:
        """Waits until the server says that it should be given traffic."""
        async with httpx.AsyncClient(verify=False) as client:
            with trio.fail_after(START_TIMEOUT):
                while True:
                    assert self.process.poll() is None, self.text()
                    with suppress(httpx.TransportError):
                        if (await client.get(f"{self.url}/health/ready")).status_code == 200:
                            return
                    await trio.sleep(0.02)

    async def ended(self, within: float = 30.0) -> int:
        """Waits for the exit and returns its status."""
        with trio.fail_after(within):
            while self.process.poll() is None:
                await trio.sleep(0.005)
        return self.process.returncode


@asynccontextmanager
async def started_server(
    settings: Mapping[str, str],
    port: int,
    folder: Path,
    *options: str,
    pass_fds: tuple[int, ...] = (),
) -> AsyncIterator[ServerProcess]:
    """Starts `cookcam serve` on `port`; killed after the block if it still runs."""
    log = folder / f"server-{port}.log"
    process = _start({**settings, "PORT": str(port)}, log, options, pass_fds)
    try:
        yield ServerProcess(process, log, port)
    finally:
        process.kill()
        process.wait()


def _start(
    settings: Mapping[str, str], log: Path, options: tuple[str, ...], pass_fds: tuple[int, ...]
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "cookcam", "serve", *options],
            cwd=log.parent,
            env=clean_environment(**settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            pass_fds=pass_fds,
        )
