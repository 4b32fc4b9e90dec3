"""Every kind of restart, with two instances behind nginx and a load that reads and writes.

The rolling reload is in test_rolling_restart.py. systemd is not run here: its test does what the
unit file tells systemd to do.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest
import trio
from attrs import frozen

from tests.deploy.test_systemd import setting
from tests.support.deployment import deployed, is_ready
from tests.support.load import Load, Target
from tests.support.nginx import running_nginx
from tests.support.ports import free_ports
from tests.support.releases import Releases
from tests.support.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]

MIN_ANSWERS = 20
"""Requests between two restarts."""
START_TIMEOUT = 60.0
UNLIMITED = {"ENABLE_RATE_LIMITING": "false", "RECONCILIATION_TIME": "off"}


@asynccontextmanager
async def loaded(
    folder: Path, ports: tuple[int, int], sandbox: SandboxProcess
) -> AsyncIterator[Load]:
    """A load through nginx until the end of the block; then each recipe is there once."""
    with running_nginx(folder / "nginx", ports) as nginx:
        token = sandbox.sign_in()["access_token"]
        context = nginx.certificate.client_context()
        load = Load(
            Target(nginx.port, context, token, uuid4().hex[:8]), connections=4, repeats=True
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run)
            await more_answers(load)
            yield load
            await more_answers(load)
            load.stop.set()
    assert load.failures == []
    stored = sandbox.rows(
        "select title from public.recipes where title like %s", f"Load {load.target.run} %"
    )
    assert sorted(title for (title,) in stored) == sorted(load.created)
    assert load.created == load.sent


async def more_answers(load: Load) -> None:
    enough = sum(load.answered.values()) + MIN_ANSWERS
    with trio.fail_after(START_TIMEOUT):
        while sum(load.answered.values()) < enough:
            assert load.failures == []
            await trio.sleep(0.02)


async def test_restart_crash_memory_cap_and_cron_lose_no_request(
    tmp_path: Path, sandbox: SandboxProcess
):
    async with (
        deployed(
            tmp_path,
            {**sandbox.staging, **UNLIMITED},
            COOKCAM_RECONCILE_CRON="*/20 * * * * *",  # with seconds
            PM2_WORKER_INTERVAL="500",  # ms between two looks at the memory
        ) as deployment,
        loaded(tmp_path, deployment.ports, sandbox) as load,
    ):
        pm2 = deployment.pm2
        instances = [one for one in await pm2.processes() if one["name"] == "cookcam-api"]
        first, second = (str(one["pm_id"]) for one in instances)
        await deployment.starts(2)

        await pm2("restart", first)
        await deployment.starts(3)
        await pm2("restart", second)
        await deployment.starts(4)
        await more_answers(load)
        assert load.repeated == []  # nothing was answered 502

        crashed = next(one["pid"] for one in await pm2.processes() if str(one["pm_id"]) == first)
        os.kill(crashed, signal.SIGKILL)
        await deployment.starts(5)
        await more_answers(load)
        # What was being written in that process is a 502, and is sent again by the client alone.
        assert len(load.repeated) <= load.connections
        repeated = list(load.repeated)

        with trio.fail_after(START_TIMEOUT):
            while pm2.log().count("Scheduled reconciliation job completed successfully") < 2:
                await trio.sleep(0.1)  # the start, and at least one by the pattern

        # Less than it needs: from now on, PM2 replaces this instance again and again.
        await pm2("restart", second, "--max-memory-restart", "40M")
        await deployment.starts(7)
        assert pm2.log().count("restarted because it exceeds --max-memory-restart") >= 1
        assert load.repeated == repeated


@frozen
class Unit:
    """What deploy/systemd/cookcam@.service tells systemd to do, for one instance."""

    port: int
    release: Path
    log: Path

    def start(self) -> subprocess.Popen[bytes]:
        environment = dict(part.split("=", 1) for part in setting("Environment").split())
        environment |= {"PATH": os.environ["PATH"], "APP_ENV": "staging", "PORT": str(self.port)}
        with self.log.open("ab") as output:
            return subprocess.Popen(
                shlex.split(setting("ExecStart")),
                cwd=self.release,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    async def stop(self, process: subprocess.Popen[bytes]) -> int:
        process.send_signal(signal.Signals[setting("KillSignal")])
        with trio.fail_after(float(setting("TimeoutStopSec"))):
            while process.poll() is None:
                await trio.sleep(0.02)
        return process.returncode

    async def ready(self) -> None:
        with trio.fail_after(START_TIMEOUT):
            while not await is_ready(self.port):
                await trio.sleep(0.05)


async def test_restarts_by_the_systemd_unit_lose_no_request(
    tmp_path: Path, sandbox: SandboxProcess
):
    """`systemctl restart` of one instance after the other, and a crash with `Restart=always`."""
    releases = Releases(tmp_path / "releases")
    releases.folder.mkdir()
    releases.add("first", {**sandbox.staging, **UNLIMITED})
    releases.switch_to("first")
    first, second = free_ports(2)
    units = [
        Unit(port, releases.current, tmp_path / f"unit-{port}.log") for port in (first, second)
    ]
    processes: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for unit in units:
            processes[unit.port] = unit.start()
        for unit in units:
            await unit.ready()
        async with loaded(tmp_path, (first, second), sandbox) as load:
            for unit in units:
                assert await unit.stop(processes[unit.port]) == 0
                processes[unit.port] = unit.start()
                await unit.ready()
            await more_answers(load)
            assert load.repeated == []

            processes[first].kill()
            processes[first].wait()
            await trio.sleep(float(setting("RestartSec")))
            processes[first] = units[0].start()
            await units[0].ready()
            assert len(load.repeated) <= load.connections
        for unit in units:
            assert await unit.stop(processes[unit.port]) == 0
    finally:
        for process in processes.values():
            process.kill()
            process.wait()
