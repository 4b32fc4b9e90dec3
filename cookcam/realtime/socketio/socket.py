"""A socket: one client in one namespace, as handlers use it."""

from __future__ import annotations

import enum
import math
import secrets
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

import trio
from attrs import define, field

from cookcam.realtime.engineio import Message, Request, Session
from cookcam.realtime.engineio.outbox import Outbox
from cookcam.realtime.engineio.session import TRY_AGAIN_LATER
from cookcam.realtime.replay import RECOVERABLE_REASONS, AbsentSocket

from .namespace import NO_ACK
from .packets import Packet, PacketOverLimit, PacketType
from .work_queue import WorkQueue

if TYPE_CHECKING:
    from .dispatcher import PacketDispatcher
    from .namespace import Namespace

_ACCEPTANCE_DELAY: Final = 0.01
"""Seconds between the acceptance and the first event. Minimal clients, such as the protocol's test
suite, listen for events only after they have read the acceptance."""

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


def new_id() -> str:
    return secrets.token_urlsafe(15)


@define(eq=False, slots=False)
class ConnectionRejected(Exception):
    """Raised by a connect handler: the client gets `connect_error` with this message and data."""

    message: str = "Connection refused"
    data: Any = None


class Disconnected(Exception):
    """The client disconnected before it acknowledged."""


@define(eq=False)
class _PendingAck:
    arrived: trio.Event = field(factory=trio.Event)
    args: tuple[Any, ...] | None = None


@define(eq=False)
class PendingAcks:
    """The acknowledgements that one socket waits for, by id."""

    _pending: dict[int, _PendingAck] = field(factory=dict[int, _PendingAck], init=False)
    _next_id: int = field(default=0, init=False)

    def create(self) -> int:
        """Returns the id of a new acknowledgement; `wait` must follow."""
        ack_id, self._next_id = self._next_id, self._next_id + 1
        self._pending[ack_id] = _PendingAck()
        return ack_id

    async def wait(self, ack_id: int, timeout: float) -> tuple[Any, ...]:
        """The arguments of the acknowledgement. Raises trio.TooSlowError and Disconnected."""
        pending = self._pending[ack_id]
        try:
            with trio.fail_after(timeout):
                await pending.arrived.wait()
        finally:
            del self._pending[ack_id]
        if pending.args is None:
            raise Disconnected
        return pending.args

    def resolve(self, ack_id: int, args: list[Any]) -> None:
        """Records an acknowledgement. Late, repeated and unknown ones are dropped."""
        if (pending := self._pending.get(ack_id)) is not None and pending.args is None:
            pending.args = tuple(args)
            pending.arrived.set()

    def cancel_all(self) -> None:
        """Makes every `wait` raise Disconnected."""
        for pending in self._pending.values():
            pending.arrived.set()


class State(enum.Enum):
    CONNECTING = "connecting"
    """The connect handler has not returned; messages to the socket are queued."""
    CONNECTED = "connected"
    ENDED = "ended"


_CONNECTED: Final = State.CONNECTED  # read for each message, see `engineio.session`


