"""A session: one client, independent of its current transport.

```
 handler ──send──▶ outbox ──▶ pending poll  or  WebSocket writer ──▶ client
 handler ◀─iterate─ queue ◀── POST body     or  WebSocket reader ◀── client
```

The handler is one task with one cancel scope, started by the server. Transports read `outbox` and
call `receive`; an upgrade replaces one by the other. A session ends once, with a reason, by
`close`, `abort`, `lose` or a close packet of the client.

Reasons are those of the reference server (`transport close`, `transport error`, `ping timeout`,
`parse error`, `forced close`, ...) and `slow consumer`.
"""

from __future__ import annotations

import enum
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Literal, TypeVarTuple, Unpack

import trio
from attrs import define, field

from .asgi import Request
from .direct import Close
from .heartbeats import Heartbeats
from .outbox import Message, Outbox
from .packets import CLOSE, MESSAGE, NOOP, PING, PONG, Packet, PacketError

NORMAL: Final = 1000
GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002
TOO_BIG: Final = 1009
INTERNAL_ERROR: Final = 1011
TRY_AGAIN_LATER: Final = 1013

_Args = TypeVarTuple("_Args")

TransportName = Literal["polling", "websocket"]

_RECEIVE_QUEUE_SIZE: Final = 16
_CUT_TIMEOUT: Final = 0.2
"""Seconds to send a close frame whose response is not awaited."""
_PING: Final = Message.control(PING)
_log = logging.getLogger(__name__)


class State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"
    """Neither receives nor sends messages; the transport still sends the goodbye."""
    CLOSED = "closed"


_OPEN: Final = State.OPEN  # read for each message; a global costs less than an enum's member


@define(eq=False)
class ReceiveQueue:
    """The bounded queue between a transport and the handler, which iterates over it.

    `put` waits while the queue is full, so a slow handler slows down only its own client. Iteration
    ends when the queue is closed and empty. A memory channel does the same at four times the size,
    for every idle session.
    """

    limit: int
    _messages: list[str | bytes] = field(factory=list[str | bytes], init=False)
    _closed: bool = field(default=False, init=False)
    _arrived: trio.Event | None = field(default=None, init=False)
    _taken: trio.Event | None = field(default=None, init=False)
    _idle: trio.Event | None = field(default=None, init=False)

    def __len__(self) -> int:
        return len(self._messages)

    async def put(self, message: str | bytes) -> None:
        """Waits for room. A closed queue drops the message."""
        while len(self._messages) >= self.limit and not self._closed:
            if self._taken is None:
                self._taken = trio.Event()
            await self._taken.wait()
        if not self._closed:
            self._messages.append(message)
            self._notify()

    async def emptied(self) -> None:
        """Waits until the handler has taken everything and waits for more, or the queue closes."""
        while not self._closed and (self._messages or self._arrived is None):
            if self._idle is None:
                self._idle = trio.Event()
            await self._idle.wait()

    def close(self) -> None:
        self._closed = True
        self._rest()
        self._notify()
        self._make_room()

    def __aiter__(self) -> ReceiveQueue:
        return self

    async def __anext__(self) -> str | bytes:
        while not self._messages:
            if self._closed:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            self._rest()
            await self._arrived.wait()
        self._make_room()
        return self._messages.pop(0)

    def _notify(self) -> None:
        if self._arrived is not None:
            self._arrived.set()
            self._arrived = None

    def _rest(self) -> None:
        if self._idle is not None:
            self._idle.set()
            self._idle = None

    def _make_room(self) -> None:
        if self._taken is not None:
            self._taken.set()
            self._taken = None


