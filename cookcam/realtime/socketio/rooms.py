"""Which sockets of a namespace are in which room. A socket's id names a room of its own."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from .socket import Socket

Target = str | Iterable[str]


def names_of(target: Target) -> tuple[str, ...]:
    """One room, or several, as several."""
    return (target,) if isinstance(target, str) else tuple(target)


@define(eq=False)
class Rooms:
    """An index only: it sends nothing and outlives nobody."""

    _sockets: dict[str, Socket] = field(factory=dict[str, "Socket"], init=False)
    _members: dict[str, dict[Socket, None]] = field(
        factory=dict[str, dict["Socket", None]], init=False
    )

    def __len__(self) -> int:
        return len(self._sockets)

    def add(self, socket: Socket) -> None:
        self._sockets[socket.id] = socket

    def remove(self, socket: Socket) -> None:
        """Takes the socket out of every room; `socket.rooms` stays as it was."""
        self._sockets.pop(socket.id, None)
        for room in socket.rooms:
            self._drop(socket, room)

    def join(self, socket: Socket, room: str) -> None:
        self._members.setdefault(room, {})[socket] = None
        socket.rooms.add(room)

    def leave(self, socket: Socket, room: str) -> None:
        self._drop(socket, room)
        socket.rooms.discard(room)

    def everyone(self) -> Collection[Socket]:
        return tuple(self._sockets.values())

    def members(self, room: str) -> Collection[Socket]:
        """Those in a room, in the order they joined."""
        if (socket := self._sockets.get(room)) is not None:
            return (socket,)
        return tuple(self._members.get(room, ()))

    def select(self, to: Target | None, skip: Target) -> Collection[Socket]:
        """Each socket that is in any room of `to` (None: all), and in no room of `skip`."""
        if to is None:
            chosen = self.everyone()
        else:
            rooms = names_of(to)
            chosen = (
                self.members(rooms[0])
                if len(rooms) == 1
                else dict.fromkeys(socket for room in rooms for socket in self.members(room))
            )
        skipped = {socket for room in names_of(skip) for socket in self.members(room)}
        return [socket for socket in chosen if socket not in skipped] if skipped else chosen

    def _drop(self, socket: Socket, room: str) -> None:
        members = self._members.get(room)
        if members is not None:
            members.pop(socket, None)
            if not members:
                del self._members[room]
