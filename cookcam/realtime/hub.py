"""The hub: who is connected, who is in which room, and events for all, some or one of them.

One hub for both protocols, so that a Socket.IO client and a plain one share rooms. Presence is a
user's set of connections: a user is here while the last of them is.

No method waits, and none raises for what a client does: a receiver too slow for its outbox is
closed and slows nobody. Events of one room reach all its members in the order of the calls.
Source: `spec/realtime.md` §6.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypeVar
from uuid import UUID

from attrs import define, field

from cookcam.realtime.announcement import Announcement
from cookcam.realtime.closing import CloseCode
from cookcam.realtime.connection import Connection

K = TypeVar("K")


@define(eq=False)
class Hub:
    """`max_per_user`: connections a user may have open; the oldest gives way to one more."""

    max_per_user: int
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
        return _deliver(self.connections_of(user_id), Announcement(event, data, volatile))

    def broadcast(
        self,
        event: str,
        data: object,
        exclude_user: UUID | None = None,
        *,
        volatile: bool = False,
    ) -> int:
        """Sends an event to everybody, or everybody but one user; returns how many took it."""
        receivers = self.connections
        if exclude_user in self._users:
            receivers = [peer for peer in receivers if peer.user_id != exclude_user]
        return _deliver(receivers, Announcement(event, data, volatile))

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
        receivers = [peer for peer in self.members(room) if peer is not skip]
        return _deliver(receivers, Announcement(event, data, volatile))

    def close_user(self, user_id: UUID, code: CloseCode, reason: str) -> int:
        """Ends all connections of a user, for instance of a deleted account; returns how many."""
        connections = self.connections_of(user_id)
        for connection in connections:
            connection.close(code, reason)
        return len(connections)

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
            _discard(self._rooms, room, connection)

    def join(self, connection: Connection, room: str) -> None:
        """Does nothing for a connection that has ended."""
        if connection in self._connections:
            self._rooms.setdefault(room, {})[connection] = None
            connection.rooms.add(room)

    def leave(self, connection: Connection, room: str) -> None:
        if connection in self._connections:
            _discard(self._rooms, room, connection)
            connection.rooms.discard(room)


def _deliver(receivers: Iterable[Connection], announcement: Announcement) -> int:
    return sum(peer.deliver(announcement) for peer in receivers)


def _discard(index: dict[K, dict[Connection, None]], key: K, connection: Connection) -> None:
    """Takes a connection out of an index that keeps no empty entries."""
    entry = index.get(key)
    if entry is not None:
        entry.pop(connection, None)
        if not entry:
            del index[key]
