"""What a feature may send to connected clients, as protocols that `Hub` fulfils.

`NullNotifier` is for a process without sockets: it sends nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from cookcam.realtime.connection import Connection


class UserNotifier(Protocol):
    """Sends events to all connections of a user. No method waits or raises."""

    def connections_of(self, user_id: UUID) -> Collection[Connection]:
        """The user's connections to this process, oldest first."""
        ...

    def send_to_user(
        self, user_id: UUID, event: str, data: object, *, volatile: bool = False
    ) -> int:
        """Send an event to all connections of a user; returns how many of this process took it."""
        ...


class RoomNotifier(UserNotifier, Protocol):
    """Also sends events to rooms and to all clients. No method waits or raises."""

    def broadcast(
        self,
        event: str,
        data: object,
        exclude: Collection[UUID] = (),
        *,
        volatile: bool = False,
    ) -> int:
        """Send an event to all users but those of `exclude`."""
        ...

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
        """Send an event to a room, except to one connection and to the users of `exclude`."""
        ...

    def members(self, room: str) -> Collection[Connection]:
        """The connections to this process in a room, in the order they joined."""
        ...

    def is_in_room(self, user_id: UUID, room: str) -> bool:
        """True when a connection of the user, to any instance, is in the room."""
        ...

    def is_elsewhere(self, user_id: UUID, room: str) -> bool:
        """True when another instance has a connection of the user in the room."""
        ...

    def empty_room(self, room: str, user_id: UUID | None = None) -> None:
        """Take all connections, or those of one user, out of a room."""
        ...


class NullNotifier:
    """A `UserNotifier` without clients."""

    def connections_of(self, user_id: UUID) -> Collection[Connection]:
        return ()

    def send_to_user(
        self, user_id: UUID, event: str, data: object, *, volatile: bool = False
    ) -> int:
        return 0
