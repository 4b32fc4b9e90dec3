"""Listening sockets, which close without losing the connections in their accept queue."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any, Protocol, cast

import trio
from attrs import frozen

RETRY_ACCEPT_AFTER = 0.1
"""Seconds to wait when the process is out of descriptors; the queue holds the rest meanwhile."""

_BROKEN = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT}
"""Errors of `accept` for a socket that does not listen (accept(2))."""
BACKLOG = 1024
"""Connections that the kernel completes before they are accepted; the rest are sent again."""

ACCEPT_BATCH = 128
"""Connections taken in one pass of the scheduler. With one a pass, a new connection waits in the
kernel's queue for as many passes as there are connections before it; without a limit, a flood of
connections holds up every other task. To take and start one costs about 0.1 ms."""


_QUEUE_IS_EMPTY = (BlockingIOError, InterruptedError, ConnectionAbortedError)


@frozen
class Peer:
    """An accepted connection: the stream, and its socket where that may be written to directly.

    `socket` is None where bytes need more than a `send`: with TLS, or in memory.
    """

    stream: trio.abc.Stream
    socket: socket.socket | None = None

    @property
    def transport(self) -> trio.abc.Stream:
        """The stream below TLS, or the stream."""
        return cast("Any", getattr(self.stream, "transport_stream", self.stream))

    @property
    def address(self) -> str | None:
        """The IP address of the other side; None in memory, and once it has closed."""
        if not isinstance(self.transport, trio.SocketStream):
            return None
        try:
            name: Any = self.transport.socket.getpeername()
        except OSError:
            return None
        return name[0]

    def close(self) -> None:
        """Closes at once, without sending anything."""
        if isinstance(self.transport, trio.SocketStream):
            self.transport.socket.close()


def bind_shared(host: str, port: int, count: int) -> list[socket.socket]:
    """Sockets on one port, among which the kernel spreads connections (SO_REUSEPORT).

    Raises OSError when another program listens on the port.
    """
    alone = SocketListener.bind(host, port)  # fails where a shared socket would join another's
    address, family = alone.listener.getsockname(), alone.listener.family
    alone.listener.close()
    sockets: list[socket.socket] = []
    try:
        for _ in range(count):
            sockets.append(shared := socket.socket(family, socket.SOCK_STREAM))
            # A connection in TIME_WAIT keeps the options of its listener: with both options, a
            # later server of either kind can bind the port.
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            shared.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            shared.bind(address)
    except BaseException:
        for shared in sockets:
            shared.close()
        raise
    return sockets


def is_temporary(error: OSError) -> bool:
    """Whether `accept` may succeed again: out of descriptors or memory, or an error of the network
    that belonged to one connection (accept(2)). False for a socket that listens no more."""
    return error.errno is not None and error.errno not in _BROKEN


class Listener(Protocol):
    def listen(self) -> None:
        """Lets clients connect. Raises OSError, for instance when the port is in use."""
        ...

    async def accept(self) -> list[Peer]:
        """The next connections, at least one and at most ACCEPT_BATCH.

        Raises trio.ClosedResourceError once the listener is closed, OSError when the system gives
        none (see `is_temporary`). Nothing is awaited after the first connection was taken, so a
        cancellation loses none.
        """
        ...

    def close(self) -> list[Peer]:
        """Empties the accept queue and closes, without a pause in between."""
        ...


@frozen
class SocketListener:
    """A bound TCP socket, with TLS on top when it has a context.

    Binding and listening are apart: a program takes its port when it starts, and listens when it
    is ready to accept. A proxy that connects in between gets a reset at once and tries another
    instance; otherwise it would wait in the accept queue.
    """

    listener: socket.socket
    tls: ssl.SSLContext | None = None

    @classmethod
    def bind(cls, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> SocketListener:
        """Takes the port. Raises OSError, for instance when another socket listens on it.

        Where another process has only bound the port as well, `listen` fails.
        """
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.setblocking(False)
        except BaseException:
            listener.close()
            raise
        return cls(listener, tls)

    @classmethod
    def inherited(cls, descriptor: int, *, tls: ssl.SSLContext | None = None) -> SocketListener:
        """The socket of `bind_shared` that a supervisor has passed to this process."""
        listener = socket.socket(fileno=descriptor)
        listener.setblocking(False)
        return cls(listener, tls)

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def listen(self) -> None:
        try:
            self.listener.listen(BACKLOG)
        except OSError as error:
            raise OSError(error.errno, f"cannot listen on port {self.port}: {error}") from error

    async def accept(self) -> list[Peer]:
        accepted: list[Peer] = []
        while True:
            # Closed under us: the descriptor is -1 and waiting on it would be a bug.
            if self.listener.fileno() < 0:
                raise trio.ClosedResourceError
            try:
                while len(accepted) < ACCEPT_BATCH:
                    accepted.append(self._peer_of(self.listener.accept()[0]))
            except _QUEUE_IS_EMPTY:
                if not accepted:
                    await trio.lowlevel.wait_readable(self.listener)
            except OSError:
                if not accepted:
                    raise
            if accepted:
                return accepted

    def close(self) -> list[Peer]:
        waiting: list[Peer] = []
        while True:
            try:
                peer, _ = self.listener.accept()
            except BlockingIOError:
                break
            except (InterruptedError, ConnectionAbortedError):
                continue
            except OSError:
                break
            waiting.append(self._peer_of(peer))
        trio.lowlevel.notify_closing(self.listener)
        self.listener.close()
        return waiting

    def _peer_of(self, peer: socket.socket) -> Peer:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(peer))
        if self.tls is None:
            return Peer(stream, peer)
        return Peer(trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True))
