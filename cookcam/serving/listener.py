"""A listening socket that can be closed without losing connections in its accept queue."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Any, Protocol, cast

import trio
from attrs import frozen

RETRY_ACCEPT_AFTER = 0.1
"""Seconds to wait when the process is out of descriptors; connections stay in the accept queue."""

_BROKEN = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT}
"""Errors of `accept` on a socket that does not listen (accept(2))."""
BACKLOG = 1024
"""Connections that the kernel completes before they are accepted; clients retry further ones."""

ACCEPT_BATCH = 128
"""Connections accepted in one pass of the scheduler. With one per pass, a new connection waits in
the kernel's queue for as many passes as there are connections before it; without a limit, a flood
of connections delays every other task. Accepting and starting one costs about 0.1 ms."""


_QUEUE_IS_EMPTY = (BlockingIOError, InterruptedError, ConnectionAbortedError)


@frozen
class Peer:
    """An accepted connection: its stream, and the socket for direct writes.

    `socket` is None where a plain `send` is not possible: with TLS, or in memory.
    """

    stream: trio.abc.Stream
    socket: socket.socket | None = None

    @property
    def transport(self) -> trio.abc.Stream:
        """The stream below TLS, or the stream."""
        return cast("Any", getattr(self.stream, "transport_stream", self.stream))

    @property
    def address(self) -> str | None:
        """The IP address of the peer; None in memory, and after a disconnect."""
        if not isinstance(self.transport, trio.SocketStream):
            return None
        try:
            name: Any = self.transport.socket.getpeername()
        except OSError:
            return None
        return name[0]

    def close(self) -> None:
        """Closes at once, without a message to the peer."""
        if isinstance(self.transport, trio.SocketStream):
            self.transport.socket.close()


def may_pass(error: OSError) -> bool:
    """Whether `accept` may succeed again: out of descriptors or memory, or an error of the network
    that belonged to one connection (accept(2)). False for a socket that no longer listens."""
    return error.errno is not None and error.errno not in _BROKEN


class Listener(Protocol):
    def listen(self) -> None:
        """Starts to listen. Raises OSError, for instance when the port is in use."""
        ...

    async def accept(self) -> list[Peer]:
        """Accept connections, at least one and at most ACCEPT_BATCH.

        Raises trio.ClosedResourceError once the listener is closed, OSError when `accept` fails
        (see `may_pass`). Nothing is awaited after the first connection was accepted, so a
        cancellation loses none.
        """
        ...

    def close(self) -> list[Peer]:
        """Accept all connections in the accept queue and close, without a checkpoint in between."""
        ...


@frozen
class SocketListener:
    """A bound TCP socket, with TLS on top when it has a context.

    Binding and listening are separate steps: a program binds its port when it starts, and listens
    when it is ready to accept. The kernel rejects connections in between, so that a proxy tries
    another instance instead of waiting in the accept queue.
    """

    listener: socket.socket
    tls: ssl.SSLContext | None = None

    @classmethod
    def bind(cls, host: str, port: int, *, tls: ssl.SSLContext | None = None) -> SocketListener:
        """Binds the port. Raises OSError, for instance when another socket listens on it.

        If another process has bound the port without listening, `listen` fails instead.
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
            # Closed by another task: the descriptor is -1 and waiting on it would be a bug.
            if self.listener.fileno() < 0:
                raise trio.ClosedResourceError
            try:
                while len(accepted) < ACCEPT_BATCH:
                    accepted.append(self._welcome(self.listener.accept()[0]))
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
            waiting.append(self._welcome(peer))
        trio.lowlevel.notify_closing(self.listener)
        self.listener.close()
        return waiting

    def _welcome(self, peer: socket.socket) -> Peer:
        stream = trio.SocketStream(trio.socket.from_stdlib_socket(peer))
        if self.tls is None:
            return Peer(stream, peer)
        return Peer(trio.SSLStream(stream, self.tls, server_side=True, https_compatible=True))
