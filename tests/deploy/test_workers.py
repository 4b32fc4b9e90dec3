"""`cookcam serve --workers`: processes on one port, replaced without a lost request."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from cookcam.lifecycle.workers import STOP, stop_signals
from tests.support.commands import run
from tests.support.lean_http import LeanConnection, Rejected, request_bytes
from tests.support.ports import free_ports
from tests.support.sandbox_process import SandboxProcess
from tests.support.server_process import ServerProcess, started_server

pytestmark = pytest.mark.xdist_group("deploy")

CLIENTS = 8
STARTS_TIMEOUT = 120.0
"""Seconds for the start of two workers, together or in turn, on a busy machine."""
PATH = "/api/v1/subscription/tiers"


class Load:
    """Clients that open a connection for each request."""

    def __init__(self, url: str) -> None:
        self.answered = 0
        self.failures: list[object] = []
        self._url = url

    async def run(self) -> None:
        request = request_bytes("GET", self._url + PATH, {"Connection": "close"})
        while True:
            try:
                async with LeanConnection.open(self._url) as connection:
                    await connection.ask(request)
                self.answered += 1
            except (OSError, Rejected, trio.BrokenResourceError) as error:
                self.failures.append(error)
            await trio.sleep(0.005)


def processes(server: ServerProcess, message: str) -> list[int]:
    return [line["process"] for line in server.lines() if line["message"] == message]


def serving(server: ServerProcess) -> set[int]:
    return {line["pid"] for line in server.lines() if line["message"] == "request"}


async def ready_workers(server: ServerProcess, count: int) -> None:
    """Waits until `count` workers have become ready since the start."""
    with trio.fail_after(STARTS_TIMEOUT):
        while server.messages().count("ready for traffic") < count:
            assert server.process.poll() is None, server.text()
            await trio.sleep(0.02)


async def test_workers_are_replaced_under_load_without_a_lost_request(
    tmp_path: Path, sandbox: SandboxProcess
):
    settings = sandbox.staging | {"ENABLE_RATE_LIMITING": "false"}
    [port] = free_ports(1)
    reading, channel = os.pipe()
    settings["NODE_CHANNEL_FD"] = str(channel)
    async with started_server(
        settings, port, tmp_path, "--workers", "2", pass_fds=(channel,)
    ) as server:
        os.close(channel)
        await server.logged("all workers ready", STARTS_TIMEOUT)
        assert os.read(reading, 100) == b'"ready"\n'
        load = Load(server.url)
        async with trio.open_nursery() as nursery:
            for _ in range(CLIENTS):
                nursery.start_soon(load.run)
            server.signal(signal.SIGHUP)
            await server.logged("reload complete", STARTS_TIMEOUT)
            first, second, third, fourth = processes(server, "worker started")
            answered = load.answered
            # The kernel chooses the process, and not in turn.
            with trio.fail_after(STARTS_TIMEOUT):
                while load.answered < answered + 100 or not {third, fourth} <= serving(server):
                    await trio.sleep(0.05)
            nursery.cancel_scope.cancel()
        assert load.failures == []
        assert processes(server, "worker ended") == [first, second]
        assert serving(server) == {first, second, third, fourth}

        os.kill(third, signal.SIGKILL)
        await server.logged("worker crashed")
        await ready_workers(server, 5)
        async with LeanConnection.open(server.url) as connection:
            await connection.ask(request_bytes("GET", server.url + PATH))

        server.signal(signal.SIGTERM)
        status = await server.ended()
        reports = [x for x in server.lines() if x["message"] == "Graceful shutdown complete"]
        assert os.read(reading, 100) == b""  # one announcement, by the supervisor
        os.close(reading)
    assert len(reports) == 1
    assert reports[0]["reason"] == "SIGTERM"
    assert (reports[0]["cut"], reports[0]["tasks_left"]) == ({}, 0)
    # The worker that was killed has cut what it did.
    assert (status, reports[0]["status"]) == (1, 1)


def test_workers_need_a_bus(tmp_path: Path, sandbox: SandboxProcess):
    settings = sandbox.staging | {"REALTIME_BUS": "local"}
    done = run("serve", "--workers", "2", cwd=tmp_path, env=settings)
    assert done.returncode == 1
    assert "REALTIME_BUS" in done.stderr


@pytest.mark.parametrize(
    ("received", "counted"),
    [
        ([STOP], [signal.SIGTERM]),
        ([STOP, signal.SIGINT], [signal.SIGTERM]),
        ([signal.SIGINT, STOP], [signal.SIGINT]),
        ([STOP, signal.SIGTERM, signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]),
        ([signal.SIGINT, STOP, signal.SIGINT], [signal.SIGINT, signal.SIGINT]),
    ],
)
async def test_the_supervisors_stop_and_a_signal_to_all_processes_are_one(
    received: list[int], counted: list[int]
):
    async def signals() -> AsyncIterator[int]:
        for number in received:
            yield number

    assert [number async for number in stop_signals(signals())] == counted
