"""The server behind the delivered nginx: the console and its socket, and the doctor through TLS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from attrs import frozen
from trio_websocket import HandshakeError, open_websocket_url

from cookcam.sandbox.gotrue import Gotrue
from tests.identity.project import PASSWORD, new_user, open_project
from tests.sandbox.test_doctor import LIMITED, WEBHOOKS, check, failed
from tests.support.nginx import Nginx, running_nginx
from tests.support.whole_server import environment, whole_server

pytestmark = [pytest.mark.external, pytest.mark.xdist_group("deploy")]


@frozen
class Front:
    nginx: Nginx
    gotrue: Gotrue

    def client(self) -> httpx.AsyncClient:
        context = self.nginx.certificate.client_context()
        return httpx.AsyncClient(base_url=self.nginx.url, verify=context, timeout=20)


@asynccontextmanager
async def server_behind_nginx(database_url: str, folder: Path) -> AsyncIterator[Front]:
    async with (
        open_project(database_url) as gotrue,
        whole_server(
            environment(database_url, gotrue, TRUSTED_PROXIES="127.0.0.1/32", **WEBHOOKS, **LIMITED)
        ) as server,
    ):
        with running_nginx(folder, [server.port]) as nginx:
            yield Front(nginx, gotrue)


async def watch(front: Front, cookie: str, origin: str) -> Any:
    """The reply to `watch_console` on the console's socket."""
    headers = [(b"cookie", cookie.encode()), (b"origin", origin.encode())]
    url = f"wss://127.0.0.1:{front.nginx.port}/ops/live"
    tls = front.nginx.certificate.client_context()
    async with open_websocket_url(url, tls, extra_headers=headers) as socket:
        frame = {"event": "watch_console", "data": {"view": "overview"}, "id": 1}
        await socket.send_message(json.dumps(frame))
        with trio.fail_after(10):
            while "replyTo" not in (reply := json.loads(await socket.get_message())):
                pass
        return reply


async def test_console_is_used_through_nginx(fresh_database_url: str, tmp_path: Path) -> None:
    async with (
        server_behind_nginx(fresh_database_url, tmp_path) as front,
        front.client() as client,
    ):
        ada = await new_user(front.gotrue, "Ada", "admin")
        data = {"email": ada.email, "password": PASSWORD}
        origin = {"Origin": front.nginx.url}  # what a browser sends with the form
        admitted = await client.post("/ops/sign-in", data=data, headers=origin)
        assert (admitted.status_code, admitted.headers["location"]) == (303, "/ops")
        cookie = admitted.headers["set-cookie"].partition(";")[0]
        assert cookie.startswith("__Secure-cookcam_ops=")
        page = await client.get("/ops")
        assert page.status_code == 200
        reply = await watch(front, cookie, front.nginx.url)
        assert reply["event"] == "console_updated"
        with pytest.raises(HandshakeError):
            await watch(front, cookie, "https://evil.example")


async def test_doctor_checks_a_server_through_tls(fresh_database_url: str, tmp_path: Path) -> None:
    async with server_behind_nginx(fresh_database_url, tmp_path) as front:
        ann = await new_user(front.gotrue)
        status, findings = await check(
            front.nginx.url,
            *("--email", ann.email, "--origin", "http://localhost:8081"),
            COOKCAM_DOCTOR_PASSWORD=PASSWORD,
            SSL_CERT_FILE=front.nginx.certificate.cert_file,
        )
        assert (status, failed(findings)) == (0, set())
        assert findings["transport"]["detail"].startswith("TLS with a trusted certificate")
        skipped = {name for name, one in findings.items() if one["state"] == "skipped"}
        # An instance's own port has the first two; no address for reports was given.
        assert skipped == {"readiness, migrations", "mode, services", "error reports"}
