"""The hub: connections, presence and rooms of this instance, and delivery to one, some or all.

Both protocols use the same hub, so Socket.IO clients and plain clients share rooms. A user is
present while any of the user's connections is open. With a `Relay`, events also reach the
connections of the other instances.

No method blocks or raises because of a client: a client whose outbox is full is closed. Events of
one room reach its members in the order of the calls.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from attrs import define, field

from cookcam.realtime.connection import CloseCode, Connection
from cookcam.realtime.engineio import OnFailure, log_failure
from cookcam.realtime.replay import ReplayBuffer
from cookcam.realtime.rooms import RoomIndex
from cookcam.realtime.server_events import ServerEvent

if TYPE_CHECKING:
    from cookcam.realtime.relay import Relay


class RoomPresence(NamedTuple):
    """A user with at least one connection in a room."""

    room: str
    user_id: UUID


def user_room(user_id: UUID) -> str:
    """The room of a user in the replay buffer. No room of a feature has such a name."""
    return f"user {user_id}"


@define(eq=False)
class Hub:
    """`max_per_user`: open connections of one user; one more closes the oldest.

    Counts and return values are those of this process. `on_failure` receives the errors of single
    connections, which end neither a delivery nor a task.
    """

    max_per_user: int
    on_failure: OnFailure = field(default=log_failure, kw_only=True, repr=False)
    relay: Relay | None = field(default=None, kw_only=True, repr=False)
    replay: ReplayBuffer[Any] | None = field(default=None, kw_only=True, repr=False)
    _users: RoomIndex[UUID, Connection] = field(
        factory=RoomIndex[UUID, Connection], init=False, repr=False
    )
    _rooms: RoomIndex[str, Connection] = field(
        factory=RoomIndex[str, Connection], init=False, repr=False
    )
    _connections: dict[Connection, None] = field(
        factory=dict[Connection, None], init=False, repr=False
    )

    @property
    def connections(self) -> Collection[Connection]:
        """All connections, oldest first."""
        return tuple(self._connections)

    def connected_users(self) -> int:
        """The number of distinct users."""
        return len(self._users)

    def connection_count(self) -> int:
        return len(self._connections)

    def connections_of(self, user_id: UUID) -> Collection[Connection]:
        """A user's connections, oldest first."""
        return self._users.members(user_id)

    def members(self, room: str) -> Collection[Connection]:
        """The connections in a room, in the order in which they joined."""
        return self._rooms.members(room)

    def send_to_user(
        self, user_id: UUID, event: str, data: object, *, volatile: bool = False
    ) -> int:
        """Sends an event to all connections of a user; returns how many accepted it."""
        message = ServerEvent(event, data, volatile)
        if self.relay is not None:
            self.relay.send_to_user(user_id, message)
        return self.deliver_to_user(user_id, message)

    def broadcast(
        self,
        event: str,
        data: object,
        exclude: Collection[UUID] = (),
        *,
        volatile: bool = False,
    ) -> int:
        """Sends an event to all users but those of `exclude`; returns how many connections
        accepted it."""
        message = ServerEvent(event, data, volatile)
        if self.relay is not None:
            self.relay.broadcast(message, exclude)
        return self.deliver_to_all(message, exclude)

    def send_to_room(
        self,
        room: str,
        event: str,
        data: object,
        *,
        skip: Connection | None = None,
        exclude: Collection[UUID] = (),
        volatile: bool = False,
    ) -> int:
        """Sends an event to a room, except to the connection `skip` and to the users of `exclude`;
        returns how many connections accepted it."""
        message = ServerEvent(event, data, volatile)
        if self.relay is not None:
            self.relay.send_to_room(room, message, exclude)
        return self.deliver_to_room(room, message, skip, exclude)

    def is_in_room(self, user_id: UUID, room: str) -> bool:
        """Whether any of the user's connections, on any instance, is in the room."""
        return self._has_local_member(user_id, room) or self.is_elsewhere(user_id, room)

    def is_elsewhere(self, user_id: UUID, room: str) -> bool:
        """Whether the user is in the room on another instance."""
        return self.relay is not None and self.relay.is_elsewhere(user_id, room)

    def empty_room(self, room: str, user_id: UUID | None = None) -> None:
        """Removes all connections, or those of one user, from a room on every instance."""
        if self.relay is not None:
            self.relay.empty_room(room, user_id)
        self.empty_local_room(room, user_id)

    def close_user(self, user_id: UUID, code: CloseCode, reason: str) -> int:
        """Closes a user's connections on every instance; returns how many were on this one."""
        if self.relay is not None:
            self.relay.close_user(user_id, code, reason)
        return self.close_connections_of(user_id, code, reason)

    # -- on this instance only; also called by the relay for the other instances

    @property
    def presences(self) -> Collection[RoomPresence]:
        """The users in each room."""
        return {
            RoomPresence(room, connection.user_id)
            for room in self._rooms
            for connection in self._rooms.members(room)
        }

    def deliver_to_user(self, user_id: UUID, event: ServerEvent) -> int:
        return self._deliver(self.connections_of(user_id), event, [user_room(user_id)])

    def deliver_to_all(self, event: ServerEvent, exclude: Collection[UUID]) -> int:
        receivers = self.connections
        if any(user_id in self._users for user_id in exclude):
            receivers = [peer for peer in receivers if peer.user_id not in exclude]
        return self._deliver(receivers, event, None, [user_room(user_id) for user_id in exclude])

    def deliver_to_room(
        self,
        room: str,
        event: ServerEvent,
        skip: Connection | None = None,
        exclude: Collection[UUID] = (),
    ) -> int:
        receivers = [
            peer for peer in self.members(room) if peer is not skip and peer.user_id not in exclude
        ]
        absent = [user_room(user_id) for user_id in exclude]
        return self._deliver(
            receivers, event, [room], absent if skip is None else [*absent, skip.id]
        )

    def deliver_to_connection(self, connection: Connection, event: ServerEvent) -> bool:
        """Sends an event to one connection, also to one that is not in the hub yet."""
        if not connection.recoverable:
            return connection.deliver(event)
        return self._deliver((connection,), event, [connection.id]) > 0

    def close_connections_of(self, user_id: UUID, code: CloseCode, reason: str) -> int:
        connections = self.connections_of(user_id)
        for connection in connections:
            connection.close(code, reason)
        return len(connections)

    def empty_local_room(self, room: str, user_id: UUID | None) -> None:
        for connection in self.members(room):
            if user_id is None or connection.user_id == user_id:
                self.leave(connection, room)
        if user_id is not None and self.replay is not None:
            # Recovery restores all rooms of a client or none: it must join again.
            self.replay.discard_absent(room, user_room(user_id))

    # -- for connections and gateways

    def add(self, connection: Connection) -> None:
        """Adds a connection, and closes the user's oldest ones over the limit."""
        self._connections[connection] = None
        self._users.add(connection.user_id, connection)
        own = self._users.members(connection.user_id)
        for oldest in own[: max(0, len(own) - self.max_per_user)]:
            oldest.close(CloseCode.REPLACED, "replaced by a newer connection")

    def remove(self, connection: Connection) -> None:
        """Removes a connection from the hub and its rooms. `connection.rooms` is not changed.
        Idempotent."""
        if connection not in self._connections:
            return
        del self._connections[connection]
        self._users.discard(connection.user_id, connection)
        for room in connection.rooms:
            self._discard_member(room, connection)

    def connection_failed(self, connection: Connection, task: str, error: Exception) -> None:
        """Reports a server error that concerns one connection, and closes that connection."""
        self.on_failure(task, error)
        try:
            connection.close(CloseCode.SERVER_FAULT, "internal error")
        except Exception as close_error:
            self.on_failure(task, close_error)

    def join(self, connection: Connection, room: str) -> None:
        """Does nothing for a connection that is not in the hub."""
        if connection not in self._connections:
            return
        if self.relay is not None and not self._has_local_member(connection.user_id, room):
            self.relay.announce(RoomPresence(room, connection.user_id), present=True)
        self._rooms.add(room, connection)
        connection.rooms |= {room}

    def leave(self, connection: Connection, room: str) -> None:
        if connection in self._connections:
            self._discard_member(room, connection)
            connection.rooms -= {room}

    def _deliver(
        self,
        receivers: Collection[Connection],
        event: ServerEvent,
        to: Collection[str] | None,
        skip: Collection[str] = (),
    ) -> int:
        """`to` and `skip` name the same receivers as rooms of the replay buffer."""
        recorded = self._record(event, to, skip)
        if receivers:
            _ = event.body  # data that cannot be encoded is the caller's error, not a connection's
        accepted = 0
        for peer in receivers:
            try:
                accepted += peer.deliver(recorded if recorded and peer.recoverable else event)
            except Exception as error:
                self.connection_failed(peer, "delivery", error)
        return accepted

    def _record(
        self, event: ServerEvent, to: Collection[str] | None, skip: Collection[str]
    ) -> ServerEvent | None:
        """The event with its offset, recorded in the replay buffer. None for a volatile event, and
        while no client can recover."""
        if event.volatile or self.replay is None or not self.replay.needed:
            return None
        recorded = ServerEvent(event.event, event.body, offset=self.replay.next_offset())
        self.replay.record(recorded.socketio, to, skip)
        return recorded

    def _has_local_member(self, user_id: UUID, room: str) -> bool:
        return any(peer.user_id == user_id for peer in self._rooms.members(room))

    def _discard_member(self, room: str, connection: Connection) -> None:
        was_member = self._has_local_member(connection.user_id, room)
        self._rooms.discard(room, connection)
        if self.relay is None or not was_member:
            return
        if not self._has_local_member(connection.user_id, room):
            self.relay.announce(RoomPresence(room, connection.user_id), present=False)
