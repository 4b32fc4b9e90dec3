"""A namespace: its handlers, its sockets and their rooms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from attrs import define, field

from cookcam.realtime.engineio import Message

from .history import History
from .packets import Packet, PacketOverLimit, PacketType
from .rooms import Rooms, Target

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

NO_ACK: Final = object()
"""What a handler returns to leave a client that asked for an acknowledgement without one."""


async def _admit(socket: Socket, auth: dict[str, Any]) -> None:
    """The connect handler of a namespace that has none."""


async def _ignore(socket: Socket, event: str, args: list[Any]) -> object:
    """Events without a handler are not acknowledged, as in the reference server."""
    return NO_ACK


async def _part(socket: Socket, reason: str) -> None:
    """The disconnect handler of a namespace that has none."""


@define(eq=False)
class Namespace:
    """Handlers are set with the decorators below, before the server opens.

    Events of one socket are handled one after the other, in the order they came; those of
    different sockets at the same time. What a handler returns answers a client that asked for an
    acknowledgement: a tuple as several arguments (`()` as none), NO_ACK not at all, anything else
    as one. So None is null: the `retries` of the reference client, without its `ackTimeout`, take
    a first argument that is not null for an error, a missing one included.
    """

    name: str
    history: History | None = field(default=None, repr=False)
    connect_handler: ConnectHandler = field(default=_admit, init=False, repr=False)
    event_handlers: dict[str, EventHandler] = field(
        factory=dict[str, EventHandler], init=False, repr=False
    )
    any_handler: AnyHandler = field(default=_ignore, init=False, repr=False)
    disconnect_handler: DisconnectHandler = field(default=_part, init=False, repr=False)
    over_limit_handler: OverLimitHandler | None = field(default=None, init=False, repr=False)
    rooms: Rooms = field(factory=Rooms, init=False, repr=False)
    recoverable: dict[str, Socket] = field(factory=dict[str, "Socket"], init=False, repr=False)
    """The sockets that may come back once they are gone, by their private ids."""

    def on_connect(self, handler: _C) -> _C:
        """`async def handler(socket, auth)`: before the client is told that it is connected.

        May raise ConnectionRefused. What it emits is delivered after the acceptance.
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
        """`async def handler(socket, event, args)` for every event without a handler of its own."""
        self.any_handler = handler
        return handler

    def on_disconnect(self, handler: _D) -> _D:
        """`async def handler(socket, reason)`: after the last event of an accepted socket, which
        has left its rooms by then and can be sent nothing; `socket.rooms` still names them."""
        self.disconnect_handler = handler
        return handler

    def on_over_limit(self, handler: _O) -> _O:
        """`async def handler(socket, error)`: for each packet that was dropped for its size. What
        it returns is the acknowledgement. Without such a handler the session ends with a parse
        error, as in the reference server."""
        self.over_limit_handler = handler
        return handler

    @cached_property
    def goodbye(self) -> Message:
        """What tells a client that it is disconnected from this namespace (`41`)."""
        return Message.of(*Packet(PacketType.DISCONNECT, self.name).encode())

    @property
    def sockets(self) -> Collection[Socket]:
        """Those that are connected."""
        return self.rooms.everyone()

    def members(self, room: str) -> Collection[Socket]:
        return self.rooms.members(room)

    def encode(self, event: str, *args: Any, volatile: bool = False) -> Message:
        """An event as the message `Socket.send` takes, for who picks the receivers otherwise.

        Raises TypeError for what JSON cannot hold (bytes it can).
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
        """Sends an event to the sockets in the rooms `to` (None: to all) that are not in the
        rooms `skip`; socket ids count as rooms. Never waits, encodes once (twice where some
        clients may return and others may not).

        Volatile events are the first to be given up when a client is slow, and are not
        recovered. Returns how many sockets took it.
        """
        receivers = self.rooms.select(to, skip)
        if self.history is None or volatile:
            message = self.encode(event, *args, volatile=volatile)
            return sum(socket.send(message) for socket in receivers)
        kept = self.keep(self.history, event, args, to, skip)
        if not self.history.options.on_request:
            return sum(socket.send(kept) for socket in receivers)
        bare = self.encode(event, *args)
        return sum(socket.send(kept if socket.recoverable else bare) for socket in receivers)

    def keep(
        self, history: History, event: str, args: Sequence[Any], to: Target | None, skip: Target
    ) -> Message:
        """An event with its offset, kept for those who may come back for it."""
        message = self.encode(event, *args, history.next_offset())
        history.keep(message, to, skip)
        return message
