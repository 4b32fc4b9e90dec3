"""A session: one client, whatever transport it is on at the moment.

```
 handler ──send──▶ outbox ──▶ pending poll  or  WebSocket writer ──▶ client
 handler ◀─iterate─ inbox ◀── POST body     or  WebSocket reader ◀── client
```

The handler is one task with one cancel scope, started by the server. Transports come and go
beside it: they read `outbox` and call `receive`. A session ends once, with a reason; what ends it
is always one of `close`, `abort`, `leave` and `lose`.

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
from .inbox import Inbox
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

_INBOX_SIZE: Final = 16
_LAST_WORD_SECONDS: Final = 0.2
"""What a close frame may take to leave when its answer is not waited for."""
_PING: Final = Message.control(PING)
_log = logging.getLogger(__name__)


class State(enum.Enum):
    OPEN = "open"
    CLOSING = "closing"
    """Takes and gives no more messages; the transport still says goodbye."""
    CLOSED = "closed"


@define(eq=False)
class Session:
    """What a handler holds. `async for data in session` yields texts and bytes until it ends."""

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
    """Whether the goodbye reached the client: its close was seen, or its last poll answered."""
    text_only: bool = field(default=False, init=False, repr=False)
    """Whether the client asked for base64 in place of binary frames (`b64=1`)."""
    farewell: str = field(default=CLOSE, init=False, repr=False)
    polled: bool = field(default=False, init=False, repr=False)
    overtaken: bool = field(default=False, init=False, repr=False)
    posted: bool = field(default=False, init=False, repr=False)
    probing: bool = field(default=False, init=False, repr=False)
    upgrading: bool = field(default=False, init=False, repr=False)

    _connection: trio.CancelScope | None = field(default=None, init=False, repr=False)
    _closed: trio.Event | None = field(default=None, init=False, repr=False)
    _inbox: Inbox = field(factory=lambda: Inbox(_INBOX_SIZE), init=False, repr=False)
    _nursery: trio.Nursery | None = field(default=None, init=False, repr=False)
    _deadline: float = field(default=math.inf, init=False, repr=False)

    # -- the handler's side

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self._inbox

    def send(self, data: str | bytes, *, volatile: bool = False) -> bool:
        """Queues a message; never waits. False when the session has ended or the message was
        volatile and there was no room. A full outbox ends the session as `slow consumer`."""
        return self.send_message(Message.of(data, volatile=volatile))

    def send_message(self, message: Message) -> bool:
        """As `send`, for a message that is encoded already and may be shared by many sessions."""
        if self.state is not State.OPEN:
            return False
        if not self.outbox.put(message.as_text if self.text_only else message):
            if not message.volatile:
                self.abort("slow consumer", TRY_AGAIN_LATER)
            return False
        return True

    def close(self, reason: str = "forced close", code: int = NORMAL, *last: Message) -> None:
        """Ends the session in order: what is queued is delivered first, then `last` and the
        goodbye, within the close timeout."""
        if self.state is State.OPEN:
            self.outbox.put_last(last)
        self._end(reason, code)

    def abort(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        """Ends the session now: what is queued is dropped, and the id is unknown from here on."""
        if self.state is not State.CLOSED:
            self.outbox.clear()
            self._end(reason, code)
            self.farewell = CLOSE
            self.finish(clean=False)

    def cut(self, reason: str, code: int = PROTOCOL_ERROR) -> None:
        """As `abort`, and the answer to the goodbye is not waited for."""
        self.abort(reason, code)
        if self._connection is not None:
            self._connection.deadline = trio.current_time() + _LAST_WORD_SECONDS

    @property
    def unheard(self) -> bool:
        """Whether the handler has not been given yet what the client has sent."""
        return len(self._inbox) > 0

    async def heard(self) -> None:
        """Waits until it has."""
        await self._inbox.emptied()

    async def closed(self) -> str:
        """Waits until the session is over, goodbye included; returns the reason."""
        if self.state is not State.CLOSED:
            if self._closed is None:
                self._closed = trio.Event()
            await self._closed.wait()
        return self.reason or ""

    def start_soon(self, work: Callable[[Unpack[_Args]], Awaitable[object]], *args: *_Args) -> None:
        """Runs something beside the handler, which must not raise. Only while the handler runs."""
        if self._nursery is None:
            raise RuntimeError("the handler of this session does not run yet")
        self._nursery.start_soon(work, *args)

    def expire(self, after: float) -> None:
        """Ends the session that many seconds from now, unless told otherwise until then."""
        if self.state is State.OPEN:
            self._stop_handling(after)

    # -- the transports' side

    @property
    def goodbye(self) -> Close:
        """How a WebSocket says why it ended. 1009 says it all, as from the reference server."""
        return Close(self.code, "" if self.code == TOO_BIG else self.reason or "")

    async def receive(self, packet: Packet) -> None:
        """Takes what the client sent; waits while the handler is behind. Raises PacketError for
        packets a client must not send."""
        if packet.type == MESSAGE:
            await self._inbox.put(packet.data)
        elif packet.type == PONG:
            self._heartbeats.pong(self)
        elif packet.type == CLOSE:
            self._leave()
        elif packet.type == PING:
            raise PacketError("in this revision it is the server that pings")

    def attach(self, connection: trio.CancelScope) -> None:
        """Puts a WebSocket connection under the bound of this session's goodbye."""
        self._connection = connection
        if self.state is not State.OPEN:
            self._bound_connection()

    def lose(self, reason: str = "transport close", *, clean: bool = False) -> None:
        """The connection is gone: nothing more can be said. It was a clean end if the goodbye
        had been said before."""
        self.outbox.clear()
        self._end(reason, NORMAL)
        self.finish(clean=clean)

    def unlist(self) -> None:
        """From here on the id is unknown to requests."""
        self._forget(self)

    def finish(self, *, clean: bool) -> None:
        """The goodbye is over."""
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
        """The session's task: the handler, then the rest of the goodbye. Never raises but when
        cancelled."""
        self._heartbeats.start(self)
        await self._handle(handler)
        if self.transport == "polling":  # a WebSocket has its own bound, and ends this with itself
            with trio.move_on_after(self._close_timeout):
                await self.closed()
            self.abort("server shutting down", GOING_AWAY)

    async def _handle(self, handler: Callable[[Session], Awaitable[None]]) -> None:
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.cancel_scope.deadline = self._deadline
                await handler(self)
                self.close()
            self.close("forced server close")  # it has expired
        except Exception:
            _log.exception("the handler of session %s failed", self.id)
            self.close("internal error", INTERNAL_ERROR)

    def _leave(self) -> None:
        """The client said goodbye. A poll of its that is pending, or on its way beside the POST
        that said so, is answered with a noop."""
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
        self._inbox.close()
        self._stop_handling(self._linger)
        self._bound_connection()
        self.outbox.wake()

    def _stop_handling(self, after: float) -> None:
        self._deadline = trio.current_time() + after
        if self._nursery is not None:
            self._nursery.cancel_scope.deadline = self._deadline

    def _bound_connection(self) -> None:
        if self._connection is not None:
            self._connection.deadline = trio.current_time() + self._close_timeout
