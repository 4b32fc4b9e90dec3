"""State of active cooking sessions that this process holds in memory: absences and last events.

It can be rebuilt from the stored rows. Dropping a room only restarts the grace periods of its
absent participants; the idle time is computed from the last event in the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import trio
from attrs import define, field

from cookcam.features.social.cooking.models import (
    IDLE_TIMEOUT,
    PARTICIPANT_GRACE,
    CookingSession,
)


@define(eq=False)
class Room:
    """Times are of Trio's clock. `seq` is -1 until the session has been read."""

    id: str
    lock: trio.Lock = field(factory=trio.Lock, init=False)
    """Held from reading a session to broadcasting its change: events leave in `seq` order."""
    host_id: UUID | None = field(default=None, init=False)
    seq: int = field(default=-1, init=False)
    idle_since: float = field(factory=trio.current_time, init=False)
    away: dict[UUID, float] = field(factory=dict[UUID, float], init=False)
    """Participants without a connection in the room → start of the absence."""

    def observe(self, session: CookingSession) -> None:
        """Takes over the state of an active session that was just read or written."""
        self.host_id = session.host_id
        if session.seq != self.seq:
            self.seq = session.seq
            # From the event's age, so that a restart does not extend the idle timeout.
            self.idle_since = trio.current_time() - session.idle_for

    def expired_absences(self, host_grace: float) -> list[UUID]:
        """The users whose grace period is over."""
        now = trio.current_time()
        return [
            user_id
            for user_id, since in self.away.items()
            if now >= since + (host_grace if user_id == self.host_id else PARTICIPANT_GRACE)
        ]

    @property
    def idle(self) -> bool:
        return trio.current_time() >= self.idle_since + IDLE_TIMEOUT


@define
class Rooms:
    """Session id → room, for the active sessions that this process has read."""

    _rooms: dict[str, Room] = field(factory=dict[str, Room], init=False)

    def get_or_create(self, session_id: str) -> Room:
        room = self._rooms.get(session_id)
        if room is None:
            room = self._rooms[session_id] = Room(session_id)
        return room

    def forget(self, room: Room) -> None:
        if self._rooms.get(room.id) is room:
            del self._rooms[room.id]

    def count(self) -> int:
        """The number of rooms whose session has been read as active."""
        return sum(room.seq >= 0 for room in self._rooms.values())

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))
