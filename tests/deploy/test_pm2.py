"""PM2 and its process file: what it promises the drain, and what it does with a crash."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import trio

from cookcam.config.sections import DrainConfig
from tests.support.commands import ROOT
from tests.support.deployment import Deployment, deployed, is_ready
from tests.support.external import require_program
from tests.support.ports import free_ports
from tests.support.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]

PM2_OWN_KILL_TIMEOUT = 1.6


def process_file(**environment: str) -> dict[str, Any]:
    """The one program of deploy/pm2.config.js, as Node reads it."""
    file = ROOT / "deploy" / "pm2.config.js"
    done = subprocess.run(
        [require_program("node"), "-p", f"JSON.stringify(require({json.dumps(str(file))}))"],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    [app] = json.loads(done.stdout)["apps"]
    return app


def test_pm2_waits_longer_than_the_drain_may_take():
    app, drain = process_file(), DrainConfig()
    assert app["kill_timeout"] >= (drain.notice + drain.timeout + 10) * 1000
    assert app["wait_ready"] is True


def test_the_release_comes_from_the_folder_of_the_file_or_from_the_environment():
    app = process_file()
    assert app["cwd"] == str(ROOT)
    assert app["args"][-2:] == ["--env-file", ".env"]
    assert app["env"]["PORT"] == 3000
    app = process_file(COOKCAM_HOME="/srv/api/current", COOKCAM_ENV_FILE="/srv/api/settings")
    assert app["cwd"] == "/srv/api/current"
    assert app["args"][-2:] == ["--env-file", "/srv/api/settings"]


async def test_pm2_lets_a_drain_finish_and_starts_what_crashed(
    tmp_path: Path, sandbox: SandboxProcess
):
    async with deployed(tmp_path, sandbox.staging) as deployment:
        before = await deployment.pm2.processes()
        assert [process["pm2_env"]["status"] for process in before] == ["online"] * 2

        responses: list[httpx.Response] = []
        async with trio.open_nursery() as nursery:
            with sandbox.lock_on("auth.users"):
                nursery.start_soon(log_in, deployment, sandbox, responses)
                await sandbox.lock_is_waited_for()
                nursery.start_soon(deployment.pm2, "reload", str(before[0]["pm_id"]))
                await drain_begins(deployment)
                await trio.sleep(PM2_OWN_KILL_TIMEOUT + 1.0)
        assert [response.status_code for response in responses] == [200]

        running = await deployment.pm2.processes()
        os.kill(running[0]["pid"], signal.SIGKILL)
        with trio.fail_after(30):
            while await pid_of_a_ready_one(deployment) in (None, running[0]["pid"]):
                await trio.sleep(0.05)
        after = await deployment.pm2.processes()
        assert after[1]["pid"] == running[1]["pid"]


async def test_a_release_that_does_not_start_stops_at_the_first_instance(
    tmp_path: Path, sandbox: SandboxProcess
):
    async with deployed(tmp_path, sandbox.staging) as deployment:
        settings = {**sandbox.staging}
        del settings["OPENAI_API_KEY"]
        deployment.releases.add("broken", settings)

        deployment.releases.switch_to("broken")
        began = trio.current_time()
        stopped = await deployment.reload_one_by_one(ready_seconds=60)
        assert trio.current_time() - began < 30  # half of what it may take
        assert stopped.returncode == 1
        errors = stopped.stderr.decode()
        assert f"port {deployment.ports[0]} is not ready" in errors
        assert "its process exits with status 1" in errors
        assert "OPENAI_API_KEY is required" in errors
        assert not await is_ready(deployment.ports[0])
        assert await is_ready(deployment.ports[1])

        deployment.releases.add(
            "without-database",
            {**sandbox.staging, "DATABASE_URL": "postgresql://cookcam@127.0.0.1:1/none"},
        )
        deployment.releases.switch_to("without-database")
        stopped = await deployment.reload_one_by_one(ready_seconds=25)
        assert stopped.returncode == 1
        assert '"database":{"status":"down"' in stopped.stderr.decode()
        assert await is_ready(deployment.ports[1])

        deployment.releases.switch_to("second")
        done = await deployment.reload_one_by_one(ready_seconds=30)
        assert done.returncode == 0, done.stderr
        assert await deployment.releases_running() == ["cookcam-api@second"] * 2


def test_a_long_list_of_programs_is_read(tmp_path: Path):
    """`pm2 jlist` prints the environment of each program; Node's limit on output is 1 MB."""
    other = {"name": "other", "pm_id": 0, "pid": 1, "pm2_env": {"LONG": "x" * 3_000_000}}
    (tmp_path / "list.json").write_text(json.dumps([other]))
    program = tmp_path / "pm2"
    program.write_text(f'#!/bin/sh\nexec cat "{tmp_path}/list.json"\n')
    program.chmod(0o700)
    done = subprocess.run(
        [require_program("node"), str(ROOT / "deploy" / "reload.js")],
        env={"PATH": os.environ["PATH"], "PM2": str(program)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "cookcam-api does not run under this PM2\n"


async def test_a_reload_while_an_instance_starts_leaves_one_process_of_it(
    tmp_path: Path, sandbox: SandboxProcess
):
    """PM2 7 schedules a restart when it stops a process that has not sent `ready`."""
    async with deployed(tmp_path, sandbox.staging) as deployment:
        unreachable = "postgresql://cookcam@127.0.0.1:1/none"
        settings = {**sandbox.staging, "DATABASE_URL": unreachable}
        deployment.releases.add("without-database", settings)
        deployment.releases.switch_to("without-database")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(deployment.pm2, "restart", "0")
            with trio.fail_after(30):
                while not listens(await deployment.pm2.processes(), deployment.ports[0]):
                    await trio.sleep(0.05)
            assert (await deployment.pm2.processes())[0]["pm2_env"]["status"] == "launching"

            deployment.releases.switch_to("second")
            done = await deployment.reload_one_by_one(ready_seconds=60)
        assert done.returncode == 0, done.stderr
        assert await deployment.releases_running() == ["cookcam-api@second"] * 2
        for process, port in zip(await deployment.pm2.processes(), deployment.ports, strict=True):
            assert process["pm2_env"]["status"] == "online"
            assert listening_process(port) == process["pid"]
            instance = process["pm2_env"]["pm_id"]
            assert deployment.pm2.processes_of(instance) == [process["pid"]]


@pytest.mark.parametrize("is_lost", [False, True])
def test_a_reload_fails_while_another_process_holds_the_port(tmp_path: Path, *, is_lost: bool):
    """A process that PM2 has lost is ended; one that PM2 never started is left alone."""
    [port] = free_ports(1)
    environment = {"PATH": os.environ["PATH"], "PM2_HOME": str(tmp_path)}
    pm2 = fake_pm2(tmp_path, port, starts_lost_process=is_lost)
    if not is_lost:
        other = subprocess.Popen([sys.executable, str(tmp_path / "ready.py")], env=environment)
    done = subprocess.run(
        [require_program("node"), str(ROOT / "deploy" / "reload.js")],
        env={**environment, "PM2": str(pm2), "COOKCAM_READY_SECONDS": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    started = [int(line) for line in (tmp_path / "started").read_text().split()]
    try:
        assert done.returncode == 1, done.stdout
        if is_lost:
            assert f"ending process {started[1]}, which PM2 has lost" in done.stdout
            assert "ECONNREFUSED" in done.stderr
        else:
            assert f"port {port} is held by a process other than {started[0]}" in done.stderr
            assert other.poll() is None
    finally:
        for pid in started:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if not is_lost:
            other.kill()
            other.wait()


READY_SERVER = """
import socketserver
class Ready(socketserver.StreamRequestHandler):
    def handle(self):
        self.rfile.readline()
        self.wfile.write(b"HTTP/1.0 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", %d), Ready).serve_forever()
"""


def fake_pm2(folder: Path, port: int, *, starts_lost_process: bool) -> Path:
    """A PM2 that starts a process that does not listen, and perhaps one that it does not list.

    `ready.py` serves the port; `started` has the processes, the listed one first.
    """
    (folder / "ready.py").write_text(READY_SERVER % port)
    (folder / "log").touch()
    logs = {name: str(folder / "log") for name in ("pm_err_log_path", "pm_out_log_path")}
    state = {"status": "STATUS", "restart_time": 0, "exit_code": 0, "PORT": port, **logs}
    instance = {"name": "cookcam-api", "pm_id": 0, "pid": "PID", "pm2_env": state}
    (folder / "list.json").write_text(json.dumps([instance]).replace('"PID"', "PID"))
    lost = f"'{sys.executable}' ready.py & echo $! >> started" if starts_lost_process else ""
    program = folder / "pm2"
    program.write_text(
        f"""#!/bin/sh
cd "{folder}"
case $1 in
jlist)
    if [ -e started ]; then pid=$(head -n 1 started) status=online; else pid=0 status=stopped; fi
    sed "s/PID/$pid/; s/STATUS/$status/" list.json ;;
restart)
    exec > /dev/null 2>&1
    export name=cookcam-api pm_id=0
    sleep 60 & echo $! > started
    {lost} ;;
esac
"""
    )
    program.chmod(0o700)
    return program


def listening_process(port: int) -> int | None:
    """The process that listens on the port."""
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr[1] == port:
            return connection.pid
    return None


def listens(processes: list[dict[str, Any]], port: int) -> bool:
    """Whether the first instance's process listens on the port."""
    return listening_process(port) == processes[0]["pid"]


async def log_in(
    deployment: Deployment, sandbox: SandboxProcess, responses: list[httpx.Response]
) -> None:
    async with httpx.AsyncClient(verify=False, timeout=30) as client:
        url = f"http://127.0.0.1:{deployment.ports[0]}/api/v1/auth/login"
        responses.append(await client.post(url, json=sandbox.credentials))


async def drain_begins(deployment: Deployment) -> None:
    with trio.fail_after(60):
        while not any("graceful shutdown..." in one["message"] for one in deployment.pm2.lines()):
            await trio.sleep(0.02)


async def pid_of_a_ready_one(deployment: Deployment) -> int | None:
    """The process of the first instance, once that is ready."""
    if not await is_ready(deployment.ports[0]):
        return None
    return (await deployment.pm2.processes())[0]["pid"]
