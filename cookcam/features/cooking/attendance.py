"""Who is away, and for how long: what becomes of a session without anybody doing anything.

Whoever loses the last connection in a room has a grace to come back, a host a longer one; a
session without events ends. A survey of all active sessions at start and once a minute finds those
of an earlier process, and whatever slipped through. Nothing ends by a shutdown: who was there is
given a new grace by the next process. Source: `spec/realtime.md` §5.2 and §7.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Final
from uuid import UUID

import trio
from attrs import frozen

from cookcam.features.cooking.changes import Changes
from cookcam.features.cooking.codes import PREFIX
from cookcam.features.cooking.models import EXPIRED, HOST_LEFT, CookingSession, SessionNotActive
from cookcam.features.cooking.rooms import Room
from cookcam.lifecycle.state import Lifecycle
from cookcam.realtime.connection import Connection

LOOK_AROUND: Final = 1.0
SURVEY: Final = 60.0
"""Seconds between two."""
MOST_SURVEYED: Final = 10_000
"""Sessions, the newest."""


@frozen
class Attendance:
    """`host_grace` is in seconds; 0 ends a session with the host's last connection."""

    changes: Changes
    host_grace: float
    lifecycle: Lifecycle

    async def run(self) -> None:
        """Background task. What it knows is kept in the rooms, so it may be started again."""
        while True:
            await self.survey()
            surveyed = trio.current_time()
            while trio.current_time() < surveyed + SURVEY:
                await trio.sleep(LOOK_AROUND)
                await self.look_around()

    async def connection_lost(self, connection: Connection, reason: str) -> None:
        """A connection has ended: its user is away from the rooms where it was the last one."""
        if self.lifecycle.draining:
            return
        for session_id in sorted(connection.rooms):
            if session_id.startswith(PREFIX):
                room = self.changes.rooms.of(session_id)
                self._miss(room, connection.user_id)
                if self.host_grace == 0:
                    await self._look_at(room)

    async def connection_returned(self, connection: Connection, rooms: Collection[str]) -> None:
        """A connection that was gone for a moment is back: it is in those of its rooms again in
        which its user still takes part. Joining would say the same, and is not needed."""
        for session_id in sorted(rooms):
            if session_id.startswith(PREFIX):
                with suppress(SessionNotActive):
                    await self._take_back(connection, session_id)

    async def survey(self) -> None:
        """Compares all active sessions with who is here."""
        known = list(self.changes.rooms)
        sessions = await self.changes.store.active(MOST_SURVEYED)
        for session in sessions:
            room = self.changes.rooms.of(session.id)
            room.saw(session)
            for user_id in session.participants:
                self._miss(room, user_id)
        if len(sessions) < MOST_SURVEYED:
            active = {session.id for session in sessions}
            for room in known:
                if room.id not in active and not room.turn.locked():
                    await self._confirm(room)

    async def look_around(self) -> None:
        """Acts on every absence that is over its grace, and on every idle session."""
        for room in self.changes.rooms:
            if self.lifecycle.draining:
                return
            await self._look_at(room)

    def _miss(self, room: Room, user_id: UUID) -> None:
        if not self.changes.is_present(user_id, room.id):
            room.away.setdefault(user_id, trio.current_time())

    async def _look_at(self, room: Room) -> None:
        for user_id in room.gone_too_long(self.host_grace):
            with suppress(SessionNotActive):
                await self._give_up(room, user_id)
        if room.idle:
            with suppress(SessionNotActive):
                await self._expire(room)

    async def _give_up(self, room: Room, user_id: UUID) -> None:
        async def attempt(session: CookingSession) -> bool | None:
            if user_id not in room.gone_too_long(self.host_grace):
                return False  # the user came back while this waited for its turn
            if self.changes.is_present(user_id, room.id) or user_id not in session.participants:
                del room.away[user_id]
                return False
            if user_id == session.host_id:
                return await self.changes.end(session, HOST_LEFT)
            return await self.changes.remove(session, user_id)

        await self.changes.change(room.id, attempt)

    async def _take_back(self, connection: Connection, session_id: str) -> None:
        async def attempt(session: CookingSession) -> bool:
            if connection.user_id in session.participants:
                self.changes.enter(connection, session)
            return True

        await self.changes.change(session_id, attempt)

    async def _expire(self, room: Room) -> None:
        async def attempt(session: CookingSession) -> bool | None:
            return await self.changes.end(session, EXPIRED) if room.idle else False

        await self.changes.change(room.id, attempt)

    async def _confirm(self, room: Room) -> None:
        """Asks for a session that the survey did not show; it may have begun meanwhile."""

        async def attempt(session: CookingSession) -> bool:
            return True

        with suppress(SessionNotActive):
            await self.changes.change(room.id, attempt)
