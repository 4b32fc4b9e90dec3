"""Sockets through nginx that are idle for longer than its read timeout: heartbeats keep them."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed, open_websocket_url

from tests.identity.project import new_user, open_project
from tests.support.nginx import running_nginx
from tests.support.whole_server import environment, whole_server

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]

READ_TIMEOUT = 4
"""Seconds; an hour in the delivered file."""
IDLE = 2.5 * READ_TIMEOUT


@pytest.mark.parametrize("heartbeats", [True, False], ids=["heartbeats", "silent"])
async def test_idle_socket_outlives_the_read_timeout_by_its_heartbeats(
    fresh_database_url: str, tmp_path: Path, *, heartbeats: bool
) -> None:
    settings = {
        "SOCKET_PING_INTERVAL_SECONDS": "1" if heartbeats else "60",
        "TRUSTED_PROXIES": "127.0.0.1/32",
    }
    async with (
        open_project(fresh_database_url) as gotrue,
        whole_server(environment(fresh_database_url, gotrue, **settings)) as server,
    ):
        token = gotrue.issue_token(await new_user(gotrue))
        with running_nginx(tmp_path, [server.port], socket_timeout=f"{READ_TIMEOUT}s") as nginx:
            tls = ssl.create_default_context(cafile=str(nginx.certificate.cert_file))
            tls.check_hostname = False
            async with open_websocket_url(
                f"wss://127.0.0.1:{nginx.port}/api/v1/realtime",
                tls,
                extra_headers=[(b"authorization", f"Bearer {token}".encode())],
            ) as socket:
                assert json.loads(await socket.get_message())["event"] == "connected"
                await trio.sleep(IDLE)
                if heartbeats:
                    await socket.send_message('{"event": "ping", "id": 1}')
                    assert json.loads(await socket.get_message())["event"] == "pong"
                else:
                    with pytest.raises(ConnectionClosed):
                        await socket.get_message()
