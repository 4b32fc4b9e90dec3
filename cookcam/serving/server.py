"""The server: listeners, and the nursery of the connections they accept."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import trio
from attrs import define, field
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework

from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.serving.addresses import AddressLimit
from cookcam.serving.connection import Connection
from cookcam.serving.deadlines import Deadlines
from cookcam.serving.listener import RETRY_ACCEPT_AFTER, Listener, Peer, is_temporary
from cookcam.serving.observer import ConnectionObserver, NoObserver
from cookcam.serving.states import DRAIN_IDLE_GRACE
from cookcam.serving.tasks import DisconnectWatch
from cookcam.serving.websocket import ErrorBody, ProtocolConfig


@define
class Server:
    """Serves an ASGI application; see `cookcam.lifecycle.shutdown.Server` for how it ends."""

    app: ASGIFramework
    listeners: Sequence[Listener]
    config: ProtocolConfig
    lifecycle: Lifecycle
    work: Work
    error_body: ErrorBody
    observer: ConnectionObserver = field(factory=NoObserver)
    addresses: AddressLimit = field(factory=AddressLimit)
    _connections: set[Connection] = field(factory=set[Connection], init=False)
    _nursery: trio.Nursery | None = field(default=None, init=False)
    _watch: DisconnectWatch = field(factory=DisconnectWatch, init=False)
    _deadlines: Deadlines = field(factory=Deadlines, init=False)
    _context: WorkerContext = field(factory=lambda: WorkerContext(None), init=False)
    _accepting: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _listeners_closed: trio.Event = field(factory=trio.Event, init=False)
    _all_closed: trio.Event = field(factory=trio.Event, init=False)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the connections; returns when all listeners and connections are closed."""
        try:
            async with trio.open_nursery() as watch_nursery:
                watch_nursery.start_soon(self._watch.run, name="watch for disconnects")
                watch_nursery.start_soon(self._deadlines.run, name="deadlines of connections")
                async with trio.open_nursery() as nursery:
                    self._nursery = nursery
                    task_status.started()
                    await self._listeners_closed.wait()
                watch_nursery.cancel_scope.cancel()
        finally:
            self._all_closed.set()

    async def accept(
        self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Listens and accepts connections until the listeners are closed.

        Apart from `serve`, so that a failure here takes no connection down. Raises OSError when
        the port is in use or a listening socket breaks; any other failure is reported, and tried
        again.
        """
        for listener in self.listeners:
            listener.listen()
        with self._accepting:
            async with trio.open_nursery() as nursery:
                for listener in self.listeners:
                    nursery.start_soon(self._accept, listener, name="accept connections")
                task_status.started()

    def stop_accepting(self) -> None:
        for listener in self.listeners:
            for peer in listener.close():
                self._start(peer)
        self._accepting.cancel()
        self._listeners_closed.set()

    async def drain(self, linger: float) -> None:
        """Waits for the end of all connections. Idle ones of a proxy stay for `linger` seconds,
        because it may be about to use them; all others end at once."""
        for connection in self._connections:
            is_proxy = connection.is_from_proxy and self._is_proxy(connection.peer.address)
            connection.drain(linger if is_proxy else min(linger, DRAIN_IDLE_GRACE))
        await self._all_closed.wait()

    def _is_proxy(self, address: str | None) -> bool:
        # A peer without an address is on this machine: a UNIX socket, or memory in a test.
        return address is None or self.addresses.is_exempt(address)

    async def _accept(self, listener: Listener) -> None:
        with suppress(trio.ClosedResourceError):
            while True:
                # Before and not after: a stream that is accepted is started, never lost between.
                await trio.lowlevel.checkpoint()
                try:
                    peers = await listener.accept()
                except OSError as error:
                    if not is_temporary(error):
                        raise
                    # The accept queue keeps the others meanwhile.
                    self.observer.accept_failed(error)
                    await trio.sleep(RETRY_ACCEPT_AFTER)
                    continue
                for peer in peers:
                    self._start(peer)

    def _start(self, peer: Peer) -> None:
        address = self.addresses.key_of(peer)
        if not self.addresses.claim(address):
            self.observer.address_limited(address or "")
            peer.close()
            return
        connection = Connection(
            peer,
            self.app,
            self.config,
            self._context,
            self.lifecycle,
            self.work,
            self.error_body,
            self.observer,
            self._watch,
            self._deadlines,
        )
        assert self._nursery is not None  # noqa: S101 - listeners are opened by `serve`
        self._connections.add(connection)
        self._nursery.start_soon(self._run, connection, address, name="connection")

    async def _run(self, connection: Connection, address: str | None) -> None:
        self.observer.connection_opened()
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
            self.addresses.release(address)
            self.observer.connection_closed()


def protocol_config(
    *,
    keep_alive_seconds: float,
    compress_websockets: bool = False,
    websocket_timeout: float = 300.0,
    tls_cert_file: str | None = None,
    tls_key_file: str | None = None,
) -> ProtocolConfig:
    """Hypercorn's configuration for the protocol code; logging and sockets are ours.

    `config.create_ssl_context()` gives the TLS context for a listener, None without the files.
    """
    config = ProtocolConfig()
    config.compress_websockets = compress_websockets
    config.websocket_timeout = websocket_timeout
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = keep_alive_seconds  # pyright: ignore[reportAttributeAccessIssue]
    config.keep_alive_max_requests = 100_000
    config.websocket_max_message_size = 2**20
    config.certfile, config.keyfile = tls_cert_file, tls_key_file
    return config
