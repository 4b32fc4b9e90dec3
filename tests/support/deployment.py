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

    async def releases_running(self) -> list[str]:
        """What each instance calls itself."""
        async with httpx.AsyncClient(verify=False) as client:
            return [
                (await client.get(f"http://127.0.0.1:{port}/health")).json()["release"]
                for port in self.ports
            ]


@asynccontextmanager
async def deployed(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[Deployment]:
    """The releases `first` and `second`, of which the first runs on two neighbouring ports."""
    port = neighbouring_ports(2)
    releases = Releases(folder / "releases")
    releases.folder.mkdir()
    for name in ("first", "second"):
        releases.add(name, settings)
    releases.switch_to("first")
    async with own_pm2(
        COOKCAM_HOME=str(releases.current), COOKCAM_PORT=str(port), APP_ENV=settings["APP_ENV"]
    ) as pm2:
        await pm2("start", str(releases.current / "deploy" / "pm2.config.js"))
        yield Deployment(pm2, releases, (port, port + 1))
