"""A socket: one client in one namespace, as handlers see it."""

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

from .answers import Answers
from .errors import ConnectionRejected, Disconnected
from .history import RECOVERABLE_REASONS, Absent
from .jobs import Jobs
from .namespace import NO_ACK
from .packets import Packet, PacketOverLimit, PacketType

if TYPE_CHECKING:
    from .connection import Connection
    from .namespace import Namespace

_ACCEPTANCE_DELAY: Final = 0.01
"""Clients of few lines, the protocol's own test suite among them, listen for the first event only
once they have read the acceptance, and lose it when both arrive at once."""

_T = TypeVar("_T")
_Args = TypeVarTuple("_Args")


def new_id() -> str:
    return secrets.token_urlsafe(15)


class State(enum.Enum):
    CONNECTING = "connecting"
    """Its connect handler has not decided yet: what is sent to it waits."""
    CONNECTED = "connected"
    ENDED = "ended"


@define(eq=False)
class Socket:
    """What a handler holds. Only `call` waits."""

    namespace: Namespace
    _connection: Connection = field(alias="connection", repr=False)
    id: str = field(factory=new_id)
    pid: str = field(factory=new_id, repr=False)
    """The private id by which a client recovers its state; sent only when recovery is on."""
    data: dict[str, Any] = field(factory=dict[str, Any], repr=False)
    """The application's own; survives a recovery."""
    _absent: Absent | None = field(default=None, alias="absent", repr=False)
    recoverable: bool = field(default=False, kw_only=True, repr=False)
    """Whether the client was given a private id, and may come back with it."""
    aliases: set[str] = field(factory=set[str], init=False, repr=False)
    """Names besides its id and rooms that say which events of the history were for it, where an
    application sends by `send` and keeps them itself."""
    rooms: set[str] = field(factory=set[str], init=False, repr=False)
    state: State = field(default=State.CONNECTING, init=False)

    _admitted: bool = field(default=False, init=False, repr=False)
    _early: Outbox | None = field(init=False, repr=False)
    _jobs: Jobs = field(init=False, repr=False)
    _answers: Answers = field(factory=Answers, init=False, repr=False)
    _handling: trio.CancelScope | None = field(default=None, init=False, repr=False)
    _background: list[trio.CancelScope] = field(
        factory=list[trio.CancelScope], init=False, repr=False
    )
    _deadline: float = field(default=math.inf, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._jobs = Jobs(self.session)
        self._early = Outbox(self.session.outbox.limit)
        if self.recoverable:
            self.namespace.recoverable[self.pid] = self

    @classmethod
    def returning(cls, namespace: Namespace, connection: Connection, absent: Absent) -> Socket:
        """A socket that comes back: the same ids, data and rooms."""
        socket = cls(
            namespace, connection, absent.sid, absent.pid, absent.data, absent, recoverable=True
        )
        for room in absent.rooms:
            socket.join(room)
        return socket

    # -- for handlers

    @property
    def request(self) -> Request:
        """The HTTP request that opened the session: headers, query, path, client, ASGI scope."""
        return self.session.request

    @property
    def session(self) -> Session:
        """The Engine.IO session below, which may carry sockets of other namespaces, too."""
        return self._connection.session

    @property
    def connected(self) -> bool:
        return self.state is State.CONNECTED

    @property
    def recovered(self) -> bool:
        """Whether this is the return of a socket that was gone for a moment."""
        return self._absent is not None

    @property
    def former_aliases(self) -> frozenset[str]:
        """Those it had before it was gone."""
        return frozenset() if self._absent is None else self._absent.aliases

    def emit(self, event: str, *args: Any, volatile: bool = False) -> bool:
        """Sends an event to this socket. Never waits; False when the socket is gone, or when the
        event was volatile and there was no room. Raises TypeError for what JSON cannot hold."""
        history, namespace = self.namespace.history, self.namespace
        if history is None or volatile or not self.recoverable:
            return self.send(namespace.encode(event, *args, volatile=volatile))
        return self.send(namespace.keep(history, event, args, self.id, ()))

    def send(self, message: Message) -> bool:
        """As `emit`, for what `Namespace.encode` made: one object for any number of sockets."""
        if self._early is not None:
            if not self._early.put(message):
                if not message.volatile:
                    self.session.abort("slow consumer", TRY_AGAIN_LATER)
                return False
            return True
        return self.state is State.CONNECTED and self.session.send_message(message)

    async def call(self, event: str, *args: Any, timeout: float) -> tuple[Any, ...]:
        """Sends an event and waits for the client's acknowledgement: its arguments.

        Raises trio.TooSlowError after `timeout` seconds, and Disconnected.
        """
        if self.state is State.ENDED:
            raise Disconnected
        number = self._answers.ask()
        packet = Packet(PacketType.EVENT, self.namespace.name, [event, *args], number)
        self.send(Message.of(*packet.encode()))
        return await self._answers.wait(number, timeout)

    def join(self, room: str) -> None:
        if self.state is not State.ENDED:
            self.namespace.rooms.join(self, room)

    def leave(self, room: str) -> None:
        self.namespace.rooms.leave(self, room)

    def start_soon(
        self, work: Callable[[*_Args], Awaitable[object]], *args: *_Args, name: str = "background"
    ) -> None:
        """Runs something beside this socket; cancelled when the socket ends. A failure goes to
        the server's `on_error` under `name`."""
        if self.state is not State.ENDED:
            self.session.start_soon(self._accompany, name, partial(work, *args))

    def disconnect(self, *, close: bool = False) -> None:
        """Ends this socket: the client's `disconnect` event says `io server disconnect`, and its
        library does not reconnect by itself. With `close`, ends the session, too."""
        if self.connected:
            self.session.send_message(self.namespace.goodbye)
        self.end("server namespace disconnect")
        if close:
            self.session.close("forced server close")

    # -- for the connection

    def start(self, auth: dict[str, Any]) -> None:
        """Asks the connect handler, and if it agrees lets the client in."""
        self._jobs.add(partial(self._connect, auth))

    def receive_event(self, packet: Packet) -> None:
        if self.state is not State.ENDED:
            self._jobs.add(partial(self._handle, packet))

    def receive_over_limit(self, error: PacketOverLimit) -> None:
        if self.state is not State.ENDED:
            self._jobs.add(partial(self._handle_over_limit, error))

    def receive_answer(self, packet: Packet) -> None:
        if packet.id is not None:
            self._answers.answer(packet.id, packet.data)

    @property
    def backlog(self) -> int:
        return len(self._jobs)

    @property
    def busy(self) -> bool:
        """Whether something it received is being handled."""
        return self._jobs.working

    async def settled(self) -> None:
        """Waits until everything received so far is handled."""
        await self._jobs.settled()

    def end(self, reason: str) -> None:
        """The socket is over, at once for those who send to it. Events it has sent are handled
        to their end, within the server's `linger`; then comes the disconnect handler."""
        if self.state is not State.ENDED:
            self._end(reason)
            self._jobs.add(partial(self._part, reason))

    async def end_with_session(self, reason: str) -> None:
        """As `end`, and the disconnect handler runs here, if nothing else does. Thousands may end
        at the same moment, and each would take a task for it."""
        self._end(reason)
        await self._jobs.end_with(partial(self._part, reason))

    def _end(self, reason: str) -> None:
        was_connected, history = self.connected, self.namespace.history
        self.state = State.ENDED
        self._early = None
        self.namespace.rooms.remove(self)
        if history is not None and self.recoverable:
            del self.namespace.recoverable[self.pid]
            if reason not in RECOVERABLE_REASONS:
                pass
            elif was_connected:
                history.leave(self.id, self.pid, self.rooms, self.data, self.aliases)
            elif self._absent is not None:
                history.restore(self._absent)
        self._answers.give_up()
        self._deadline = trio.current_time() + self._connection.linger
        if self._handling is not None:
            self._handling.deadline = self._deadline
        for scope in self._background:
            scope.cancel()
        self._connection.left()

    async def _connect(self, auth: dict[str, Any]) -> None:
        refusal = ConnectionRejected("Internal error")
        try:
            with trio.fail_after(self._connection.connect_timeout):
                await self._bounded(self.namespace.connect_handler(self, auth))
        except ConnectionRejected as error:
            refusal = error
        except Exception as error:
            self._connection.report(self, "connect", error)
        else:
            self._admitted = self._handling is not None and not self._handling.cancelled_caught
        if self.state is State.ENDED:
            return
        if self._admitted:
            self._accept()
        else:
            self._refuse(refusal)

    def _accept(self) -> None:
        early, self._early = self._early, None
        self.state = State.CONNECTED
        self.namespace.rooms.add(self)
        history, ids = self.namespace.history, {"sid": self.id}
        if self.recoverable:
            ids["pid"] = self.pid
        acceptance = Packet(PacketType.CONNECT, self.namespace.name, ids).encode()
        self.session.send_message(Message.of(*acceptance, pause_after=_ACCEPTANCE_DELAY))
        # What was sent while the connect handler decided may be among what was missed.
        late: dict[Message, None] = {}
        if history is not None and self._absent is not None:
            late = dict.fromkeys(history.missed(self._absent))
        while early is not None and (message := early.take()) is not None:
            late[message] = None
        for message in late:
            self.send(message)

    def _refuse(self, refusal: ConnectionRejected) -> None:
        answer = {"message": refusal.message}
        if refusal.data is not None:
            answer["data"] = refusal.data
        self._send_packet(Packet(PacketType.CONNECT_ERROR, self.namespace.name, answer))
        self.end("refused")

    async def _handle(self, packet: Packet) -> None:
        if not self._admitted:
            return
        event, *args = packet.data
        await self._acknowledge(packet, str(event), self._call_handler(str(event), args))

    async def _handle_over_limit(self, error: PacketOverLimit) -> None:
        handler = self.namespace.over_limit_handler
        if self._admitted and handler is not None:
            await self._acknowledge(error.packet, "over limit", handler(self, error))

    async def _acknowledge(self, packet: Packet, name: str, handling: Awaitable[object]) -> None:
        """Awaits the handling of a packet, and sends its result to a client that asked for it."""
        try:
            result = await self._bounded(handling)
            asked = packet.type is PacketType.EVENT and packet.id is not None
            if asked and result is not NO_ACK and self.connected:
                arguments = list(result) if isinstance(result, tuple) else [result]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
                self._send_packet(Packet(PacketType.ACK, self.namespace.name, arguments, packet.id))
        except Disconnected:
            pass  # the handler was waiting for its client
        except Exception as error:
            self._connection.report(self, name, error)

    async def _call_handler(self, event: str, args: list[Any]) -> object:
        handler = self.namespace.event_handlers.get(event)
        if handler is None:
            return await self.namespace.any_handler(self, event, args)
        return await handler(self, *args)

    async def _part(self, reason: str) -> None:
        if not self._admitted:
            return
        try:
            with trio.move_on_after(self._connection.linger):
                await self.namespace.disconnect_handler(self, reason)
        except Exception as error:
            self._connection.report(self, "disconnect", error)

    async def _accompany(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        if self.state is State.ENDED:
            return
        scope = trio.CancelScope()
        self._background.append(scope)
        try:
            with scope:
                await work()
        except Exception as error:
            self._connection.report(self, name, error)
        finally:
            self._background.remove(scope)

    async def _bounded(self, work: Awaitable[_T]) -> _T | None:
        """Handler's work, which has to stop some time after the socket has ended; None then."""
        with trio.CancelScope(deadline=self._deadline) as self._handling:
            return await work
        return None

    def _send_packet(self, packet: Packet) -> None:
        self.session.send_message(Message.of(*packet.encode()))
