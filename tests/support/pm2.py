"""A PM2 of a test's own: its home is a new directory, and everything it started ends with it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import trio
from attrs import frozen

from tests.support.external import node_module, require_program

KILL_BOUND = 60.0


@frozen
class Pm2:
    home: Path
    program: Path
    environment: dict[str, str]

    async def __call__(self, *arguments: str) -> str:
        """Runs a command of PM2 to its end; its output."""
        done = await trio.run_process(
            [str(self.program), *arguments],
            env=self.environment,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        output = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 0, output + self.log()
        return done.stdout.decode()

    async def processes(self) -> list[dict[str, Any]]:
        """`pm2 jlist`: a mapping for each process, of which `pm2_env` and `pid` matter."""
        output = await self("jlist")
        return json.loads(output[output.index("[{") :])

    def processes_of(self, instance: int) -> list[int]:
        """Every process of the instance, also one that PM2 has lost."""
        expected = {"name": "cookcam-api", "pm_id": str(instance), "PM2_HOME": str(self.home)}
        return [
            process.pid
            for process in psutil.process_iter()
            if expected.items() <= _environment(process).items()
        ]

    def log(self) -> str:
        """What PM2 itself and its programs have written, for a failure's message."""
        files = [self.home / "pm2.log", *sorted((self.home / "logs").glob("*.log"))]
        return "\n".join(f"== {file.name}\n{file.read_text()}" for file in files if file.exists())

    def lines(self) -> list[dict[str, Any]]:
        """The log of the programs; every line of it has to be JSON."""
        files = sorted((self.home / "logs").glob("cookcam-api-*.log"))
        return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@asynccontextmanager
async def own_pm2(**environment: str) -> AsyncIterator[Pm2]:
    """PM2 with the given environment, killed after the block with all it runs."""
    require_program("ps")  # PM2 stops a process with its children
    program = node_module("pm2") / "bin" / "pm2"
    # A short path: PM2's own sockets are in it, and a socket's path has at most 108 bytes.
    home = Path(tempfile.mkdtemp(prefix="pm2-"))
    pm2 = Pm2(
        home,
        program,
        {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PM2_HOME": str(home),
            "PM2_DISABLE_VERSION_CHECK": "1",  # tests talk to this machine only
            **environment,
        },
    )
    try:
        yield pm2
    finally:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + KILL_BOUND):
            await pm2("kill")
        # PM2 7 loses sight of a process that it was starting when it was asked to stop it.
        for process in psutil.process_iter():
            if _belongs_to(process, home):
                process.kill()
        shutil.rmtree(home, ignore_errors=True)


def _belongs_to(process: psutil.Process, home: Path) -> bool:
    return _environment(process).get("PM2_HOME") == str(home)


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