@define(eq=False)
class Session:
    """What a handler receives. `async for data in session` yields texts and bytes until it ends."""

    id: str
    request: Request
    """The request that opened it."""
    transport: TransportName
    outbox: Outbox = field(repr=False)
    _heartbeats: Heartbeats = field(alias="heartbeats", repr=False)
    _close_timeout: float = field(alias="close_timeout", repr=False)
    _linger: float = field(alias="linger", repr=False)
    _forget: Callable[[Session], None] = field(alias="forget", repr=False)

    state: State = field(default=State.OPEN, init=False)
    reason: str | None = field(default=None, init=False)
    """Why it ended; None while it is open."""
    code: int = field(default=NORMAL, init=False)
    """The WebSocket close code that goes with the reason."""
    clean: bool = field(default=False, init=False)
    """Whether the goodbye reached the client: it sent its close, or got its last poll response."""
    text_only: bool = field(default=False, init=False, repr=False)
    """Whether the client requested base64 in place of binary frames (`b64=1`)."""
    farewell: str = field(default=CLOSE, init=False, repr=False)
    polled: bool = field(default=False, init=False, repr=False)
    overtaken: bool = field(default=False, init=False, repr=False)
    posted: bool = field(default=False, init=False, repr=False)
    probing: bool = field(default=False, init=False, repr=False)
    upgrading: bool = field(default=False, init=False, repr=False)

    _connection: trio.CancelScope | None = field(default=None, init=False, repr=False)
    _closed: trio.Event | None = field(default=None, init=False, repr=False)
    _received: ReceiveQueue = field(
        factory=lambda: ReceiveQueue(_RECEIVE_QUEUE_SIZE), init=False, repr=False
    )
    _nursery: trio.Nursery | None = field(default=None, init=False, repr=False)
    _deadline: float = field(default=math.inf, init=False, repr=False)

    # -- the handler's side

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self._received

    def send(self, data: str | bytes, *, volatile: bool = False) -> bool:
        """Queues a message; never waits. False when the session has ended or the message was
        volatile and there was no room. A full outbox ends the session as `slow consumer`."""
        return self.send_message(Message.of(data, volatile=volatile))

    def send_message(self, message: Message) -> bool:
        """Like `send`, for an encoded message, which many sessions may share."""
        if self.state is not _OPEN:
            return False
        if self.outbox.put(message.as_text if self.text_only else message):
            return True
        if not message.volatile:
            self.abort("slow consumer", TRY_AGAIN_LATER)
        return False

    def close(self, reason: str = "forced close", code: int = NORMAL, *last: Message) -> None:
        """Ends the session: delivers the outbox, then `last` and the goodbye, within the close
        timeout."""
        if self.state is State.OPEN:
            self.outbox.put_last(last)
        self._end(reason, code)

    def abort(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        """Ends the session now: drops the outbox and forgets the id."""
        if self.state is not State.CLOSED:
            self.outbox.clear()
            self._end(reason, code)
            self.farewell = CLOSE
            self.finish(clean=False)

    def cut(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        """Like `abort`, without waiting for the response to the goodbye."""
        self.abort(reason, code)
        if self._connection is not None:
            self._connection.deadline = trio.current_time() + _CUT_TIMEOUT

    @property
    def has_unhandled(self) -> bool:
        """Whether the handler has not yet taken everything that the client has sent."""
        return len(self._received) > 0

    async def received_all(self) -> None:
        """Waits until the handler has taken everything that the client has sent."""
        await self._received.emptied()

    async def closed(self) -> str:
        """Waits until the session has ended, including the goodbye; returns the reason."""
        if self.state is not State.CLOSED:
            if self._closed is None:
                self._closed = trio.Event()
            await self._closed.wait()
        return self.reason or ""

    def start_soon(self, work: Callable[[Unpack[_Args]], Awaitable[object]], *args: *_Args) -> None:
        """Runs work beside the handler; it must not raise. Only while the handler runs."""
        if self._nursery is None:
            raise RuntimeError("the handler of this session does not run yet")
        self._nursery.start_soon(work, *args)

    def expire(self, after: float) -> None:
        """Ends the session after that many seconds; a later call replaces the deadline."""
        if self.state is State.OPEN:
            self._stop_handling(after)

    # -- the transports' side

    @property
    def goodbye(self) -> Close:
        """The WebSocket close. 1009 has no reason, as in the reference server."""
        return Close(self.code, "" if self.code == TOO_BIG else self.reason or "")

    async def receive(self, packet: Packet) -> None:
        """Receives a packet of the client; waits while the queue is full. Raises PacketError for
        packets that a client must not send."""
        if packet.type == MESSAGE:
            await self._received.put(packet.data)
        elif packet.type == PONG:
            self._heartbeats.pong(self)
        elif packet.type == CLOSE:
            self._leave()
        elif packet.type == PING:
            raise PacketError("in this revision the server sends the pings")

    def attach(self, connection: trio.CancelScope) -> None:
        """Applies the close timeout of this session to a WebSocket connection."""
        self._connection = connection
        if self.state is not State.OPEN:
            self._limit_connection()

    def lose(self, reason: str = "transport close", *, clean: bool = False) -> None:
        """Ends the session after its connection is lost. `clean`: the goodbye had been sent."""
        self.outbox.clear()
        self._end(reason, NORMAL)
        self.finish(clean=clean)

    def unlist(self) -> None:
        """Makes the id unknown to requests."""
        self._forget(self)

    def finish(self, *, clean: bool) -> None:
        """Ends a closing session after its goodbye."""
        if self.state is State.CLOSING:
            self.state = State.CLOSED
            self.clean = clean
            if self._closed is not None:
                self._closed.set()
            self.unlist()

    # -- the heartbeat's side

    def ping(self) -> None:
        self.outbox.put_control(_PING)

    def ping_timed_out(self) -> None:
        self.abort("ping timeout", NORMAL)

    # -- the server's side

    async def run(self, handler: Callable[[Session], Awaitable[None]]) -> None:
        """The session's task: the handler, then the goodbye of polling. Raises only Cancelled."""
        self._heartbeats.start(self)
        await self._handle(handler)
        if self.transport == "polling":  # a WebSocket connection has its own timeout
            with trio.move_on_after(self._close_timeout):
                await self.closed()
            self.abort("server shutting down", GOING_AWAY)

    async def _handle(self, handler: Callable[[Session], Awaitable[None]]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.cancel_scope.deadline = self._deadline
                await handler(self)
                self.close()
            self.close("forced server close")  # the deadline of `expire` has passed
        except Exception:
            _log.exception("the handler of session %s failed", self.id)
            self.close("internal error", INTERNAL_ERROR)

    def _leave(self) -> None:
        """Ends the session after a close packet of the client. A pending poll gets a noop."""
        if self.state is State.OPEN:
            self.outbox.clear()
            self._end("transport close", NORMAL)
            self.farewell = NOOP
        else:
            self.finish(clean=True)

    def _end(self, reason: str, code: int) -> None:
        if self.state is not State.OPEN:
            return
        self.state, self.reason, self.code = State.CLOSING, reason, code
        self._heartbeats.stop(self)
        self._received.close()
        self._stop_handling(self._linger)
        self._limit_connection()
        self.outbox.wake()

    def _stop_handling(self, after: float) -> None:
        self._deadline = trio.current_time() + after
        if self._nursery is not None:
            self._nursery.cancel_scope.deadline = self._deadline

    def _limit_connection(self) -> None:
        if self._connection is not None:
            self._connection.deadline = trio.current_time() + self._close_timeout
