"""The rules of cooking sessions: creating, joining, leaving, step updates and messages.

Every method raises SessionNotActive for a session that does not exist, has ended, or is hidden from
the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from uuid import UUID

from attrs import frozen
from msgspec import UNSET, UnsetType

from cookcam.errors import AppError, Conflict, ValidationError
from cookcam.features.recipes.catalogue.service import Recipes
from cookcam.features.social.cooking.changes import SessionChanges
from cookcam.features.social.cooking.codes import (
    hash_invite_code,
    new_invite_code,
    new_session_id,
)
from cookcam.features.social.cooking.models import (
    HOST_LEFT,
    MAX_HOSTED,
    MAX_JOINED,
    MAX_PARTICIPANTS,
    CookingSession,
    Message,
    MessageType,
    NotTheHost,
    SessionNotActive,
)
from cookcam.features.social.cooking.responses import MessageSent, StepUpdated, UserJoined
from cookcam.features.social.moderation.blocks import Blocks
from cookcam.realtime.connection import Connection

NOT_CREATED = "Failed to create cooking session"
NOT_JOINED = "Failed to join cooking session"


@frozen
class Cooking:
    """`open_join`: every user may join any session by its id. `now` returns the current time."""

    changes: SessionChanges
    recipes: Recipes
    blocks: Blocks
    now: Callable[[], datetime]
    open_join: bool = False

    async def create(
        self,
        host: Connection,
        recipe_id: UUID,
        title: str,
        *,
        is_public: bool = False,
        invited: Collection[UUID] = (),
    ) -> tuple[CookingSession, str | None]:
        """Creates a session; returns it with its invite code, None for a public session.

        Raises NotFound for a recipe that the host may not read, and Conflict when the host has
        `MAX_HOSTED` active sessions.
        """
        invite_code = None if is_public else new_invite_code()
        with failures_as(NOT_CREATED):
            if invited:
                hidden = (await self.blocks.hidden_from(host.user_id)).now()
                invited = [user_id for user_id in invited if user_id not in hidden]
            recipe = (await self.recipes.get(host.identity, recipe_id)).recipe
            session = CookingSession(
                id=new_session_id(),
                host_id=host.user_id,
                recipe_id=recipe.id,
                title=title,
                is_public=is_public,
                total_steps=len(recipe.instructions),
                created_at=self.now(),
                participants=[host.user_id],
                admitted=[host.user_id, *invited],
                invite_code_hash=invite_code and hash_invite_code(invite_code),
            )
            try:
                await self.changes.store.create(session, invited, at_most=MAX_HOSTED)
            except Conflict:
                raise over_limit(NOT_CREATED, "active cooking sessions", MAX_HOSTED) from None
        self.changes.rooms.get_or_create(session.id).observe(session)
        self.changes.enter(host, session)
        return session, invite_code

    async def join(
        self, caller: Connection, session_id: str, invite_code: str | None = None
    ) -> CookingSession:
        """Adds the caller to the session; returns its current state.

        Joining again is not announced. Raises Conflict when the session has `MAX_PARTICIPANTS`, or
        the caller takes part in `MAX_JOINED`.
        """
        user_id = caller.user_id

        async def attempt(session: CookingSession) -> CookingSession | None:
            hidden = await self.blocks.hidden_from(user_id)
            if session.host_id in hidden.now():
                raise SessionNotActive()
            if user_id in session.participants:
                self.changes.enter(caller, session)
                return session
            if not self._may_enter(user_id, session, invite_code):
                raise SessionNotActive()
            if len(session.participants) >= MAX_PARTICIPANTS:
                raise over_limit(NOT_JOINED, "participants", MAX_PARTICIPANTS)
            after = session.joined_by(user_id)
            try:
                if not await self.changes.admit(session, after, user_id, at_most=MAX_JOINED):
                    return None
            except Conflict:
                raise over_limit(NOT_JOINED, "joined cooking sessions", MAX_JOINED) from None
            self.changes.enter(caller, after)
            count = len(after.participants)
            joined = UserJoined(session_id, user_id, caller.user_name, count, after.seq)
            self.changes.hub.send_to_room(
                session_id, "user_joined_session", joined, skip=caller, exclude=hidden.now()
            )
            return after

        with failures_as(NOT_JOINED):
            return await self.changes.apply(session_id, attempt)

    async def leave(self, caller: Connection, session_id: str) -> None:
        """Ends the session if the caller is its host.

        Another participant leaves the session with the last connection in the room; before, only
        the connection leaves the room. A caller who is no participant changes nothing.
        """
        user_id = caller.user_id

        async def attempt(session: CookingSession) -> bool | None:
            if user_id == session.host_id:
                return await self.changes.end(session, HOST_LEFT)
            hub = self.changes.hub
            others = [peer for peer in hub.members(session_id) if peer is not caller]
            if (
                user_id not in session.participants
                or any(peer.user_id == user_id for peer in others)
                or hub.is_elsewhere(user_id, session_id)
            ):
                caller.leave(session_id)
                return False
            return await self.changes.remove(session, user_id)

        with suppress(SessionNotActive):
            await self.changes.apply(session_id, attempt)

    async def update_step(
        self,
        caller: Connection,
        session_id: str,
        step: int,
        notes: str | UnsetType = UNSET,
    ) -> None:
        """Raises NotTheHost, ValidationError for a step beyond the last."""

        async def attempt(session: CookingSession) -> bool | None:
            if caller.user_id != session.host_id:
                visible = self._may_enter(caller.user_id, session)
                raise NotTheHost() if visible else SessionNotActive()
            if not 0 <= step <= session.total_steps:
                raise ValidationError.of("newStep", f"must be at most {session.total_steps}")
            after = session.at_step(step)
            if not await self.changes.advance(session, after):
                return None
            updated = StepUpdated(
                session_id=session_id,
                current_step=step,
                total_steps=after.total_steps,
                step_notes=notes,
                updated_by=caller.user_name,
                seq=after.seq,
            )
            self.changes.hub.send_to_room(session_id, "cooking_step_updated", updated)
            return True

        await self.changes.apply(session_id, attempt)

    async def send_message(
        self, caller: Connection, session_id: str, text: str, kind: MessageType
    ) -> None:
        """Stores a participant's message and broadcasts it to the room."""

        # Read before the message is stored: nothing may wait between storing and sending.
        hidden = await self.blocks.hidden_from(caller.user_id)

        async def attempt(session: CookingSession) -> bool | None:
            if caller.user_id not in session.participants:
                raise SessionNotActive()
            after = session.with_message()
            message = Message(caller.user_id, text, kind, self.now())
            if not await self.changes.advance(session, after, message):
                return None
            sent = MessageSent(
                session_id,
                caller.user_id,
                caller.user_name,
                text,
                kind,
                message.sent_at,
                after.seq,
            )
            self.changes.hub.send_to_room(session_id, "cooking_message", sent, exclude=hidden.now())
            return True

        await self.changes.apply(session_id, attempt)

    async def separate(self, one: UUID, other: UUID) -> None:
        """Removes each of two users from the sessions that the other one hosts."""

        async def remove_guest(session: CookingSession) -> bool | None:
            guest = other if session.host_id == one else one
            return guest not in session.participants or await self.changes.remove(session, guest)

        for session in await self.sessions_for_user(one):
            if session.host_id in (one, other) and other in session.participants:
                with suppress(SessionNotActive):
                    await self.changes.apply(session.id, remove_guest)

    async def sessions_for_user(self, user_id: UUID) -> list[CookingSession]:
        """The active sessions that the user takes part in."""
        return await self.changes.store.of_user(user_id, MAX_HOSTED + MAX_JOINED)

    def active_sessions(self) -> int:
        """The number of active sessions that this process has read."""
        return self.changes.rooms.count()

    def _may_enter(
        self, user_id: UUID, session: CookingSession, invite_code: str | None = None
    ) -> bool:
        return self.open_join or session.is_open_to(user_id, invite_code)


def over_limit(message: str, limit: str, maximum: int) -> Conflict:
    """A Conflict whose `details` name the limit that is reached."""
    return Conflict(message, details={"limit": limit, "most": maximum})


@contextmanager
def failures_as(message: str) -> Generator[None]:
    """Replaces the message of server errors (5xx) with the message of the event."""
    try:
        yield
    except AppError as error:
        if error.status < 500:
            raise
        raise type(error)(message) from error.__cause__
