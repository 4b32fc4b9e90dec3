"""Applies changes to cooking sessions with optimistic locking, and broadcasts them.

A change reads the session, applies the rules and writes with a conditional update on `seq`. If
another instance wrote first, it reads again and retries. Events are broadcast only after the write,
without an await in between, so cancelling the caller cannot separate the two. A lock per room
serialises the changes of a session in this process, so its events leave in the order of `seq`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol, TypeVar
from uuid import UUID

import trio
from attrs import field, frozen

from cookcam.errors import TransactionConflict
from cookcam.features.social.cooking.models import (
    HOST_LEFT,
    CookingSession,
    Message,
    SessionNotActive,
)
from cookcam.features.social.cooking.responses import SessionEnded, UserLeft
from cookcam.features.social.cooking.rooms import Room, Rooms
from cookcam.realtime.connection import Connection
from cookcam.realtime.notifiers import RoomNotifier

T = TypeVar("T")

MAX_ATTEMPTS: Final = 10
"""Attempts at one change before TransactionConflict; each failure means another instance wrote."""


class SessionStore(Protocol):
    """Storage of cooking sessions. `CookingStore` documents the methods."""

    async def create(
        self, session: CookingSession, invited: Collection[UUID], *, at_most: int
    ) -> None: ...

    async def find(self, session_id: str) -> CookingSession | None: ...

    async def active(self, limit: int) -> list[CookingSession]: ...

    async def of_user(self, user_id: UUID, limit: int) -> list[CookingSession]: ...

    async def advance(
        self, before: CookingSession, after: CookingSession, message: Message | None = None
    ) -> bool: ...

    async def admit(
        self, before: CookingSession, after: CookingSession, user_id: UUID, *, at_most: int
    ) -> bool: ...


@frozen
class SessionChanges:
    """Reads, writes and broadcasts cooking sessions. The session's id names its room in the hub."""

    store: SessionStore
    hub: RoomNotifier
    rooms: Rooms = field(factory=Rooms)

    async def apply(
        self, session_id: str, attempt: Callable[[CookingSession], Awaitable[T | None]]
    ) -> T:
        """Calls `attempt` with the current session until it succeeds; returns its result.

        `attempt` returns None when another instance wrote first. Raises SessionNotActive,
        TransactionConflict after `MAX_ATTEMPTS`, and the errors of `attempt` and the store.
        """
        room = self.rooms.get_or_create(session_id)
        async with room.lock:
            for _ in range(MAX_ATTEMPTS):
                session = await self.store.find(session_id)
                if session is None:
                    self._close_vanished(room)
                    raise SessionNotActive()
                room.observe(session)
                outcome = await attempt(session)
                if outcome is not None:
                    return outcome
        raise TransactionConflict()

    async def advance(
        self, before: CookingSession, after: CookingSession, message: Message | None = None
    ) -> bool:
        """Writes a change. Returns False when another instance wrote first."""
        return self._record(after, await self.store.advance(before, after, message))

    async def admit(
        self, before: CookingSession, after: CookingSession, user_id: UUID, *, at_most: int
    ) -> bool:
        """Writes a join, like `advance`. Raises Conflict when the user is in `at_most` sessions."""
        written = await self.store.admit(before, after, user_id, at_most=at_most)
        return self._record(after, written)

    async def remove(self, session: CookingSession, user_id: UUID) -> bool | None:
        """Removes a participant and informs the room. None when another instance wrote first."""
        after = session.left_by(user_id)
        if not await self.advance(session, after):
            return None
        self.hub.empty_room(session.id, user_id)
        self.rooms.get_or_create(session.id).away.pop(user_id, None)
        left = UserLeft(session.id, user_id, len(after.participants), after.seq)
        self.hub.send_to_room(session.id, "user_left_session", left)
        return True

    async def end(self, session: CookingSession, reason: str) -> bool | None:
        """Ends the session and closes its room. None when another instance wrote first."""
        after = session.ended(reason)
        if not await self.advance(session, after):
            return None
        self._close(self.rooms.get_or_create(session.id), reason, after.seq)
        return True

    def enter(self, connection: Connection, session: CookingSession) -> None:
        """Adds the connection to the room. A connection that has closed meanwhile is not added;
        its user is then marked absent."""
        connection.join(session.id)
        away = self.rooms.get_or_create(session.id).away
        if self.is_present(connection.user_id, session.id):
            away.pop(connection.user_id, None)
        else:
            away.setdefault(connection.user_id, trio.current_time())

    def is_present(self, user_id: UUID, session_id: str) -> bool:
        """Whether any of the user's connections, on any instance, is in the room."""
        return self.hub.is_in_room(user_id, session_id)

    def _record(self, after: CookingSession, written: bool) -> bool:
        if written:
            self.rooms.get_or_create(after.id).observe(after)
        return written

    def _close_vanished(self, room: Room) -> None:
        """Closes the room of a session that ended elsewhere, e.g. with its host's account."""
        if self.hub.members(room.id):
            self._close(room, HOST_LEFT, room.seq + 1)
        self.rooms.forget(room)

    def _close(self, room: Room, reason: str, seq: int) -> None:
        ended = SessionEnded(room.id, reason, seq)
        self.hub.send_to_room(room.id, "cooking_session_ended", ended)
        self.hub.empty_room(room.id)
        self.rooms.forget(room)
