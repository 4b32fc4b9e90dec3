"""SIGTERM while events arrive: every acknowledged event is stored exactly once."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import trio

from tests.support.event_load import EventLoad
from tests.support.ports import free_ports
from tests.support.sandbox_process import SandboxProcess
from tests.support.server_process import started_server

pytestmark = pytest.mark.xdist_group("deploy")


async def test_acknowledged_events_are_stored_once_after_sigterm(
    sandbox: SandboxProcess, tmp_path: Path
):
    [port] = free_ports(1)
    settings = {**sandbox.settings, "ENABLE_RATE_LIMITING": "false"}
    async with started_server(settings, port, tmp_path) as server:
        await server.ready()
        load = EventLoad(server.url, sandbox.sign_in()["access_token"], 100)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(load.run, 20)
            with trio.fail_after(30):
                while len(load.acknowledged) < 30:
                    await trio.sleep(0.01)
            server.signal(signal.SIGTERM)
            assert await server.ended() == 0
            nursery.cancel_scope.cancel()
    assert load.lost_or_doubled(sandbox) == {}
    assert "rows lost" not in server.text()
