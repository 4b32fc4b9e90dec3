"""One connection: reads bytes, drives its protocol, writes bytes, and ends in order.

Against Hypercorn's own TCPServer: a connection is in one state at a time, and has the deadline of
that state (`cookcam.serving.states`); an error of any kind ends this connection and nothing else; a
request is cancelled when its client leaves; a write can be cancelled and is bounded; closing
discards what the peer still sends for a moment, so that the last response is not destroyed by a
reset; draining leaves idle connections to a proxy until the linger time is over.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from typing import Any, cast

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ASGIFramework, ConnectionState

from cookcam.lifecycle.state import Lifecycle
from cookcam.lifecycle.work import Work
from cookcam.serving.deadlines import Deadlines, Entry
from cookcam.serving.http1 import HTTP1
from cookcam.serving.http2 import HTTP2
from cookcam.serving.listener import Peer
from cookcam.serving.observer import ConnectionObserver
from cookcam.serving.request_stream import RequestStream
from cookcam.serving.states import (
    CLOSING_TIMEOUT,
    DRAIN_CLOSING_TIMEOUT,
    HEAD_TIMEOUT,
    MAX_DISCARDED,
    MIN_DRAIN_GRACE,
    RESPONSE_TIMEOUT,
    TLS_HANDSHAKE_TIMEOUT,
    WRITE_TIMEOUT,
    State,
)
from cookcam.serving.tasks import DisconnectWatch, RequestTasks
from cookcam.serving.websocket import ErrorBody, ProtocolConfig

MAX_RECEIVE = 2**16
FIRST_REQUEST_TIMEOUT = 1.0
"""Seconds within which a proxy sends its first request on a new connection."""
_CLOSED = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError, OSError)


class _Watching:
    """Reading beside a request that lasts: its scope, and whether its task has ended."""

    __slots__ = ("ended", "reading")

    def __init__(self) -> None:
        self.reading = trio.CancelScope()
        self.ended = trio.Event()


class Connection:
    """Serves one stream until it is closed by either side."""

    __slots__ = (
        "_app",
        "_check",
        "_closing",
        "_config",
        "_context",
        "_deadlines",
        "_error_body",
        "_has_left",
        "_is_over",
        "_lifecycle",
        "_linger_until",
        "_observer",
        "_opened",
        "_protocol",
        "_reading",
        "_sending",
        "_socket",
        "_state",
        "_stream",
        "_tasks",
        "_transport",
        "_unsent",
        "_until",
        "_watch",
        "_watching",
        "_work",
        "_writing",
        "peer",
    )

    def __init__(
        self,
        peer: Peer,
        app: ASGIFramework,
        config: ProtocolConfig,
        context: WorkerContext,
        lifecycle: Lifecycle,
        work: Work,
        error_body: ErrorBody,
        observer: ConnectionObserver,
        watch: DisconnectWatch,
        deadlines: Deadlines,
    ) -> None:
        self.peer = peer
        self._stream = peer.stream
        self._socket = peer.socket
        self._transport: Any = peer.transport
        self._app = app
        self._config = config
        self._context = context
        self._lifecycle = lifecycle
        self._work = work
        self._error_body = error_body
        self._observer = observer
        self._watch = watch
        self._watching: _Watching | None = None
        self._deadlines = deadlines
        self._check: Entry | None = None
        """The next check of the deadline: not later than the deadline."""
        # The scope of waiting for the peer, which is cancelled at the deadline of the state.
        self._reading = trio.CancelScope()
        self._state = State.TLS_HANDSHAKE
        self._until = math.inf
        self._linger_until = math.inf
        # An empty lock is a kilobyte, and most connections never wait to write.
        self._writing: trio.Lock | None = None
        self._sending: trio.CancelScope | None = None
        self._unsent: list[memoryview] = []
        self._opened = trio.current_time()
        self._closing = False
        self._is_over = False
        self._has_left = False
        """The peer was seen to leave during a request."""
        self._protocol: HTTP1 | HTTP2
        self._tasks: RequestTasks

    @property
    def _has_protocol(self) -> bool:
        return self._state is not State.TLS_HANDSHAKE

    @property
    def state(self) -> State:
        return self._state

    async def run(self) -> None:
        """Returns when the connection is closed. Raises nothing but cancellation: an error that is
        not the peer's is reported and ends this connection."""
        try:
            alpn = await self._handshake()
            if alpn is not None:
                async with RequestTasks(self._work, self._observer) as self._tasks:
                    self._protocol = self._make_protocol(alpn, self._tasks)
                    await self._serve()
        except* OSError:
            pass  # the peer has closed
        except* Exception as error:
            self._observer.connection_failed(error)
        finally:
            if self._check is not None:
                self._deadlines.remove(self._check)
            await self._drop()

    @property
    def is_from_proxy(self) -> bool:
        """Whether the last request was forwarded for a client. Before the first one, whether the
        connection is new: a proxy connects when it has a request to send."""
        is_forwarded = self._protocol.is_forwarded if self._has_protocol else None
        if is_forwarded is None:
            return trio.current_time() - self._opened < FIRST_REQUEST_TIMEOUT
        return is_forwarded

    def drain(self, linger: float) -> None:
        """The drain has begun: a connection that waits for its peer ends in `linger` seconds, and a
        body or a write may stall until then, or for MIN_DRAIN_GRACE."""
        self._linger_until = trio.current_time() + linger
        if self._sending is not None:
            self._sending.deadline = min(self._sending.deadline, self._write_deadline())
        if self._has_protocol:
            self._shorten_grace()
            if self._state is State.BODY:
                self._until = self._protocol.body_deadline
            elif self._state is State.CLOSING:
                self._until = min(self._until, trio.current_time() + DRAIN_CLOSING_TIMEOUT)
        self._set_deadline()

    def _shorten_grace(self) -> None:
        left = self._linger_until - trio.current_time()
        self._protocol.shorten_grace(max(left, MIN_DRAIN_GRACE))

    # -- the state and its deadline

    def _enter(self, state: State) -> None:
        self._state = state
        if state is State.BODY:
            self._until = self._protocol.body_deadline
        else:
            self._until = trio.current_time() + self._timeout(state)
        self._set_deadline()

    def _timeout(self, state: State) -> float:
        match state:
            case State.TLS_HANDSHAKE:
                return TLS_HANDSHAKE_TIMEOUT
            case State.IDLE:
                return self._config.keep_alive_timeout
            case State.HEAD:
                return HEAD_TIMEOUT
            case State.WEBSOCKET:
                return self._config.websocket_timeout
            case State.CLOSING:
                drains = math.isfinite(self._linger_until)
                return DRAIN_CLOSING_TIMEOUT if drains else CLOSING_TIMEOUT
            case State.BODY | State.RESPONSE:
                return RESPONSE_TIMEOUT

    def _deadline(self) -> float:
        if self._state in (State.TLS_HANDSHAKE, State.IDLE, State.HEAD):
            return min(self._until, self._linger_until)
        return self._until

    def _set_deadline(self) -> None:
        check, until = self._check, self._deadline()
        if check is None or check.when > until:
            if check is not None:
                self._deadlines.remove(check)
            self._check = self._deadlines.add(until, self)

    def check_deadline(self, now: float) -> None:
        self._check = None
        if self._deadline() <= now:
            self._reading.cancel()
        else:
            self._set_deadline()

    def _update_state(self) -> None:
        """Enters the state the protocol is in; one that goes on keeps its deadline."""
        state = self._protocol.state
        if state is State.WEBSOCKET and self._state is state:
            # Every byte extends it, which a busy WebSocket does not pay for each time.
            timeout = self._config.websocket_timeout
            if self._until - trio.current_time() < 0.8 * timeout:
                self._enter(state)
        elif state is State.BODY or state is not self._state:
            self._enter(state)

    # -- reading

    async def _handshake(self) -> str | None:
        """The application protocol agreed on; None when the TLS handshake fails."""
        if not isinstance(self._stream, trio.SSLStream):
            return "http/1.1"
        stream = cast("trio.SSLStream[trio.SocketStream]", self._stream)  # pyright: ignore[reportUnknownMemberType]
        self._enter(State.TLS_HANDSHAKE)
        with self._reading:
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                self._observer.peer_failed("tls", "handshake failed")
                return None
            self._reading = trio.CancelScope()
            return stream.selected_alpn_protocol() or "http/1.1"
        self._observer.peer_failed("timeout", "tls_handshake")
        return None

    def _make_protocol(self, alpn: str, tasks: RequestTasks) -> HTTP1 | HTTP2:
        # A stream that is no socket (in memory, in a test) has no addresses.
        sock = getattr(self._transport, "socket", None)
        client = sock and sock.getpeername()[:2]
        server = sock and sock.getsockname()[:2]
        state = ConnectionState({})
        if alpn == "h2":
            return HTTP2(
                self._app,
                self._config,
                self._context,
                tasks,
                state,
                client,
                server,
                self._send,
                error_body=self._error_body,
                observer=self._observer,
                write_timeout=lambda: self._write_deadline() - trio.current_time(),
            )
        return HTTP1(
            self._app,
            self._config,
            self._context,
            tasks,
            state,
            client,
            server,
            self._send,
            is_tls=isinstance(self._stream, trio.SSLStream),
            is_draining=lambda: self._lifecycle.draining,
            error_body=self._error_body,
            observer=self._observer,
            write=None if self._socket is None else self._write_directly,
            read=self._read_for_websocket,
        )

    async def _serve(self) -> None:
        with self._reading:
            self._enter(State.IDLE)
            if math.isfinite(self._linger_until):
                self._shorten_grace()
            await self._protocol.initiate()
            await self._read()
        is_overdue = self._reading.cancelled_caught
        while not is_overdue and isinstance(self._protocol, HTTP1) and self._protocol.inline:
            await self._run_request(self._protocol.inline)
            self._protocol.inline = None
            if self._closing or self._has_left:
                break
            with trio.CancelScope() as self._reading:
                unread = self._protocol.take_unread()
                if not unread or await self._handle(unread):
                    await self._read()
            is_overdue = self._reading.cancelled_caught
        if not is_overdue and (websocket := self._protocol.websocket) is not None:
            is_overdue = not await websocket.run(self._tasks)
        if is_overdue and not self._closing:
            await self._end_overdue()
        await self._protocol.handle(Closed())
        if self._closing and not self._is_over:
            await self._discard()
        # Before the requests are waited for, which may go on after their response.
        await self._drop()

    async def _read(self) -> None:
        """Until the end, or until there is an application to run in this task."""
        protocol = self._protocol
        while protocol.inline is None and protocol.websocket is None:
            if not await self._read_once():
                return

    async def _run_request(self, request: RequestStream) -> None:
        """Runs a short request without a task of its own. If it lasts, a task reads meanwhile."""
        self._watch.begin(self)
        try:
            await self._tasks.run(
                self._app, request.scope, request.queue, request.send, request.task
            )
        finally:
            self._watch.end(self)
        if self._watching is not None:
            watching, self._watching = self._watching, None
            watching.reading.cancel()
            await watching.ended.wait()

    def watch(self) -> None:
        self._watching = _Watching()
        self._tasks.spawn(self._watch_peer, self._watching)

    async def _watch_peer(self, watching: _Watching) -> None:
        """Reads until the peer leaves, which cancels the request, until its next request, or until
        the end of the request."""
        protocol = self._protocol
        assert isinstance(protocol, HTTP1)  # noqa: S101 - only its requests are watched
        try:
            is_open = True
            self._set_deadline()
            with watching.reading as self._reading:
                while is_open and not protocol.has_unread:
                    is_open = await self._read_once()
            if watching.reading.cancelled_caught:
                if self._watching is not watching or self._closing:
                    return
                await self._end_overdue()
                is_open = False
            if not is_open:
                self._has_left = True
                await protocol.handle(Closed())
                if not self._closing:
                    await self._drop()
        finally:
            watching.ended.set()

    async def _read_once(self) -> bool:
        """Handles what the peer sends next; False when that is the end."""
        try:
            data = await self._receive()
        except _CLOSED:
            return False
        return await self._handle(data)

    async def _handle(self, data: bytes) -> bool:
        if self._state is State.BODY:
            # The time the application takes does not count against the peer.
            self._enter(State.RESPONSE)
        try:
            await self._protocol.handle(RawData(data))
        except Exception as error:
            self._observer.connection_failed(error)
            await self._reject(500)
            return False
        if not data or self._closing:
            return False
        self._update_state()
        return True

    async def _read_for_websocket(self) -> bool:
        """The same for an application that waits for a message. False at the end, after which the
        application has the disconnect."""
        is_open = False
        if not self._closing:
            # What arrived while the application did not read is read before the deadline counts.
            self._until = max(self._until, trio.current_time() + 1.0)
            self._set_deadline()
            with trio.CancelScope() as self._reading:
                is_open = await self._read_once()
            if self._reading.cancelled_caught and not self._closing:
                await self._end_overdue()
        if not is_open:
            await self._protocol.handle(Closed())
            if not self._closing:
                await self._drop()  # the peer has left, whatever the application does now
        return is_open

    async def _receive(self) -> bytes:
        """What the peer has sent, empty at its end. Raises as a stream does, or OSError."""
        if self._socket is None:
            return bytes(await self._stream.receive_some(MAX_RECEIVE))
        # Fewer frames than the stream's own, for as long as the connection is idle, and no buffer
        # is made before there is something to put into it.
        while True:
            # In a drain the wait may be over at once; a request that has arrived is still served.
            if self._state is State.IDLE and math.isfinite(self._linger_until):
                with suppress(BlockingIOError):
                    return self._socket.recv(MAX_RECEIVE)
            await trio.lowlevel.wait_readable(self._socket)
            with suppress(BlockingIOError):
                return self._socket.recv(MAX_RECEIVE)

    # -- what the protocol wants done

    async def _send(self, event: Event) -> None:
        """Writes, closes, or notes that a request begins or has ended."""
        if isinstance(event, RawData):
            await self._write(event.data)
        elif isinstance(event, Closed):
            await self._close()
            await self._protocol.handle(Closed())
        elif isinstance(event, Updated) and not self._closing:
            if not event.idle:
                state = self._protocol.state
                # HTTP/1.1 sends this before the request has a stream.
                is_new = state in (State.IDLE, State.HEAD)
                self._enter(State.RESPONSE if is_new else state)
            elif self._lifecycle.draining and isinstance(self._protocol, HTTP2):
                await self._protocol.announce_close()
                await self._close()
            else:
                self._update_state()

    def _write_now(self, data: bytes) -> int:
        """Bytes the kernel takes at once; 0 while others are on their way, or TLS is in between.

        Most responses fit the socket's buffer, and this costs a quarter of `send_all`.
        """
        if self._socket is None or self._closing or self._unsent:
            return 0
        try:
            return self._socket.send(data)
        except OSError:
            return 0  # full or broken: `send_all` waits or finds out

    def _write_directly(self, data: bytes) -> int:
        """See WEBSOCKET_DIRECT: what was begun is kept, to be ended by the next `_write`.

        `_write_now` again, without a call: it runs a thousand times for one broadcast.
        """
        if self._unsent or self._closing or self._socket is None:
            return 0
        try:
            sent = self._socket.send(data)
        except OSError:
            return 0
        if 0 < sent < len(data):
            self._unsent.append(memoryview(data)[sent:])
        return sent

    async def _write(self, data: bytes) -> None:
        """Returns when everything up to the end of `data` is out, or nothing can be any more."""
        if self._closing:
            return
        sent = self._write_now(data)
        if sent < len(data):
            # Queued before anything waits, so that later writes come behind it.
            self._unsent.append(memoryview(data)[sent:])
        if self._unsent:
            await self._flush()

    async def _flush(self) -> None:
        if self._writing is None:
            self._writing = trio.Lock()
        async with self._writing:
            # What other tasks add meanwhile, they send themselves.
            for _ in range(len(self._unsent)):
                if self._closing:
                    return
                scope = self._sending = trio.CancelScope(deadline=self._write_deadline())
                try:
                    with scope:
                        await self._stream.send_all(self._unsent[0])
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    await self._give_up()
                    return
                except trio.Cancelled:
                    # Half a write may be out: nothing may follow it.
                    self._closing = self._is_over = True
                    self._reading.cancel()
                    raise
                self._sending = None
                if scope.cancelled_caught:
                    self._observer.peer_failed("timeout", "write")
                    await self._give_up()
                    return
                del self._unsent[0]

    def _write_deadline(self) -> float:
        now = trio.current_time()
        drained = max(self._linger_until, now + MIN_DRAIN_GRACE)
        return min(now + WRITE_TIMEOUT, drained)

    # -- closing

    async def _give_up(self) -> None:
        """Nothing can be written any more."""
        self._closing = self._is_over = True
        self._reading.cancel()
        await self._protocol.handle(Closed())

    async def _end_overdue(self) -> None:
        """The deadline of the state has passed."""
        if isinstance(self._protocol, HTTP2) and self._state is State.IDLE:
            with trio.move_on_after(CLOSING_TIMEOUT):
                await self._protocol.announce_close()
        # In a drain it is not the peer's fault, and all of them are closed at the same time.
        is_drained = self._state is State.HEAD and math.isfinite(self._linger_until)
        if self._state is State.IDLE or is_drained:
            return
        self._observer.peer_failed("timeout", self._state.name.lower())
        await self._reject(408 if self._state in (State.HEAD, State.BODY) else 504)

    async def _reject(self, status: int) -> None:
        """Sends an error response if the peer takes it in time; an error here is ignored, because
        the connection ends anyway."""
        with trio.move_on_after(CLOSING_TIMEOUT), suppress(Exception):
            await self._protocol.reject(status)

    async def _close(self) -> None:
        """Closes our side; the reader discards the rest until the peer closes its own. Closes both
        sides where the peer sends nothing more."""
        if self._closing:
            return
        self._closing = True
        try:
            if self._protocol.is_over:
                self._is_over = True
                await self._drop()
            elif self._socket is not None:
                self._socket.shutdown(socket.SHUT_WR)
            else:
                await self._transport.send_eof()
        except _CLOSED:
            self._is_over = True
        finally:
            self._reading.cancel()

    async def _discard(self) -> None:
        """Takes what the peer still sends, unread (RFC 9112 §9.6)."""
        self._reading = trio.CancelScope()
        self._enter(State.CLOSING)
        left = MAX_DISCARDED
        with self._reading, suppress(*_CLOSED):
            while left > 0 and (data := await self._transport.receive_some(MAX_RECEIVE)):
                left -= len(data)

    async def _drop(self) -> None:
        if self._socket is not None and isinstance(self._stream, trio.SocketStream):
            self._stream.socket.close()  # all there is to it, and nothing waits
            return
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(self._stream)
