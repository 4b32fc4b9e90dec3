"""A namespace: its handlers, sockets, rooms and replay buffer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, field

from cookcam.realtime.engineio import Message
from cookcam.realtime.replay import ReplayBuffer
from cookcam.realtime.rooms import RoomIndex

from .packets import Packet, PacketOverLimit, PacketType

if TYPE_CHECKING:
    from .socket import Socket

ConnectHandler = Callable[["Socket", dict[str, Any]], Awaitable[None]]
EventHandler = Callable[..., Awaitable[Any]]
AnyHandler = Callable[["Socket", str, list[Any]], Awaitable[Any]]
DisconnectHandler = Callable[["Socket", str], Awaitable[None]]
OverLimitHandler = Callable[["Socket", PacketOverLimit], Awaitable[Any]]

_C = TypeVar("_C", bound=ConnectHandler)
_E = TypeVar("_E", bound=EventHandler)
_A = TypeVar("_A", bound=AnyHandler)
_D = TypeVar("_D", bound=DisconnectHandler)
_O = TypeVar("_O", bound=OverLimitHandler)

Target = str | Iterable[str]
"""One room or several. The id of a socket is a room with that socket as its only member."""

NO_ACK: Final = object()
"""A handler returns this to send no acknowledgement, even if the client requested one."""


async def _accept(socket: Socket, auth: dict[str, Any]) -> None:
    """The default connect handler."""


async def _ignore(socket: Socket, event: str, args: list[Any]) -> object:
    """The default event handler: no acknowledgement, as in the reference server."""
    return NO_ACK


async def _do_nothing(socket: Socket, reason: str) -> None:
    """The default disconnect handler."""


@define(eq=False)
class Namespace:
    """Handlers are set with the decorators below, before the server opens.

    Events of one socket are handled sequentially, in the order of arrival; events of different
    sockets concurrently. The return value of a handler is the acknowledgement: a tuple is several
    arguments (`()` none), NO_ACK sends nothing, any other value is one argument. None is sent as
    null, because the reference client with `retries` and without `ackTimeout` treats a missing or
    non-null first argument as an error.
    """

    name: str
    replay: ReplayBuffer[Socket] | None = field(default=None, repr=False)
    connect_handler: ConnectHandler = field(default=_accept, init=False, repr=False)
    event_handlers: dict[str, EventHandler] = field(
        factory=dict[str, EventHandler], init=False, repr=False
    )
    any_handler: AnyHandler = field(default=_ignore, init=False, repr=False)
    disconnect_handler: DisconnectHandler = field(default=_do_nothing, init=False, repr=False)
    over_limit_handler: OverLimitHandler | None = field(default=None, init=False, repr=False)
    _sockets: dict[str, Socket] = field(factory=dict[str, "Socket"], init=False, repr=False)
    _rooms: RoomIndex[str, Socket] = field(factory=RoomIndex[str, "Socket"], init=False, repr=False)

    def on_connect(self, handler: _C) -> _C:
        """`async def handler(socket, auth)`: called before the client is accepted.

        May raise ConnectionRejected. Events that it emits are delivered after the acceptance.
        """
        self.connect_handler = handler
        return handler

    def on(self, event: str) -> Callable[[_E], _E]:
        """`async def handler(socket, *args)` for one event."""

        def register(handler: _E) -> _E:
            self.event_handlers[event] = handler
            return handler

        return register

    def on_any(self, handler: _A) -> _A:
        """`async def handler(socket, event, args)` for all events without their own handler."""
        self.any_handler = handler
        return handler

    def on_disconnect(self, handler: _D) -> _D:
        """`async def handler(socket, reason)`: called after the last event of an accepted socket.

        The socket has left its rooms and cannot be sent to; `socket.rooms` still names them."""
        self.disconnect_handler = handler
        return handler

    def on_over_limit(self, handler: _O) -> _O:
        """`async def handler(socket, error)`: called for each packet over a limit. Its return value
        is the acknowledgement. Without this handler the session ends with a parse error, as in the
        reference server."""
        self.over_limit_handler = handler
        return handler

    @cached_property
    def goodbye(self) -> Message:
        """The packet that disconnects a client from this namespace (`41`)."""
        return Message.of(*Packet(PacketType.DISCONNECT, self.name).encode())

    @property
    def sockets(self) -> Collection[Socket]:
        """The connected sockets."""
        return tuple(self._sockets.values())

    def members(self, room: str) -> Collection[Socket]:
        """The sockets in a room, in the order in which they joined."""
        if (socket := self._sockets.get(room)) is not None:
            return (socket,)
        return self._rooms.members(room)

    def select(self, to: Target | None, skip: Target) -> Collection[Socket]:
        """The sockets in any room of `to` (None: all sockets) and in no room of `skip`."""
        if to is None:
            selected = self.sockets
        else:
            rooms = rooms_of(to)
            selected = (
                self.members(rooms[0])
                if len(rooms) == 1
                else dict.fromkeys(socket for room in rooms for socket in self.members(room))
            )
        skipped = {socket for room in rooms_of(skip) for socket in self.members(room)}
        return [socket for socket in selected if socket not in skipped] if skipped else selected

    # -- for sockets

    def add(self, socket: Socket) -> None:
        self._sockets[socket.id] = socket

    def remove(self, socket: Socket) -> None:
        """Removes a socket from its rooms. `socket.rooms` is not changed."""
        self._sockets.pop(socket.id, None)
        for room in socket.rooms:
            self._rooms.discard(room, socket)

    def join(self, socket: Socket, room: str) -> None:
        self._rooms.add(room, socket)
        socket.rooms |= {room}

    def leave(self, socket: Socket, room: str) -> None:
        self._rooms.discard(room, socket)
        socket.rooms -= {room}

    # -- events

    def encode(self, event: str, *args: Any, volatile: bool = False) -> Message:
        """Encodes an event for `Socket.send`, to send it to sockets selected in another way.

        Raises TypeError for arguments that are neither JSON nor bytes.
        """
        packet = Packet(PacketType.EVENT, self.name, [event, *args])
        return Message.of(*packet.encode(), volatile=volatile)

    def emit(
        self,
        event: str,
        *args: Any,
        to: Target | None = None,
        skip: Target = (),
        volatile: bool = False,
    ) -> int:
        """Sends an event to the sockets in the rooms `to` (None: to all) except those in the rooms
        `skip`; returns how many accepted it.

        Never blocks. Encodes once, or twice when only some clients can recover. Volatile events are
        dropped first when a client is slow, and are not replayed.
        """
        receivers = self.select(to, skip)
        if self.replay is None or volatile:
            message = self.encode(event, *args, volatile=volatile)
            return sum(socket.send(message) for socket in receivers)
        recorded = self.record(self.replay, event, args, to, skip)
        if not self.replay.options.on_request:
            return sum(socket.send(recorded) for socket in receivers)
        message = self.encode(event, *args)
        return sum(socket.send(recorded if socket.recoverable else message) for socket in receivers)

    def record(
        self,
        replay: ReplayBuffer[Socket],
        event: str,
        args: Sequence[Any],
        to: Target | None,
        skip: Target,
    ) -> Message:
        """Encodes an event with its offset and records it in the replay buffer."""
        message = self.encode(event, *args, replay.next_offset())
        replay.record(message, None if to is None else rooms_of(to), rooms_of(skip))
        return message


def rooms_of(target: Target) -> tuple[str, ...]:
    return (target,) if isinstance(target, str) else tuple(target)
