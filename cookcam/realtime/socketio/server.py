"""The Socket.IO server: namespaces on top of an Engine.IO server, as one ASGI app.

sockets = SocketServer()

@sockets.main.on("message")
async def message(socket, text):
    socket.emit("message-back", text)

async with sockets:
    await sockets(scope, receive, send)
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

import trio

from cookcam.realtime.engineio import EngineServer, Goodbyes, Receive, Scope, Send, Session
from cookcam.realtime.engineio.server import Admit, RejectionFields
from cookcam.realtime.engineio.session import GOING_AWAY, TransportName

from .connection import Connection, OnError
from .history import History, RecoveryOptions
from .namespace import Namespace
from .packets import MAIN_NAMESPACE, Decoder
from .socket import Socket

Notice = Callable[[Socket], tuple[Any, ...]]
"""What to tell a socket before the end: event name and arguments."""

_BATCH_DELAY: Final = 0.05
_log = logging.getLogger(__name__)


class EngineOptions(TypedDict, total=False):
    """Those of `EngineServer`."""

    ping_interval: float
    ping_timeout: float
    max_payload: int
    read_limit: int | None
    outbox_limit: int
    transports: Collection[TransportName]
    allow_upgrades: bool
    upgrade_timeout: float
    close_timeout: float
    origins: Collection[str] | None
    admit: Admit
    rejection_fields: RejectionFields


def log_error(socket: Socket, event: str, error: Exception) -> None:
    """The default `on_error`."""
    _log.error("handler of %r failed in namespace %s", event, socket.namespace.name, exc_info=error)


class SocketServer:
    """`connect_timeout`: seconds a client has to connect to a namespace, and a connect handler to
    decide. `linger`: seconds that handlers may still take once their socket has ended, and then a
    disconnect handler. `recovery`: None is off. `on_error(socket, event, error)` is told of every
    exception of a handler; none ends a connection. Further options: `EngineServer`.
    """

    def __init__(
        self,
        *,
        path: str = "/socket.io/",
        connect_timeout: float = 45.0,
        linger: float = 5.0,
        recovery: RecoveryOptions | None = None,
        on_error: OnError = log_error,
        **options: Unpack[EngineOptions],
    ) -> None:
        # Twice: the events a socket has sent have their time, and its disconnect handler after.
        self.engine = EngineServer(self._serve, path=path, linger=2 * linger, **options)
        self._connect_timeout = connect_timeout
        self._linger = linger
        self._recovery = recovery
        self._on_error = on_error
        self._namespaces: dict[str, Namespace] = {}
        self._connections: set[Connection] = set()
        self.main = self.namespace(MAIN_NAMESPACE)

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name (it begins with a slash), made on first use.

        Clients may connect to those made before the server opened, and to no other.
        """
        if name not in self._namespaces:
            history = None if self._recovery is None else History(self._recovery)
            self._namespaces[name] = Namespace(name, history)
        return self._namespaces[name]

    @property
    def path(self) -> str:
        return self.engine.path

    @property
    def sockets(self) -> list[Socket]:
        """The connected sockets of all namespaces."""
        return [socket for space in self._namespaces.values() for socket in space.sockets]

    def handles(self, path: str) -> bool:
        """Whether a request for this path is for this server; the last slash does not matter."""
        return self.engine.handles(path)

    async def __aenter__(self) -> Self:
        await self.engine.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancels what is left; disconnect handlers are not called then. `shutdown` before this
        is how to part in order."""
        await self.engine.__aexit__(kind, error, trace)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.engine(scope, receive, send)

    def notify(self, notice: Notice) -> int:
        """Sends each socket a notice of its own; returns how many took it."""
        return sum(socket.emit(*notice(socket)) for socket in self.sockets)

    async def close_all(
        self,
        code: int = GOING_AWAY,
        reason: str = "server shutting down",
        *,
        timeout: float,
        batch_size: int = 500,
        goodbye: bool = True,
    ) -> Goodbyes:
        """Refuses handshakes from now on and closes every session: handlers run to their end,
        outboxes are flushed, then come Socket.IO's and the transport's own goodbye.

        Batches start shortly after one another, so that not all clients reconnect at once. What
        is not over after `timeout` seconds is cut. Without `goodbye` no disconnect packet (`41`)
        is sent: clients then see `transport close`, after which their library reconnects by
        itself, which it does not after a disconnect packet.
        """
        self.engine.draining = True
        before = list(self.engine.sessions)
        started = trio.current_time()
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                for index, connection in enumerate(list(self._connections)):
                    if index and index % batch_size == 0:
                        await trio.sleep(_BATCH_DELAY)
                    if connection.busy:
                        retire = partial(connection.retire, reason, code, goodbye=goodbye)
                        nursery.start_soon(retire)
                    else:
                        connection.part(reason, code, goodbye=goodbye)
        remaining = set(self.engine.sessions)
        over = [session for session in before if session not in remaining]
        with trio.move_on_at(started + timeout):
            for session in over:
                await session.closed()  # its last answer may be under way still
        left = max(0.0, started + timeout - trio.current_time())
        return Goodbyes.of(over, reason) + await self.engine.close_all(code, reason, timeout=left)

    async def shutdown(
        self, notice: Notice, *, timeout: float, batch_size: int = 500, goodbye: bool = True
    ) -> Goodbyes:
        """`notify`, then `close_all`."""
        self.engine.draining = True
        self.notify(notice)
        return await self.close_all(timeout=timeout, batch_size=batch_size, goodbye=goodbye)

    async def _serve(self, session: Session) -> None:
        connection = Connection(
            session,
            self._namespaces,
            self._connect_timeout,
            self._linger,
            self._on_error,
            Decoder(self.engine.max_payload),
        )
        self._connections.add(connection)
        try:
            await connection.run()
        finally:
            self._connections.discard(connection)
