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
from typing import Any, Final, Self, TypedDict, Unpack

import trio

from cookcam.realtime.engineio import (
    CloseCounts,
    DirectExtension,
    EngineServer,
    OnFailure,
    Receive,
    Scope,
    Send,
    Session,
)
from cookcam.realtime.engineio.server import Admit, RejectionFields
from cookcam.realtime.engineio.session import GOING_AWAY, TransportName
from cookcam.realtime.replay import RecoveryOptions, ReplayBuffer

from .dispatcher import OnError, PacketDispatcher
from .namespace import Namespace
from .packets import MAIN_NAMESPACE, Decoder
from .socket import Socket

Notice = Callable[[Socket], tuple[Any, ...]]
"""Returns the event and arguments that a socket gets before it is closed."""

_BATCH_DELAY: Final = 0.05
_log = logging.getLogger(__name__)


class EngineOptions(TypedDict, total=False):
    """The options of `EngineServer`."""

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
    direct: DirectExtension
    on_failure: OnFailure


def log_error(socket: Socket, event: str, error: Exception) -> None:
    """The default `on_error`."""
    _log.error("handler of %r failed in namespace %s", event, socket.namespace.name, exc_info=error)


class SocketServer:
    """Namespaces on an Engine.IO server.

    `connect_timeout`: seconds within which a client must connect to a namespace, and a connect
    handler must return. `linger`: seconds that event handlers may continue after their socket has
    ended; the disconnect handler then gets as many. `recovery`: None disables it.
    `on_error(socket, event, error)` is called for every exception of a handler; the connection
    stays open. Other options: `EngineServer`.
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
        # The event handlers may take one `linger`, the disconnect handler after them another.
        self.engine = EngineServer(self._serve, path=path, linger=2 * linger, **options)
        self._connect_timeout = connect_timeout
        self._linger = linger
        self._recovery = recovery
        self._on_error = on_error
        self._namespaces: dict[str, Namespace] = {}
        self._dispatchers: set[PacketDispatcher] = set()
        self.main = self.namespace(MAIN_NAMESPACE)

    def namespace(self, name: str) -> Namespace:
        """The namespace of that name (it begins with a slash), created on first use.

        Clients can connect only to namespaces created before the server opens.
        """
        if name not in self._namespaces:
            replay = None if self._recovery is None else ReplayBuffer[Socket](self._recovery)
            self._namespaces[name] = Namespace(name, replay)
        return self._namespaces[name]

    @property
    def path(self) -> str:
        return self.engine.path

    @property
    def sockets(self) -> list[Socket]:
        """The connected sockets of all namespaces."""
        return [socket for space in self._namespaces.values() for socket in space.sockets]

    def handles(self, path: str) -> bool:
        """Whether this server serves the path; a trailing slash is ignored."""
        return self.engine.handles(path)

    async def __aenter__(self) -> Self:
        await self.engine.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> None:
        """Cancels open sessions without calling their disconnect handlers. Call `shutdown` first
        for a clean close."""
        await self.engine.__aexit__(*error)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.engine(scope, receive, send)

    def notify(self, notice: Notice) -> int:
        """Sends each socket its notice; returns how many accepted it."""
        return sum(socket.emit(*notice(socket)) for socket in self.sockets)

    async def close_all(
        self,
        code: int = GOING_AWAY,
        reason: str = "server shutting down",
        *,
        timeout: float,
        batch_size: int = 500,
        goodbye: bool = True,
    ) -> CloseCounts:
        """Rejects handshakes from now on and closes all sessions: handlers finish, outboxes are
        flushed, then the disconnect packet and the close of the transport are sent.

        Works in batches, so that not all clients reconnect at once. Sessions that have not ended
        after `timeout` seconds are cut. Without `goodbye` no disconnect packet (`41`) is sent:
        clients see `transport close`, after which their library reconnects automatically.
        """
        self.engine.draining = True
        before = list(self.engine.sessions)
        started = trio.current_time()
        with trio.move_on_after(timeout):
            async with trio.open_nursery() as nursery:
                for index, dispatcher in enumerate(list(self._dispatchers)):
                    if index and index % batch_size == 0:
                        await trio.sleep(_BATCH_DELAY)
                    if dispatcher.busy:
                        drain = partial(dispatcher.drain, reason, code, goodbye=goodbye)
                        nursery.start_soon(drain)
                    else:
                        dispatcher.close(reason, code, goodbye=goodbye)
        remaining = set(self.engine.sessions)
        ended = [session for session in before if session not in remaining]
        with trio.move_on_at(started + timeout):
            for session in ended:
                await session.closed()  # its last response may not be sent yet
        left = max(0.0, started + timeout - trio.current_time())
        counts = CloseCounts.of(ended, reason)
        return counts + await self.engine.close_all(code, reason, timeout=left)

    async def shutdown(
        self, notice: Notice, *, timeout: float, batch_size: int = 500, goodbye: bool = True
    ) -> CloseCounts:
        """`notify`, then `close_all`."""
        self.engine.draining = True
        self.notify(notice)
        return await self.close_all(timeout=timeout, batch_size=batch_size, goodbye=goodbye)

    async def _serve(self, session: Session) -> None:
        dispatcher = PacketDispatcher(
            session,
            self._namespaces,
            self._connect_timeout,
            self._linger,
            self._on_error,
            Decoder(self.engine.max_payload),
        )
        self._dispatchers.add(dispatcher)
        try:
            await dispatcher.run()
        finally:
            self._dispatchers.discard(dispatcher)
