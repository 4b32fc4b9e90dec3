"""A rolling restart under load, with the real PM2 and the real nginx and the files of deploy/.

Two instances on one database; keep-alive connections read and write all the time. Not one request
may fail, and every recipe that was answered 201 is there once, and no other. Socket.IO clients are
notified, leave, and reconnect.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest
import trio

from tests.support.deployment import deployed
from tests.support.load import Load, Target
from tests.support.nginx import running_nginx
from tests.support.reconnecting import reconnecting_clients
from tests.support.sandbox_process import SandboxProcess

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]

RELOADS = int(os.environ.get("COOKCAM_RELOADS", "3"))

UNLIMITED = {
    "SOCKET_HANDSHAKES_PER_MINUTE": "1000000000",
    "RATE_LIMIT_MAX_REQUESTS": "1000000000",
    "RATE_LIMIT_AUTH_MAX_REQUESTS": "1000000000",
}


async def test_a_rolling_restart_loses_nothing(tmp_path: Path, sandbox: SandboxProcess):
    async with deployed(tmp_path, {**sandbox.staging, **UNLIMITED}) as deployment:
        assert await deployment.releases_running() == ["cookcam-api@first"] * 2
        with running_nginx(tmp_path / "nginx", deployment.ports) as nginx:
            context = nginx.certificate.client_context()
            token = sandbox.sign_in()["access_token"]
            load = Load(Target(nginx.port, context, token, uuid4().hex[:8]))
            async with (
                reconnecting_clients(nginx, token) as sockets,
                trio.open_nursery() as nursery,
            ):
                await sockets.all_connected(within=15)
                nursery.start_soon(load.run)
                for number in range(RELOADS):
                    deployment.releases.switch_to("first" if number % 2 else "second")
                    await deployment.reload()
                clients = await sockets.all_connected(within=20)
                load.stop.set()
            responses = [line for line in nginx.log() if line["path"] != "/socket.io/"]

        sys.stdout.write(f"{RELOADS} reloads, {load.figures()}; sockets {clients}\n")
        assert load.failures == []
        assert {line["status"] for line in responses} == {200, 201}
        for transport, client in clients.items():
            assert client["notices"] >= 1, transport
            assert client["welcomes"] >= 2, transport
        assert min(load.answered.values()) > 50 * RELOADS
        stored = sandbox.rows(
            "select title from public.recipes where title like %s", f"Load {load.target.run} %"
        )
        assert sorted(title for (title,) in stored) == sorted(load.created)
        assert load.created == load.sent

        now_runs = "first" if RELOADS % 2 == 0 else "second"
        assert await deployment.releases_running() == [f"cookcam-api@{now_runs}"] * 2
        drains = [
            line
            for line in deployment.pm2.lines()
            if line["message"] == "Graceful shutdown complete"
        ]
        assert len(drains) == 2 * RELOADS
        assert {line["status"] for line in drains} == {0}
