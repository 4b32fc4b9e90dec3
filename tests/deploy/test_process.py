"""`cookcam serve` in production mode, as a process: how it starts, and how it is stopped."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest
import trio
from trio_websocket import open_websocket_url

from cookcam.cli.tasks import lines_of
from cookcam.config.sections import DrainConfig
from cookcam.lifecycle.control import ask_control, control_path
from tests.support.commands import run
from tests.support.ports import free_ports
from tests.support.sandbox_process import SandboxProcess
from tests.support.sentry_ingest import open_sentry_ingest
from tests.support.server_process import ServerProcess, started_server

pytestmark = pytest.mark.xdist_group("deploy")

STARTED = "CookCam API server started"
COMPLETE = "Graceful shutdown complete"
START_STEPS = (
    "Environment validation successful",
    "Sentry initialized",
    "Supabase clients initialized",
    "Real-time service initialized with WebSocket support",
    STARTED,
)
"""The lines of a start, in their order: deployment scripts look for them."""


def processor_time_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def without(settings: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in settings.items() if name not in names}


class HeldLogin:
    """A request that waits in the identity provider while `auth.users` is locked."""

    def __init__(self, server: ServerProcess, sandbox: SandboxProcess) -> None:
        self.response: httpx.Response | None = None
        self._server = server
        self._sandbox = sandbox

    async def ask(self) -> None:
        """Ends with the response of the request, if any."""
        async with httpx.AsyncClient(verify=False, timeout=30) as client:
            try:
                self.response = await client.post(
                    f"{self._server.url}/api/v1/auth/login", json=self._sandbox.credentials
                )
            except httpx.TransportError:
                self.response = None


def test_a_missing_key_is_named_and_ends_the_start(tmp_path: Path, sandbox: SandboxProcess):
    before = processor_time_of_children()
    done = run("serve", cwd=tmp_path, env=without(sandbox.staging, "OPENAI_API_KEY"))
    assert processor_time_of_children() - before < 2  # usually 0.2 s; a whole start takes 2 s
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "OPENAI_API_KEY is required (https://platform.openai.com/api-keys)"
    ]
    assert done.stdout == ""


def test_three_mistakes_are_three_lines(tmp_path: Path, sandbox: SandboxProcess):
    settings = without(sandbox.staging, "SENTRY_DSN") | {
        "JWT_SECRET": "short",
        "PORT": "eighty",
    }
    done = run("serve", cwd=tmp_path, env=settings)
    assert done.returncode == 1
    named = [line.split()[0] for line in done.stderr.splitlines()]
    assert sorted(named) == ["JWT_SECRET", "PORT", "SENTRY_DSN"]


def test_a_port_in_use_is_one_line(tmp_path: Path, sandbox: SandboxProcess):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("serve", cwd=tmp_path, env={**sandbox.staging, "PORT": str(port)})
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert f"127.0.0.1:{port}" in line
    assert "Address already in use" in line


async def test_the_port_is_closed_until_requests_are_answered(
    tmp_path: Path, sandbox: SandboxProcess
):
    """A proxy waits for a connection in the accept queue; after a refused one it uses the next
    instance."""
    [port] = free_ports(1)
    async with started_server(sandbox.staging, port, tmp_path) as server:
        began = trio.current_time()
        with trio.fail_after(30):
            while True:
                try:
                    stream = await trio.open_tcp_stream("127.0.0.1", port)
                    break
                except OSError:
                    await trio.sleep(0.01)
        connected = trio.current_time()
        async with stream:
            await stream.send_all(b"GET /health HTTP/1.1\r\nhost: test\r\n\r\n")
            assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        # A port that is open during the start answers only after the rest of it.
        assert trio.current_time() - connected < (connected - began) / 2
        assert STARTED in server.messages()


async def test_port_taken_by_another_instance_ends_the_start(
    tmp_path: Path, sandbox: SandboxProcess
):
    [port] = free_ports(1)
    async with started_server(sandbox.staging, port, tmp_path) as server:
        await server.logged("Supabase clients initialized")  # bound, and not listening yet
        with socket.socket() as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(("127.0.0.1", port))
            other.listen()
            assert await server.ended() == 1
        assert f"cannot listen on port {port}" in server.text()
        assert STARTED not in server.messages()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_request_in_flight_is_answered_before_the_end(
    number: signal.Signals, tmp_path: Path, sandbox: SandboxProcess
):
    [port] = free_ports(1)
    settings = {**sandbox.staging, "STATE_DIRECTORY": str(tmp_path)}
    record = tmp_path / f"run-{port}.json"
    async with started_server(settings, port, tmp_path) as server:
        await server.ready()
        assert json.loads(record.read_text())["state"] == "serving"
        login = HeldLogin(server, sandbox)
        async with trio.open_nursery() as nursery:
            with sandbox.lock_on("auth.users"):
                nursery.start_soon(login.ask)
                await sandbox.lock_is_waited_for()
                server.signal(number)
                await server.logged(f"{number.name} received, starting graceful shutdown...")
                await until_rejected(port)
                # The listeners are closed; the control socket is not.
                control = control_path(str(tmp_path), port)
                state = await trio.to_thread.run_sync(ask_control, control)
        assert state["phase"] == "draining"
        assert "[POST /api/v1/auth/login]" in "\n".join(lines_of(state))
        assert login.response is not None
        assert login.response.status_code == 200
        assert login.response.headers["connection"] == "close"
        assert await server.ended() == 0
        last = server.lines()[-1]
        assert last["message"] == COMPLETE
        assert last["reason"] == number.name
        assert last["finished"] == {"request": 1}
        assert last["cut_names"] == []
        assert last["tasks_left"] == 0
        assert set(last["seconds"]) >= {"notice", "closing", "draining", "background", "close"}
        stored = json.loads(record.read_text())
        assert stored["state"] == "clean"
        assert stored["report"]["seconds"] == last["seconds"]


async def until_rejected(port: int) -> None:
    """The listener closes right after the notice, which the log line begins."""
    with trio.fail_after(5):
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return
            await trio.sleep(0.01)


async def test_rejected_sockets_are_counted_alike_in_the_log_and_the_report(
    tmp_path: Path, sandbox: SandboxProcess
):
    [port] = free_ports(1)
    async with started_server(sandbox.staging, port, tmp_path) as server:
        await server.ready()
        address = f"{server.url}/socket.io/?EIO=4&transport="
        async with httpx.AsyncClient() as http:
            assert (await http.get(f"{address}polling")).status_code == 200
        websocket = f"{address}websocket".replace("http", "ws", 1)
        async with open_websocket_url(websocket) as socket:
            await socket.get_message()
            await socket.send_message('40{"token":"x"}')
            assert str(await socket.get_message()).startswith("44")
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0
        lines = {line["message"]: line for line in server.lines()}
    assert lines["Closing WebSocket connections..."]["connections"] == 2
    closed = lines["All WebSocket connections closed"]
    assert (closed["clean"], closed["cut"]) == (2, 0)
    report = lines[COMPLETE]
    assert (report["finished"].get("socket"), report["cut"]) == (2, {})
    assert report["seconds"]["draining"] < 3


async def test_a_second_signal_ends_at_once(tmp_path: Path, sandbox: SandboxProcess):
    [port] = free_ports(1)
    async with started_server(sandbox.staging, port, tmp_path) as server:
        await server.ready()
        login = HeldLogin(server, sandbox)
        async with trio.open_nursery() as nursery:
            with sandbox.lock_on("auth.users"):
                nursery.start_soon(login.ask)
                await sandbox.lock_is_waited_for()
                server.signal(signal.SIGTERM)
                await server.logged("SIGTERM received, starting graceful shutdown...")
                server.signal(signal.SIGTERM)
                assert await server.ended(within=DrainConfig().timeout / 2) == 1
        assert login.response is None
        assert "Shutdown already in progress, forcing exit..." in server.messages()
        assert "request POST /api/v1/auth/login" in server.lines()[-1]["cut_names"]


async def test_request_that_outlasts_the_timeout_is_cut_and_named(
    tmp_path: Path, sandbox: SandboxProcess
):
    [port] = free_ports(1)
    settings = {**sandbox.staging, "DRAIN_TIMEOUT_SECONDS": "1"}
    async with started_server(settings, port, tmp_path) as server:
        await server.ready()
        login = HeldLogin(server, sandbox)
        async with trio.open_nursery() as nursery:
            with sandbox.lock_on("auth.users"):
                nursery.start_soon(login.ask)
                await sandbox.lock_is_waited_for()
                server.signal(signal.SIGTERM)
                assert await server.ended() == 1
        last = server.lines()[-1]
        assert last["message"] == COMPLETE
        assert last["cut"] == {"request": 1}
        assert last["cut_names"] == ["request POST /api/v1/auth/login"]
        assert last["tasks_left"] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda n: n.name)
async def test_a_signal_during_the_start_ends_it_without_a_traceback(
    number: signal.Signals, tmp_path: Path, sandbox: SandboxProcess
):
    [port] = free_ports(1)
    async with started_server(sandbox.staging, port, tmp_path) as server:
        await server.logged("Environment validation successful")
        await trio.sleep(0.1)  # inside the import of the parts
        server.signal(number)
        assert await server.ended() == 0
        assert STARTED not in server.messages()
        assert server.messages()[-1] == COMPLETE


async def test_readiness_is_reported_to_pm2_once_data_can_be_read(
    tmp_path: Path, sandbox: SandboxProcess
):
    database = sandbox.settings["DATABASE_URL"]
    directory = Path(parse_qs(urlsplit(database).query)["host"][0])
    link = tmp_path / "database"  # until it is there, the database is not
    [port] = free_ports(1)
    reading, writing = os.pipe()
    settings = {
        **sandbox.staging,
        "DATABASE_URL": f"{database.partition('?')[0]}?host={quote(str(link))}",
        "NODE_CHANNEL_FD": str(writing),
    }
    try:
        async with started_server(settings, port, tmp_path, pass_fds=(writing,)) as server:
            await server.logged(STARTED)
            async with httpx.AsyncClient(base_url=server.url, verify=False) as client:
                assert (await client.get("/health")).status_code == 200
                assert (await client.get("/health/ready")).status_code == 503
                assert not select.select([reading], [], [], 0.5)[0]
                link.symlink_to(directory)
                with trio.fail_after(15):
                    await trio.lowlevel.wait_readable(reading)
                assert os.read(reading, 100) == b'"ready"\n'
                assert (await client.get("/health/ready")).status_code == 200
    finally:
        os.close(reading)
        os.close(writing)


async def test_production_logs_json_and_reports_to_sentry_and_flushes(
    tmp_path: Path, sandbox: SandboxProcess
):
    [port] = free_ports(1)
    async with open_sentry_ingest() as ingest:
        settings = {**sandbox.staging, "SENTRY_DSN": ingest.dsn.reveal()}
        async with started_server(settings, port, tmp_path) as server:
            await server.ready()
            async with httpx.AsyncClient(base_url=server.url, verify=False) as client:
                assert (await client.get("/api/v1/recipes")).status_code == 200
                assert (await client.get("/api/v1/nowhere")).status_code == 404
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0
            for line in server.lines():
                assert {"timestamp", "level", "message", "pid", "release"} <= line.keys()
                assert line["instance"].endswith(f":{port}")
            messages = server.messages()
            assert messages[0] == "Environment validation successful"
            steps = [message for message in messages if message in START_STEPS]
            assert steps == list(START_STEPS)
            assert messages[-1] == COMPLETE
            started = server.lines()[messages.index(STARTED)]
            assert started["environment"] == "staging"
            assert started["secondsSinceProcessStart"] > 0
