"""Removes absent participants from cooking sessions and ends idle sessions.

A participant whose last connection in a room closes has `PARTICIPANT_GRACE` seconds to return, the
host `host_grace` seconds. A session without events ends after `IDLE_TIMEOUT`. At start and once a
minute all active sessions are reconciled with the hub, which finds the sessions of an earlier
process and missed disconnects. A shutdown ends no session: the next process starts new grace
periods.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Final
from uuid import UUID

import trio
from attrs import frozen

from cookcam.features.social.cooking.changes import SessionChanges
from cookcam.features.social.cooking.codes import PREFIX
from cookcam.features.social.cooking.models import (
    EXPIRED,
    HOST_LEFT,
    CookingSession,
    SessionNotActive,
)
from cookcam.features.social.cooking.rooms import Room
from cookcam.lifecycle.state import Lifecycle
from cookcam.realtime.connection import Connection

CHECK_INTERVAL: Final = 1.0
RECONCILE_INTERVAL: Final = 60.0
MAX_RECONCILED_SESSIONS: Final = 10_000
"""The newest sessions are reconciled; older ones wait for their next event."""


@frozen
class SessionTimeouts:
    """`host_grace` is in seconds; 0 ends a session with the host's last connection."""

    changes: SessionChanges
    host_grace: float
    lifecycle: Lifecycle

    async def run(self) -> None:
        """Background task. Its state is in the rooms, so it can be restarted."""
        while True:
            await self.reconcile()
            reconciled_at = trio.current_time()
            while trio.current_time() < reconciled_at + RECONCILE_INTERVAL:
                await trio.sleep(CHECK_INTERVAL)
                await self.check_timeouts()

    async def connection_lost(self, connection: Connection, reason: str) -> None:
        """Marks the user absent in every room where this was the user's last connection."""
        if self.lifecycle.draining:
            return
        for session_id in sorted(connection.rooms):
            if session_id.startswith(PREFIX):
                room = self.changes.rooms.get_or_create(session_id)
                self._mark_absent(room, connection.user_id)
                if self.host_grace == 0:
                    await self._check_room(room)

    async def connection_returned(self, connection: Connection, rooms: Collection[str]) -> None:
        """Puts a recovered connection back into its rooms, without an explicit join.

        Rooms whose session has ended or that the user has left since are skipped.
        """
        for session_id in sorted(rooms):
            if session_id.startswith(PREFIX):
                with suppress(SessionNotActive):
                    await self._restore(connection, session_id)

    async def reconcile(self) -> None:
        """Compares the stored active sessions with the connected users.

        Marks unconnected participants absent. Reloads rooms whose session is no longer active.
        """
        existing = list(self.changes.rooms)
        sessions = await self.changes.store.active(MAX_RECONCILED_SESSIONS)
        for session in sessions:
            room = self.changes.rooms.get_or_create(session.id)
            room.observe(session)
            for user_id in session.participants:
                self._mark_absent(room, user_id)
        if len(sessions) < MAX_RECONCILED_SESSIONS:
            active = {session.id for session in sessions}
            for room in existing:
                if room.id not in active and not room.lock.locked():
                    await self._reload(room)

    async def check_timeouts(self) -> None:
        """Removes participants whose grace period is over, and ends idle sessions."""
        for room in self.changes.rooms:
            if self.lifecycle.draining:
                return
            await self._check_room(room)

    def _mark_absent(self, room: Room, user_id: UUID) -> None:
        if not self.changes.is_present(user_id, room.id):
            room.away.setdefault(user_id, trio.current_time())

    async def _check_room(self, room: Room) -> None:
        for user_id in room.expired_absences(self.host_grace):
            with suppress(SessionNotActive):
                await self._remove_absent_user(room, user_id)
        if room.idle:
            with suppress(SessionNotActive):
                await self._expire(room)

    async def _remove_absent_user(self, room: Room, user_id: UUID) -> None:
        async def attempt(session: CookingSession) -> bool | None:
            if user_id not in room.expired_absences(self.host_grace):
                return False  # the user came back while this waited for the lock
            if self.changes.is_present(user_id, room.id) or user_id not in session.participants:
                del room.away[user_id]
                return False
            if user_id == session.host_id:
                return await self.changes.end(session, HOST_LEFT)
            return await self.changes.remove(session, user_id)

        await self.changes.apply(room.id, attempt)

    async def _restore(self, connection: Connection, session_id: str) -> None:
        async def attempt(session: CookingSession) -> bool:
            if connection.user_id in session.participants:
                self.changes.enter(connection, session)
            return True

        await self.changes.apply(session_id, attempt)

    async def _expire(self, room: Room) -> None:
        async def attempt(session: CookingSession) -> bool | None:
            return await self.changes.end(session, EXPIRED) if room.idle else False

        await self.changes.apply(room.id, attempt)

    async def _reload(self, room: Room) -> None:
        """Reads one session again: it may have started after the active ones were read."""

        async def attempt(session: CookingSession) -> bool:
            return True

        with suppress(SessionNotActive):
            await self.changes.apply(room.id, attempt)
