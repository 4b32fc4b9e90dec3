"""The room index: which clients are in which room. Used by the hub and by Socket.IO namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from attrs import define, field

K = TypeVar("K")
M = TypeVar("M")


@define(eq=False)
class RoomIndex(Generic[K, M]):
    """Room → its members, in the order in which they joined. A room without members is removed."""

    _rooms: dict[K, dict[M, None]] = field(factory=dict[K, dict[M, None]], init=False)

    def __len__(self) -> int:
        return len(self._rooms)

    def __iter__(self) -> Iterator[K]:
        return iter(self._rooms)

    def __contains__(self, room: object) -> bool:
        return room in self._rooms

    def add(self, room: K, member: M) -> None:
        self._rooms.setdefault(room, {})[member] = None

    def discard(self, room: K, member: M) -> None:
        members = self._rooms.get(room)
        if members is not None:
            members.pop(member, None)
            if not members:
                del self._rooms[room]

    def members(self, room: K) -> tuple[M, ...]:
        return tuple(self._rooms.get(room, ()))
