"""What this process knows of active cooking sessions besides their rows: who is away since when.

All of it can be found again: forgetting a room costs its absences a new grace, and nothing else.
How long a session is quiet is counted from its last event, which its row knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import trio
from attrs import define, field

from cookcam.features.cooking.models import IDLE_AFTER, PARTICIPANT_GRACE, CookingSession


@define(eq=False)
class Room:
    """Moments are those of Trio's clock. `seq` is -1 until the session was seen."""

    id: str
    turn: trio.Lock = field(factory=trio.Lock, init=False)
    """Held from reading a session to announcing its change: events leave in the order of `seq`."""
    host_id: UUID | None = field(default=None, init=False)
    seq: int = field(default=-1, init=False)
    quiet_since: float = field(factory=trio.current_time, init=False)
    away: dict[UUID, float] = field(factory=dict[UUID, float], init=False)
    """Participants without a connection in the room, and since when."""

    def saw(self, session: CookingSession) -> None:
        """The session is active and was like this a moment ago."""
        self.host_id = session.host_id
        if session.seq != self.seq:
            self.seq = session.seq
            # By the age of the event, not by when it was seen: a restart begins no new wait.
            self.quiet_since = trio.current_time() - session.quiet_for

    def gone_too_long(self, host_grace: float) -> list[UUID]:
        """Whose grace is over."""
        now = trio.current_time()
        return [
            user_id
            for user_id, since in self.away.items()
            if now >= since + (host_grace if user_id == self.host_id else PARTICIPANT_GRACE)
        ]

    @property
    def idle(self) -> bool:
        return trio.current_time() >= self.quiet_since + IDLE_AFTER


@define
class Rooms:
    """One room for each active session that this process has to do with."""

    _rooms: dict[str, Room] = field(factory=dict[str, Room], init=False)

    def of(self, session_id: str) -> Room:
        room = self._rooms.get(session_id)
        if room is None:
            room = self._rooms[session_id] = Room(session_id)
        return room

    def forget(self, room: Room) -> None:
        if self._rooms.get(room.id) is room:
            del self._rooms[room.id]

    def count(self) -> int:
        """Those whose session was seen active."""
        return sum(room.seq >= 0 for room in self._rooms.values())

    def __iter__(self) -> Iterator[Room]:
        return iter(tuple(self._rooms.values()))
