"""A thousand sockets and fifty slow requests at the moment of SIGTERM.

Every request gets its response, every socket is notified and closed in order, nothing is left. The
clients are processes of their own, so that they do not slow down the server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from attrs import define, field

from cookcam.config.sections import DrainConfig
from cookcam.serving.connection import FIRST_REQUEST_TIMEOUT
from tests.support.commands import clean_environment
from tests.support.ports import free_ports
from tests.support.sandbox_process import SandboxProcess
from tests.support.server_process import ServerProcess, started_server
from tests.support.socket_crowd import allow_descriptors

pytestmark = pytest.mark.xdist_group("deploy")

SOCKETS = int(os.environ.get("COOKCAM_SOCKETS", "1000"))
REQUESTS = 50
SLOW = 2.0
SLOW_PATH = "/api/v1/recipes"
TABLE = "public.recipes"

MANY = {
    "SOCKET_MAX_PER_USER": "1000000",
    "SOCKET_HANDSHAKES_PER_MINUTE": "1000000",
    "RATE_LIMIT_MAX_REQUESTS": "1000000",
    "DB_POOL_MIN": str(REQUESTS),
    "DB_POOL_MAX": str(REQUESTS),
}


@define
class SlowRequests:
    """Concurrent reads of a table that another session has locked."""

    server: ServerProcess
    sandbox: SandboxProcess
    statuses: list[int | None] = field(factory=list[int | None])

    async def ask(self, count: int, *, task_status: trio.TaskStatus[None]) -> None:
        """Has started when all of them wait in the database; ends with the last response."""
        limits = httpx.Limits(max_connections=count)
        async with (
            httpx.AsyncClient(verify=False, timeout=30, limits=limits) as client,
            trio.open_nursery() as nursery,
        ):
            for number in range(count):
                nursery.start_soon(self._ask, client, number)
            with trio.fail_after(10):
                while self.sandbox.waiting_for_locks() < count:
                    await trio.sleep(0.01)
            task_status.started()

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        # A separate page each: concurrent requests for the same page share one read.
        try:
            response = await client.get(f"{self.server.url}{SLOW_PATH}", params={"offset": number})
        except httpx.TransportError:
            self.statuses.append(None)
        else:
            self.statuses.append(response.status_code)


def start_clients(port: int, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.socket_crowd", str(port), str(count)],
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


@asynccontextmanager
async def connected_clients(
    port: int, tokens: list[str], count: int
) -> AsyncIterator[dict[str, Any]]:
    """That many sockets, connected; after the block, what they received."""
    outcome: dict[str, Any] = {}
    process = start_clients(port, count)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write("\n".join(tokens))
        process.stdin.close()
        with trio.fail_after(60):
            line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
        assert line == f"connected {count}\n"
        yield outcome
        with trio.fail_after(30):
            line = await trio.to_thread.run_sync(process.stdout.readline, abandon_on_cancel=True)
        outcome |= json.loads(line)
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def server_for_many(
    sandbox: SandboxProcess, folder: Path, **settings: str
) -> AsyncIterator[ServerProcess]:
    allow_descriptors(SOCKETS + 500)  # inherited by the server
    [port] = free_ports(1)
    async with started_server({**sandbox.staging, **MANY, **settings}, port, folder) as server:
        await server.ready()
        yield server


async def test_every_socket_is_notified_and_every_request_is_answered(
    tmp_path: Path, sandbox: SandboxProcess
):
    async with server_for_many(sandbox, tmp_path) as server:
        async with connected_clients(server.port, tokens_of(sandbox), SOCKETS) as outcome:
            requests = SlowRequests(server, sandbox)
            async with trio.open_nursery() as nursery:
                with sandbox.lock_on(TABLE):
                    await nursery.start(requests.ask, REQUESTS)
                    began = trio.current_time()
                    server.signal(signal.SIGTERM)
                    await trio.sleep(SLOW)
                assert await server.ended() == 0
                seconds = trio.current_time() - began
        last = server.lines()[-1]
        sys.stdout.write(f"gone {seconds:.2f} s after SIGTERM: {last}\n")
        assert requests.statuses == [200] * REQUESTS
        outcome.pop("disconnect_packets")
        assert outcome == {
            "server_shutdown": SOCKETS,
            "close_codes": {"1001": SOCKETS},
            "ends_after_close": SOCKETS,
            "broken": 0,
        }
        assert last["finished"] == {"request": REQUESTS, "socket": SOCKETS}
        assert last["cut"] == {}
        assert last["tasks_left"] == 0
        assert seconds < 10  # docs/shutdown.md has what it is on an idle machine


async def test_a_thousand_silent_clients_do_not_delay_the_exit(
    tmp_path: Path, sandbox: SandboxProcess
):
    """New, silent after a response, or silent in a head: only a proxy's idle connections are kept
    for the linger time, which is the default here, and these have forwarded nothing."""
    sent = (b"", b"GET /health HTTP/1.1\r\nHost: t\r\n\r\n", b"GET /health HT")
    allow_descriptors(SOCKETS + 500)
    async with server_for_many(sandbox, tmp_path) as server:
        streams = [await trio.open_tcp_stream("127.0.0.1", server.port) for _ in range(SOCKETS)]
        for number, stream in enumerate(streams):
            if data := sent[number % len(sent)]:
                await stream.send_all(data)
            if data.endswith(b"\r\n\r\n"):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 200")
        await trio.sleep(FIRST_REQUEST_TIMEOUT)
        began = trio.current_time()
        server.signal(signal.SIGTERM)
        assert await server.ended() == 0
        seconds = trio.current_time() - began
        report = server.lines()[-1]
        sys.stdout.write(f"ended {seconds:.2f} s after SIGTERM: {report}\n")
        assert seconds < DrainConfig().linger  # docs/shutdown.md has the time on an idle machine
        assert report["cut"] == {}
        for stream in streams:
            await stream.aclose()


async def test_request_that_never_ends_is_cut_at_the_timeout_and_named(
    tmp_path: Path, sandbox: SandboxProcess
):
    async with server_for_many(sandbox, tmp_path, DRAIN_TIMEOUT_SECONDS="3") as server:
        async with connected_clients(server.port, tokens_of(sandbox), SOCKETS // 10) as outcome:
            requests = SlowRequests(server, sandbox)
            async with trio.open_nursery() as nursery:
                with sandbox.lock_on(TABLE):
                    await nursery.start(requests.ask, 1)
                    server.signal(signal.SIGTERM)
                    assert await server.ended() == 1
                    assert sandbox.waiting_for_locks() == 0  # its query was cancelled too
        last = server.lines()[-1]
        assert requests.statuses == [None]
        assert outcome["server_shutdown"] == outcome["close_codes"]["1001"] == SOCKETS // 10
        assert last["message"] == "Graceful shutdown complete"
        assert last["finished"] == {"socket": SOCKETS // 10}
        assert last["cut"] == {"request": 1}
        assert last["cut_names"] == [f"request GET {SLOW_PATH}"]
        assert last["tasks_left"] == 0
        assert 2.9 < last["seconds"]["notice"] + last["seconds"]["draining"] < 4


def tokens_of(sandbox: SandboxProcess) -> list[str]:
    """Access tokens of all demo users."""
    return [sandbox.sign_in(number)["access_token"] for number in range(3)]
