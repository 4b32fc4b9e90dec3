"""The deployment of docs/deployment.md: release folders, the real PM2, two instances."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio
from attrs import frozen

from tests.support.commands import ROOT
from tests.support.external import require_program
from tests.support.pm2 import Pm2, own_pm2
from tests.support.ports import neighbouring_ports
from tests.support.releases import Releases

READY_TIMEOUT = 60.0


@frozen
class Deployment:
    """Two instances under PM2; `ports` are theirs."""

    pm2: Pm2
    releases: Releases
    ports: tuple[int, int]

    async def reload(self) -> None:
        await self.pm2("reload", "cookcam-api")

    async def reload_one_by_one(self, ready_seconds: int) -> subprocess.CompletedProcess[bytes]:
        """deploy/reload.js, as a deployment runs it."""
        return await trio.run_process(
            [require_program("node"), str(ROOT / "deploy" / "reload.js")],
            env={
                **self.pm2.environment,
                "PM2": str(self.pm2.program),
                "COOKCAM_READY_SECONDS": str(ready_seconds),
            },
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )

    async def starts(self, count: int) -> None:
        """Waits until `count` processes of the instances have become ready since the beginning."""
        with trio.fail_after(READY_TIMEOUT):
            while self._started() < count:
                await trio.sleep(0.05)
            while not all([await is_ready(port) for port in self.ports]):
                await trio.sleep(0.05)

    def _started(self) -> int:
        return sum(line["message"] == "ready for traffic" for line in self.pm2.lines())

    async def releases_running(self) -> list[str]:
        """What each instance calls itself."""
        async with httpx.AsyncClient(verify=False) as client:
            return [
                (await client.get(f"http://127.0.0.1:{port}/health")).json()["release"]
                for port in self.ports
            ]


async def is_ready(port: int) -> bool:
    async with httpx.AsyncClient(verify=False) as client:
        try:
            response = await client.get(f"http://127.0.0.1:{port}/health/ready")
        except httpx.TransportError:
            return False
        return response.status_code == 200


@asynccontextmanager
async def deployed(
    folder: Path, settings: Mapping[str, str], **environment: str
) -> AsyncIterator[Deployment]:
    """The releases `first` and `second`, of which the first runs on two neighbouring ports.

    `environment` is added to that of PM2 and its process file.
    """
    port = neighbouring_ports(2)
    releases = Releases(folder / "releases")
    releases.folder.mkdir()
    for name in ("first", "second"):
        releases.add(name, settings)
    releases.switch_to("first")
    async with own_pm2(
        COOKCAM_HOME=str(releases.current),
        COOKCAM_PORT=str(port),
        APP_ENV=settings["APP_ENV"],
        **environment,
    ) as pm2:
        await pm2("start", str(releases.current / "deploy" / "pm2.config.js"))
        yield Deployment(pm2, releases, (port, port + 1))
