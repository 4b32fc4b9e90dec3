"""One connection: reads bytes, drives Hypercorn's protocol, writes bytes, and ends in order.

Against Hypercorn's own TCPServer: the idle time is a deadline of the reading scope and not a task
per request; a request is cancelled when its client leaves; a write can be cancelled and is
bounded; closing discards what the peer still sends for a moment, so that the last answer is not
destroyed by a reset; draining leaves idle connections to the peer until `linger` is over.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.serving.door import Peer
from cookcam.serving.protocol import HTTP1, ErrorBody, Protocol
from cookcam.serving.tasks import RequestTasks

MAX_RECEIVE = 2**16
WRITE_BOUND = 60.0
"""Seconds one write may take; a peer that does not read for so long is given up."""
DISCARD_BOUND = 1.0
"""Seconds to discard what a peer still sends after we have closed our side (RFC 9112 §9.6)."""


class Connection:
    """Serves one stream until it is closed by either side."""

    def __init__(
        self,
        peer: Peer,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        lifecycle: Lifecycle,
        work: Work,
        error_body: ErrorBody,
    ) -> None:
        self._stream = peer.stream
        self._socket = peer.socket
        self._app = app
        self._config = config
        self._context = context
        self._lifecycle = lifecycle
        self._work = work
        self._error_body = error_body
        self._handshaking: trio.CancelScope | None = None
        self._reading = trio.CancelScope()
        # An empty lock is a kilobyte, and most connections never wait to write.
        self._writing: trio.Lock | None = None
        self._unsent: list[memoryview] = []
        self._idle_until = math.inf
        self._linger_until = math.inf
        self._idle = True
        self._closing = False
        self._over = False
        self._protocol: Protocol

    async def run(self) -> None:
        """Returns when the connection is closed; never raises for what a peer does."""
        try:
            alpn = await self._handshake()
            if alpn is None:
                return
            async with RequestTasks(self._work) as tasks:
                self._protocol = self._make_protocol(alpn, tasks)
                await self._protocol.initiate()
                self._enter_idle()
                await self._read()
        except OSError:
            pass  # the peer is gone
        finally:
            await self._drop()

    async def _drop(self) -> None:
        if self._socket is not None and isinstance(self._stream, trio.SocketStream):
            self._stream.socket.close()  # all there is to it, and nothing waits
            return
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)

    def linger(self, until: float) -> None:
        """From now on an idle connection ends at `until`, a time of Trio's clock.

        One that has not even finished its TLS handshake by then is given up.
        """
        self._linger_until = until
        if self._handshaking is not None:
            self._handshaking.deadline = min(self._handshaking.deadline, until)
        self._set_deadline()

    async def _handshake(self) -> str | None:
        """The application protocol agreed on; None when the TLS handshake fails."""
        if not isinstance(self._stream, trio.SSLStream):
            return "http/1.1"
        stream = cast("trio.SSLStream[trio.SocketStream]", self._stream)  # pyright: ignore[reportUnknownMemberType]
        bound = trio.current_time() + self._config.ssl_handshake_timeout
        self._handshaking = trio.CancelScope(deadline=min(self._linger_until, bound))
        with self._handshaking:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return None
            return stream.selected_alpn_protocol() or "http/1.1"
        return None

    def _make_protocol(self, alpn: str, tasks: RequestTasks) -> Protocol:
        transport: Any = getattr(self._stream, "transport_stream", self._stream)
        # A stream that is no socket (in memory, in a test) has no addresses.
        sock = getattr(transport, "socket", None)
        return Protocol(
            self._app,
            self._config,
            self._context,
            tasks,
            ConnectionState({}),
            isinstance(self._stream, trio.SSLStream),
            sock and sock.getpeername()[:2],
            sock and sock.getsockname()[:2],
            self._send,
            alpn=alpn,
            draining=lambda: self._lifecycle.draining,
            error_body=self._error_body,
            write=None if self._socket is None else self._write_directly,
        )

    async def _read(self) -> None:
        with self._reading:
            while True:
                try:
                    data = await self._receive()
                except (trio.ClosedResourceError, trio.BrokenResourceError, OSError):
                    break
                if self._closing:
                    if not data:
                        break
                    continue
                # A request has begun to arrive: only its own bounds count while it is handled.
                self._bound_reading(math.inf)
                await self._protocol.handle(RawData(data))
                if not data or self._over:
                    break
                del data  # else an idle connection keeps what it was told last
                self._set_deadline()
        if isinstance(self._protocol.protocol, H2Protocol) and not self._closing:
            await self._go_away()
        await self._protocol.handle(Closed())

    async def _receive(self) -> bytes:
        """What the peer has sent, empty at its end. Raises as a stream does, or OSError."""
        if self._socket is None:
            return bytes(await self._stream.receive_some(MAX_RECEIVE))
        # Fewer frames than the stream's own, for as long as the connection is idle, and no buffer
        # is made before there is something to put into it.
        while True:
            await trio.lowlevel.wait_readable(self._socket)
            with suppress(BlockingIOError):
                return self._socket.recv(MAX_RECEIVE)

    def _enter_idle(self) -> None:
        self._idle = True
        self._idle_until = trio.current_time() + self._config.keep_alive_timeout
        self._set_deadline()

    def _set_deadline(self) -> None:
        if self._closing:
            return
        if self._idle:
            self._bound_reading(min(self._idle_until, self._linger_until))
        else:
            self._bound_reading(math.inf)

    def _bound_reading(self, until: float) -> None:
        # To set a deadline costs more than to look at it, and on a WebSocket it is always the same.
        if self._reading.deadline != until:
            self._reading.deadline = until

    async def _go_away(self) -> None:
        """HTTP/2's goodbye: GOAWAY, so that the client knows which requests were not handled."""
        protocol = self._protocol.protocol
        assert isinstance(protocol, H2Protocol)  # noqa: S101 - narrows the type
        protocol.connection.close_connection()
        await self._send(RawData(protocol.connection.data_to_send()))

    async def _send(self, event: Event) -> None:
        """What the protocol wants done: write, close, or note that it is idle or busy."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._close()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated):
            if not event.idle:
                self._idle = False
                self._set_deadline()
            elif self._lifecycle.draining and isinstance(self._protocol.protocol, H2Protocol):
                await self._go_away()
                await self._close()
            else:
                self._enter_idle()

    def _write_now(self, data: bytes) -> int:
        """Bytes the kernel takes at once; 0 while others are on their way, or TLS is in between.

        Most answers fit the socket's buffer, and this costs a quarter of `send_all`.
        """
        if self._socket is None or self._closing or self._unsent:
            return 0
        try:
            return self._socket.send(data)
        except OSError:
            return 0  # full or broken: `send_all` waits or finds out

    def _write_directly(self, data: bytes) -> int:
        """See WEBSOCKET_DIRECT: what was begun is kept, to be ended by the next `_write`."""
        sent = self._write_now(data)
        if 0 < sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
        return sent

    async def _write(self, data: bytes) -> None:
        """Returns when everything up to the end of `data` is out, or nothing can be any more."""
        if self._closing:
            return
        sent = self._write_now(data)
        if sent < len(data):
            # Its place is taken before anything waits: what comes later goes behind it.
            self._unsent.append(memoryview(data)[sent:])
        if self._unsent:
            await self._flush()

    async def _flush(self) -> None:
        if self._writing is None:
            self._writing = trio.Lock()
        async with self._writing:
            # What others add meanwhile is theirs to send.
            for _ in range(len(self._unsent)):
                if self._closing:
                    return
                try:
                    with trio.fail_after(WRITE_BOUND):
                        await self._stream.send_all(self._unsent[0])
                except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
                    self._closing = True
                    self._reading.cancel()
                    await self._protocol.handle(Closed())
                    return
                except trio.Cancelled:
                    # Half a write may be out: nothing that follows here would be right.
                    self._closing = True
                    self._reading.cancel()
                    raise
                del self._unsent[0]

    async def _close(self) -> None:
        """Ends our side; the reader discards the rest until the peer ends its own. Where the peer
        has said its last word already, both sides."""
        if self._closing:
            return
        self._closing = True
        if isinstance(self._protocol.protocol, HTTP1) and self._protocol.protocol.over:
            self._over = True
            await self._drop()
            return
        self._reading.deadline = trio.current_time() + DISCARD_BOUND
        try:
            if self._socket is not None:
                self._socket.shutdown(socket.SHUT_WR)
            elif isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            else:
                self._reading.cancel()
        except (
            OSError,
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.BusyResourceError,
        ):
            self._reading.cancel()
