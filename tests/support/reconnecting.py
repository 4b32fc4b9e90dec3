"""The Socket.IO clients of tests/deploy/reconnecting_clients.js, in a Node process of their own."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import frozen

from tests.support.commands import ROOT
from tests.support.external import NODE_MODULES, node_module, require_program
from tests.support.nginx import Nginx

SCRIPT = ROOT / "tests" / "deploy" / "reconnecting_clients.js"


@frozen
class ReconnectingClients:
    process: trio.Process

    async def seen(self) -> dict[str, dict[str, Any]]:
        """What each client has seen so far: `welcomes`, `notices`, `connected`, `errors`."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        await self.process.stdin.send_all(b"\n")
        response = b""
        with trio.fail_after(10):
            while not response.endswith(b"\n"):
                data = await self.process.stdout.receive_some()
                assert data, "the clients have died"
                response += data
        return json.loads(response)

    async def all_connected(self, within: float) -> dict[str, dict[str, Any]]:
        """Waits until every client is connected; what they have seen."""
        seen = await self.seen()
        with trio.move_on_after(within):
            while not all(client["connected"] for client in seen.values()):
                await trio.sleep(0.1)
                seen = await self.seen()
        assert all(client["connected"] for client in seen.values()), seen
        return seen


@asynccontextmanager
async def reconnecting_clients(nginx: Nginx, token: str) -> AsyncIterator[ReconnectingClients]:
    """Three clients of `nginx`, killed after the block."""
    node_module("socket.io-client")
    process = await trio.lowlevel.open_process(
        [require_program("node"), str(SCRIPT), nginx.url, token],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "NODE_PATH": str(NODE_MODULES),
            "NODE_EXTRA_CA_CERTS": nginx.certificate.cert_file,
        },
    )
    try:
        yield ReconnectingClients(process)
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