@define(eq=False)
class Socket:
    """What a handler receives. Only `call` blocks."""

    namespace: Namespace
    _dispatcher: PacketDispatcher = field(alias="dispatcher", repr=False)
    session: Session = field(init=False, repr=False)
    """The Engine.IO session, which may also carry sockets of other namespaces."""
    id: str = field(factory=new_id)
    pid: str = field(factory=new_id, repr=False)
    """The private id with which a client recovers its state; sent only when recovery is enabled."""
    data: dict[str, Any] = field(factory=dict[str, Any], repr=False)
    """Data of the application; restored by a recovery."""
    _absent: AbsentSocket | None = field(default=None, alias="absent", repr=False)
    recoverable: bool = field(default=False, kw_only=True, repr=False)
    """Whether the client has a private id with which it can recover."""
    replay_rooms: Callable[[], frozenset[str]] = field(
        default=frozenset[str], init=False, repr=False
    )
    """Returns the rooms besides `rooms` whose recorded events are replayed to this socket, for an
    application that has its own rooms and records events itself."""
    rooms: frozenset[str] = field(default=frozenset(), init=False, repr=False)
    state: State = field(default=State.CONNECTING, init=False)

    _accepted: bool = field(default=False, init=False, repr=False)
    _queued: Outbox | None = field(init=False, repr=False)
    _work: WorkQueue = field(init=False, repr=False)
    _acks: PendingAcks = field(factory=PendingAcks, init=False, repr=False)
    _handling: trio.CancelScope | None = field(default=None, init=False, repr=False)
    _background: list[trio.CancelScope] = field(
        factory=list[trio.CancelScope], init=False, repr=False
    )
    _deadline: float = field(default=math.inf, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.session = self._dispatcher.session
        self._work = WorkQueue(self.session)
        self._queued = Outbox(self.session.outbox.limit)
        if self.recoverable and self.namespace.replay is not None:
            self.namespace.replay.connected[self.pid] = self

    @classmethod
    def recover(
        cls, namespace: Namespace, dispatcher: PacketDispatcher, absent: AbsentSocket
    ) -> Socket:
        """Recreates a disconnected socket with the same ids, data and rooms."""
        socket = cls(
            namespace, dispatcher, absent.sid, absent.pid, absent.data, absent, recoverable=True
        )
        for room in absent.rooms:
            socket.join(room)
        return socket

    # -- for handlers

    @property
    def request(self) -> Request:
        """The HTTP request that opened the session."""
        return self.session.request

    @property
    def connected(self) -> bool:
        return self.state is State.CONNECTED

    @property
    def recovered(self) -> bool:
        """Whether this socket was recovered after a disconnect."""
        return self._absent is not None

    @property
    def former_replay_rooms(self) -> frozenset[str]:
        """The `replay_rooms` before the disconnect from which this socket was recovered."""
        return frozenset() if self._absent is None else self._absent.replay_rooms

    def emit(self, event: str, *args: Any, volatile: bool = False) -> bool:
        """Sends an event to this socket. Never blocks. False when the socket has ended, or when a
        volatile event did not fit. Raises TypeError for arguments that are neither JSON nor bytes.
        """
        replay, namespace = self.namespace.replay, self.namespace
        if replay is None or volatile or not self.recoverable:
            return self.send(namespace.encode(event, *args, volatile=volatile))
        return self.send(namespace.record(replay, event, args, self.id, ()))

    def send(self, message: Message) -> bool:
        """Like `emit`, for an encoded message, which any number of sockets may share."""
        if self.state is _CONNECTED:
            return self.session.send_message(message)
        if self._queued is None:
            return False
        if self._queued.put(message):
            return True
        if not message.volatile:
            self.session.abort("slow consumer", TRY_AGAIN_LATER)
        return False

    async def call(self, event: str, *args: Any, timeout: float) -> tuple[Any, ...]:
        """Sends an event and waits for the client's acknowledgement: its arguments.

        Raises trio.TooSlowError after `timeout` seconds, and Disconnected.
        """
        if self.state is State.ENDED:
            raise Disconnected
        ack_id = self._acks.create()
        packet = Packet(PacketType.EVENT, self.namespace.name, [event, *args], ack_id)
        self.send(Message.of(*packet.encode()))
        return await self._acks.wait(ack_id, timeout)

    def join(self, room: str) -> None:
        if self.state is not State.ENDED:
            self.namespace.join(self, room)

    def leave(self, room: str) -> None:
        self.namespace.leave(self, room)

    def start_soon(
        self, work: Callable[[*_Args], Awaitable[object]], *args: *_Args, name: str = "background"
    ) -> None:
        """Runs a task that is cancelled when the socket ends. Its exception goes to the server's
        `on_error` under `name`."""
        if self.state is not State.ENDED:
            self.session.start_soon(self._run_background, name, partial(work, *args))

    def disconnect(self, *, close: bool = False) -> None:
        """Ends this socket; with `close` also the session. The client gets `io server disconnect`,
        after which its library does not reconnect automatically."""
        if self.connected:
            self.session.send_message(self.namespace.goodbye)
        self.end("server namespace disconnect")
        if close:
            self.session.close("forced server close")

    # -- for the dispatcher

    def start(self, auth: dict[str, Any]) -> None:
        """Runs the connect handler, which accepts or rejects the client."""
        self._work.add(partial(self._connect, auth))

    def receive_event(self, packet: Packet) -> None:
        if self.state is not State.ENDED:
            self._work.add(partial(self._handle, packet))

    def receive_over_limit(self, error: PacketOverLimit) -> None:
        if self.state is not State.ENDED:
            self._work.add(partial(self._handle_over_limit, error))

    def receive_ack(self, packet: Packet) -> None:
        if packet.id is not None:
            self._acks.resolve(packet.id, packet.data)

    @property
    def backlog(self) -> int:
        return len(self._work)

    @property
    def busy(self) -> bool:
        """Whether a received event is being handled."""
        return self._work.working

    async def wait_idle(self) -> None:
        """Waits until all received events are handled."""
        await self._work.wait_idle()

    def end(self, reason: str) -> None:
        """Ends the socket: nothing more is sent to it. Events that it has sent are handled within
        the server's `linger`; then the disconnect handler is called."""
        if self.state is not State.ENDED:
            self._end(reason)
            self._work.add(partial(self._call_disconnect_handler, reason))

    async def end_with_session(self, reason: str) -> None:
        """Like `end`, but runs the disconnect handler in the calling task if the socket is idle:
        thousands of sockets may end at the same moment."""
        self._end(reason)
        await self._work.add_and_run(partial(self._call_disconnect_handler, reason))

    def _end(self, reason: str) -> None:
        was_connected, replay = self.connected, self.namespace.replay
        self.state = State.ENDED
        self._queued = None
        self.namespace.remove(self)
        if replay is not None and self.recoverable:
            del replay.connected[self.pid]
            if reason not in RECOVERABLE_REASONS:
                pass
            elif was_connected:
                replay.disconnected(self.id, self.pid, self.rooms, self.data, self.replay_rooms())
            elif self._absent is not None:
                replay.restore(self._absent)
        self._acks.cancel_all()
        self._deadline = trio.current_time() + self._dispatcher.linger
        if self._handling is not None:
            self._handling.deadline = self._deadline
        for scope in self._background:
            scope.cancel()
        self._dispatcher.socket_ended()

    async def _connect(self, auth: dict[str, Any]) -> None:
        rejected = ConnectionRejected("Internal error")
        try:
            with trio.fail_after(self._dispatcher.connect_timeout):
                await self._with_deadline(self.namespace.connect_handler(self, auth))
        except ConnectionRejected as error:
            rejected = error
        except Exception as error:
            self._dispatcher.report(self, "connect", error)
        else:
            self._accepted = self._handling is not None and not self._handling.cancelled_caught
        if self.state is State.ENDED:
            return
        if self._accepted:
            self._accept()
        else:
            self._reject(rejected)

    def _accept(self) -> None:
        queued, self._queued = self._queued, None
        self.state = State.CONNECTED
        self.namespace.add(self)
        replay, ids = self.namespace.replay, {"sid": self.id}
        if self.recoverable:
            ids["pid"] = self.pid
        acceptance = Packet(PacketType.CONNECT, self.namespace.name, ids).encode()
        self.session.send_message(Message.of(*acceptance, pause_after=_ACCEPTANCE_DELAY))
        # A message sent during the connect handler may be both queued and recorded: send it once.
        messages: dict[Message, None] = {}
        if replay is not None and self._absent is not None:
            messages = dict.fromkeys(replay.missed(self._absent))
        while queued is not None and (message := queued.take()) is not None:
            messages[message] = None
        for message in messages:
            self.send(message)

    def _reject(self, rejected: ConnectionRejected) -> None:
        data = {"message": rejected.message}
        if rejected.data is not None:
            data["data"] = rejected.data
        self._send_packet(Packet(PacketType.CONNECT_ERROR, self.namespace.name, data))
        self.end("refused")

    async def _handle(self, packet: Packet) -> None:
        if not self._accepted:
            return
        event, *args = packet.data
        await self._acknowledge(packet, str(event), self._call_handler(str(event), args))

    async def _handle_over_limit(self, error: PacketOverLimit) -> None:
        handler = self.namespace.over_limit_handler
        if self._accepted and handler is not None:
            await self._acknowledge(error.packet, "over limit", handler(self, error))

    async def _acknowledge(self, packet: Packet, name: str, handling: Awaitable[object]) -> None:
        """Awaits the handling of a packet and acknowledges it, if the client requested that."""
        try:
            result = await self._with_deadline(handling)
            wants_ack = packet.type is PacketType.EVENT and packet.id is not None
            if wants_ack and result is not NO_ACK and self.connected:
                arguments = list(result) if isinstance(result, tuple) else [result]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                self._send_packet(Packet(PacketType.ACK, self.namespace.name, arguments, packet.id))
        except Disconnected:
            pass  # the handler was waiting for its client
        except Exception as error:
            self._dispatcher.report(self, name, error)

    async def _call_handler(self, event: str, args: list[Any]) -> object:
        handler = self.namespace.event_handlers.get(event)
        if handler is None:
            return await self.namespace.any_handler(self, event, args)
        return await handler(self, *args)

    async def _call_disconnect_handler(self, reason: str) -> None:
        if not self._accepted:
            return
        try:
            with trio.move_on_after(self._dispatcher.linger):
                await self.namespace.disconnect_handler(self, reason)
        except Exception as error:
            self._dispatcher.report(self, "disconnect", error)

    async def _run_background(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        if self.state is State.ENDED:
            return
        scope = trio.CancelScope()
        self._background.append(scope)
        try:
            with scope:
                await work()
        except Exception as error:
            self._dispatcher.report(self, name, error)
        finally:
            self._background.remove(scope)

    async def _with_deadline(self, work: Awaitable[_T]) -> _T | None:
        """Awaits `work`; cancelled, with None, `linger` seconds after the socket has ended."""
        with trio.CancelScope(deadline=self._deadline) as self._handling:
            return await work
        return None

    def _send_packet(self, packet: Packet) -> None:
        self.session.send_message(Message.of(*packet.encode()))
