"""Changes to cooking sessions: decided on the state as it is, written if it still is, announced.

A change reads the session, asks the rules, and writes by a conditional update on `seq`; when
another instance was faster, it starts again. Only what is written is announced, and once it is
written nothing waits before the announcement: a caller that is cancelled leaves neither undone.
In this process the changes of a session take turns, so that its events leave in the order of `seq`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Final, Protocol, TypeVar
from uuid import UUID

import trio
from attrs import field, frozen

from cookcam.errors import TransactionConflict
from cookcam.features.cooking.answers import SessionEnded, UserLeft
from cookcam.features.cooking.models import HOST_LEFT, CookingSession, Message, SessionNotActive
from cookcam.features.cooking.rooms import Room, Rooms
from cookcam.realtime.connection import Connection
from cookcam.realtime.hub import Hub

T = TypeVar("T")

MOST_ATTEMPTS: Final = 10
"""So many other instances may be faster in a row."""


class SessionStore(Protocol):
    """What is asked of a store; `CookingStore` says what each does."""

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
class Changes:
    """The session's id is the name of its room in the hub."""

    store: SessionStore
    hub: Hub
    rooms: Rooms = field(factory=Rooms)

    async def change(
        self, session_id: str, attempt: Callable[[CookingSession], Awaitable[T | None]]
    ) -> T:
        """Attempts a change until it succeeds; returns what the attempt does.

        `attempt` is given the session as it is, and returns None when it was too late to write.
        Raises SessionNotActive, TransactionConflict, and what the attempt or the store raises.
        """
        room = self.rooms.of(session_id)
        async with room.turn:
            for _ in range(MOST_ATTEMPTS):
                session = await self.store.find(session_id)
                if session is None:
                    self._over(room)
                    raise SessionNotActive()
                room.saw(session)
                outcome = await attempt(session)
                if outcome is not None:
                    return outcome
        raise TransactionConflict()

    async def advance(
        self, before: CookingSession, after: CookingSession, message: Message | None = None
    ) -> bool:
        """Writes a change; False when it was too late."""
        return self._noted(after, await self.store.advance(before, after, message))

    async def admit(
        self, before: CookingSession, after: CookingSession, user_id: UUID, *, at_most: int
    ) -> bool:
        """`advance` for a user who joins. Raises Conflict at the limit of `at_most`."""
        written = await self.store.admit(before, after, user_id, at_most=at_most)
        return self._noted(after, written)

    async def remove(self, session: CookingSession, user_id: UUID) -> bool | None:
        """A participant leaves; the others are told. None when it was too late."""
        after = session.left_by(user_id)
        if not await self.advance(session, after):
            return None
        self.hub.empty_room(session.id, user_id)
        self.rooms.of(session.id).away.pop(user_id, None)
        left = UserLeft(session.id, user_id, len(after.participants), after.seq)
        self.hub.send_to_room(session.id, "user_left_session", left)
        return True

    async def end(self, session: CookingSession, reason: str) -> bool | None:
        """Everybody is told, and the room is closed. None when it was too late."""
        after = session.ended(reason)
        if not await self.advance(session, after):
            return None
        self._close(self.rooms.of(session.id), reason, after.seq)
        return True

    def enter(self, connection: Connection, session: CookingSession) -> None:
        """The connection is in the room, unless it has ended by now."""
        connection.join(session.id)
        away = self.rooms.of(session.id).away
        if self.is_present(connection.user_id, session.id):
            away.pop(connection.user_id, None)
        else:
            away.setdefault(connection.user_id, trio.current_time())

    def is_present(self, user_id: UUID, session_id: str) -> bool:
        """Whether any of the user's connections, on any instance, is in the room."""
        return self.hub.is_in_room(user_id, session_id)

    def _noted(self, after: CookingSession, written: bool) -> bool:
        if written:
            self.rooms.of(after.id).saw(after)
        return written

    def _over(self, room: Room) -> None:
        """The session has ended without this process, for instance with the host's account."""
        if self.hub.members(room.id):
            self._close(room, HOST_LEFT, room.seq + 1)
        self.rooms.forget(room)

    def _close(self, room: Room, reason: str, seq: int) -> None:
        ended = SessionEnded(room.id, reason, seq)
        self.hub.send_to_room(room.id, "cooking_session_ended", ended)
        self.hub.empty_room(room.id)
        self.rooms.forget(room)
