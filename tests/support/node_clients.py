"""Real Socket.IO clients (npm's socket.io-client) in one Node process, driven from a test."""

from __future__ import annotations

import json
import subprocess
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field

from tests.support.external import NODE_MODULES, node_module, require_program

TIMEOUT = 30.0
"""Seconds to wait for something to happen."""


@define(eq=False)
class NodeSocket:
    """One client. What happened to it is kept until it is asked for."""

    name: str
    _clients: NodeClients = field(repr=False)
    _happened: deque[tuple[str, Any]] = field(factory=deque, repr=False)
    _changed: trio.Event = field(factory=trio.Event, repr=False)

    async def expect(self, what: str) -> Any:
        """Waits for `connect`, `connect_error`, `upgrade`, `disconnect`, `ack` or `event <name>`,
        and returns what came with the first that was not asked for before."""
        with trio.move_on_after(TIMEOUT):
            while True:
                for record in self._happened:
                    if record[0] == what:
                        self._happened.remove(record)
                        return record[1]
                await self._changed.wait()
        raise AssertionError(f"{self.name}: no {what}, but {list(self._happened)}")

    async def emit(self, event: str, *args: Any) -> None:
        await self._clients.do("emit", self.name, event=event, args=args, ack=False)

    async def ask(self, event: str, *args: Any) -> Any:
        """The acknowledgement."""
        await self._clients.do("emit", self.name, event=event, args=args, ack=True)
        return await self.expect("ack")

    async def disconnect(self) -> None:
        await self._clients.do("disconnect", self.name)

    async def drop(self) -> None:
        """The connection is lost without a message to the server."""
        await self._clients.do("drop", self.name)

    async def reconnect(self) -> None:
        await self._clients.do("reconnect", self.name)

    def heard(self, *events: str) -> list[Any]:
        """What came with those of these events that were not asked for, in the order they came."""
        names = {f"event {event}" for event in events}
        return [value for happened, value in self._happened if happened in names]

    def note(self, happened: str, value: Any) -> None:
        self._happened.append((happened, value))
        self._changed.set()
        self._changed = trio.Event()


@define(eq=False)
class NodeClients:
    _process: trio.Process
    _sockets: dict[str, NodeSocket] = field(factory=dict)

    async def connect(self, url: str, token: str | None = None, **options: Any) -> NodeSocket:
        """Starts to connect; `options` are those of the library, `auth` beside the token."""
        socket = NodeSocket(str(len(self._sockets)), self)
        self._sockets[socket.name] = socket
        if token is not None:
            options["auth"] = {"token": token, **options.get("auth", {})}
        await self.do("connect", socket.name, url=url, options=options)
        return socket

    async def do(self, what: str, socket: str, **more: Any) -> None:
        assert self._process.stdin is not None
        command = json.dumps({"do": what, "socket": socket, **more})
        await self._process.stdin.send_all(f"{command}\n".encode())

    async def read(self) -> None:
        assert self._process.stdout is not None
        rest = b""
        async for chunk in self._process.stdout:
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                record = json.loads(line)
                self._sockets[record["socket"]].note(record["happened"], record.get("value"))


@asynccontextmanager
async def node_clients() -> AsyncIterator[NodeClients]:
    """Skips the test where Node or the library is missing."""
    node_module("socket.io-client")
    process = await trio.lowlevel.open_process(
        [require_program("node"), "driver.mjs"],
        cwd=NODE_MODULES.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    clients = NodeClients(process)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(clients.read)
            yield clients
            nursery.cancel_scope.cancel()
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
