"""The hub: who is connected, who is in which room, and events for all, some or one of them.

One hub for both protocols, so that a Socket.IO client and a plain one share rooms. Presence is a
user's set of connections: a user is here while the last of them is. Connections are those of this
process; through an `ClientWriter` what is sent also reaches those of the other instances.

No method waits, and none raises for what a client does: a receiver too slow for its outbox is
closed and slows nobody. Events of one room reach all its members in the order of the calls.
Source: `spec/realtime.md` §6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from attrs import define, field

from cookcam.realtime.announcement import Announcement
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection

K = TypeVar("K")


class Present(NamedTuple):
    """A user in a room, with any number of connections."""

    room: str
    user_id: UUID


def user_name(user_id: UUID) -> str:
    """What a user is called in a `Memory`. No room has such a name."""
    return f"user {user_id}"


class ClientWriter(Protocol):
    """The other instances: `cookcam.realtime.relay`. No method waits or raises."""

    def is_elsewhere(self, user_id: UUID, room: str) -> bool: ...

    def user(self, user_id: UUID, announcement: Announcement) -> None: ...

    def everybody(self, announcement: Announcement, exclude_user: UUID | None) -> None: ...

    def room(self, room: str, announcement: Announcement) -> None: ...

    def close_user(self, user_id: UUID, code: CloseCode, reason: str) -> None: ...

    def empty_room(self, room: str, user_id: UUID | None) -> None: ...

    def present(self, present: Present, *, now: bool) -> None: ...


class Memory(Protocol):
    """For those who may come back: `cookcam.realtime.recovery`. No method waits or raises."""

    def keep(
        self, announcement: Announcement, to: str | None, *skip: str
    ) -> Announcement | None: ...

    def left(self, room: str, user_id: UUID) -> None: ...


@define(eq=False)
class Hub:
    """`max_per_user`: connections a user may have open; the oldest gives way to one more.

    Counts and what methods return are those of this process.
    """

    max_per_user: int
    outlet: ClientWriter | None = field(default=None, kw_only=True, repr=False)
    memory: Memory | None = field(default=None, kw_only=True, repr=False)
    _users: dict[UUID, dict[Connection, None]] = field(
        factory=dict[UUID, dict[Connection, None]], init=False, repr=False
    )
    _rooms: dict[str, dict[Connection, None]] = field(
        factory=dict[str, dict[Connection, None]], init=False, repr=False
    )
    _connections: dict[Connection, None] = field(
        factory=dict[Connection, None], init=False, repr=False
    )

    @property
    def connections(self) -> Collection[Connection]:
        """All of them, oldest first."""
        return tuple(self._connections)

    def connected_users(self) -> int:
        """Distinct users."""
        return len(self._users)

    def connection_count(self) -> int:
        return len(self._connections)

    def connections_of(self, user_id: UUID) -> Collection[Connection]:
        """Oldest first; empty for a user who is not here."""
        return tuple(self._users.get(user_id, ()))

    def members(self, room: str) -> Collection[Connection]:
        """Those in a room, in the order they joined."""
        return tuple(self._rooms.get(room, ()))

    def send_to_user(
        self, user_id: UUID, event: str, data: object, *, volatile: bool = False
    ) -> int:
        """Sends an event to all connections of a user; returns how many took it."""
        announcement = Announcement(event, data, volatile)
        if self.outlet is not None:
            self.outlet.user(user_id, announcement)
        return self.deliver_to_user(user_id, announcement)

    def broadcast(
        self,
        event: str,
        data: object,
        exclude_user: UUID | None = None,
        *,
        volatile: bool = False,
    ) -> int:
        """Sends an event to everybody, or everybody but one user; returns how many took it."""
        announcement = Announcement(event, data, volatile)
        if self.outlet is not None:
            self.outlet.everybody(announcement, exclude_user)
        return self.deliver_to_everybody(announcement, exclude_user)

    def send_to_room(
        self,
        room: str,
        event: str,
        data: object,
        *,
        skip: Connection | None = None,
        volatile: bool = False,
    ) -> int:
        """Sends an event to a room, or all of it but the sender; returns how many took it."""
        announcement = Announcement(event, data, volatile)
        if self.outlet is not None:
            self.outlet.room(room, announcement)
        return self.deliver_to_room(room, announcement, skip)

    def is_in_room(self, user_id: UUID, room: str) -> bool:
        """Whether any of the user's connections, here or elsewhere, is in the room."""
        return self._is_here(user_id, room) or self.is_elsewhere(user_id, room)

    def is_elsewhere(self, user_id: UUID, room: str) -> bool:
        """Whether another instance has the user in the room."""
        return self.outlet is not None and self.outlet.is_elsewhere(user_id, room)

    def empty_room(self, room: str, user_id: UUID | None = None) -> None:
        """Takes everybody, or all connections of one user, out of a room."""
        if self.outlet is not None:
            self.outlet.empty_room(room, user_id)
        self.empty(room, user_id)

    def close_user(self, user_id: UUID, code: CloseCode, reason: str) -> int:
        """Ends all connections of a user, for instance of a deleted account; returns how many."""
        if self.outlet is not None:
            self.outlet.close_user(user_id, code, reason)
        return self.close_connections_of(user_id, code, reason)

    # -- the same for this process only, as the other instances ask for it

    @property
    def present(self) -> Collection[Present]:
        """Everybody in every room."""
        return {
            Present(room, peer.user_id) for room, peers in self._rooms.items() for peer in peers
        }

    def deliver_to_user(self, user_id: UUID, announcement: Announcement) -> int:
        receivers = self.connections_of(user_id)
        return self._deliver(receivers, announcement, user_name(user_id))

    def deliver_to_everybody(self, announcement: Announcement, exclude_user: UUID | None) -> int:
        receivers = self.connections
        if exclude_user in self._users:
            receivers = [peer for peer in receivers if peer.user_id != exclude_user]
        skip = () if exclude_user is None else (user_name(exclude_user),)
        return self._deliver(receivers, announcement, None, *skip)

    def deliver_to_room(
        self, room: str, announcement: Announcement, skip: Connection | None = None
    ) -> int:
        receivers = [peer for peer in self.members(room) if peer is not skip]
        return self._deliver(receivers, announcement, room, *([] if skip is None else [skip.id]))

    def close_connections_of(self, user_id: UUID, code: CloseCode, reason: str) -> int:
        connections = self.connections_of(user_id)
        for connection in connections:
            connection.close(code, reason)
        return len(connections)

    def empty(self, room: str, user_id: UUID | None) -> None:
        for connection in self.members(room):
            if user_id is None or connection.user_id == user_id:
                self.leave(connection, room)
        if user_id is not None and self.memory is not None:
            self.memory.left(room, user_id)

    # -- for connections and gateways

    def add(self, connection: Connection) -> None:
        """From now on the connection counts; what the user has over the limit is closed."""
        self._connections[connection] = None
        mine = self._users.setdefault(connection.user_id, {})
        mine[connection] = None
        for oldest in tuple(mine)[: max(0, len(mine) - self.max_per_user)]:
            oldest.close(CloseCode.REPLACED, "replaced by a newer connection")

    def remove(self, connection: Connection) -> None:
        """Takes the connection out of everything; its `rooms` stay as they were. A second call
        does nothing."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        _discard(self._users, connection.user_id, connection)
        for room in connection.rooms:
            self._discard_from(room, connection)

    def join(self, connection: Connection, room: str) -> None:
        """Does nothing for a connection that has ended."""
        if connection not in self._connections:
            return
        if self.outlet is not None and not self._is_here(connection.user_id, room):
            self.outlet.present(Present(room, connection.user_id), now=True)
        self._rooms.setdefault(room, {})[connection] = None
        connection.rooms.add(room)

    def leave(self, connection: Connection, room: str) -> None:
        if connection in self._connections:
            self._discard_from(room, connection)
            connection.rooms.discard(room)

    def _deliver(
        self,
        receivers: Collection[Connection],
        announcement: Announcement,
        to: str | None,
        *skip: str,
    ) -> int:
        """`to` and `skip` say the same as `receivers`, for those who are away."""
        kept = None if self.memory is None else self.memory.keep(announcement, to, *skip)
        if kept is None:
            return _deliver(receivers, announcement)
        return sum(peer.deliver(kept if peer.recoverable else announcement) for peer in receivers)

    def _is_here(self, user_id: UUID, room: str) -> bool:
        return any(peer.user_id == user_id for peer in self._rooms.get(room, ()))

    def _discard_from(self, room: str, connection: Connection) -> None:
        was_here = self._is_here(connection.user_id, room)
        _discard(self._rooms, room, connection)
        if self.outlet is not None and was_here and not self._is_here(connection.user_id, room):
            self.outlet.present(Present(room, connection.user_id), now=False)


def _deliver(receivers: Iterable[Connection], announcement: Announcement) -> int:
    return sum(peer.deliver(announcement) for peer in receivers)


def _discard(index: dict[K, dict[Connection, None]], key: K, connection: Connection) -> None:
    """Takes a connection out of an index that keeps no empty entries."""
    entry = index.get(key)
    if entry is not None:
        entry.pop(connection, None)
        if not entry:
            del index[key]
