"""The rules of cooking sessions: who may create, join, leave, lead and speak.

Every method raises SessionNotActive for a session that is not there, has ended, or is none of the
caller's business. Source: `spec/realtime.md` §3 and §5.2.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager, suppress
from datetime import datetime
from uuid import UUID

from attrs import frozen
from msgspec import UNSET, UnsetType

from cookcam.errors import AppError, Conflict, ValidationError
from cookcam.features.cooking.answers import MessageSent, StepUpdated, UserJoined
from cookcam.features.cooking.changes import Changes
from cookcam.features.cooking.codes import hashed, new_invite_code, new_session_id
from cookcam.features.cooking.models import (
    HOST_LEFT,
    MOST_HOSTED,
    MOST_JOINED,
    MOST_PARTICIPANTS,
    CookingSession,
    Message,
    MessageType,
    NotTheHost,
    SessionNotActive,
)
from cookcam.features.recipes.service import Recipes
from cookcam.realtime.connection import Connection

NOT_CREATED = "Failed to create cooking session"
NOT_JOINED = "Failed to join cooking session"


@frozen
class Cooking:
    """`open_join` lets everybody in who knows an id, as the reference does. `now` is the time."""

    changes: Changes
    recipes: Recipes
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
        """The session, and the invite code of one that is not public.

        Raises NotFound for a recipe that the host may not read, Conflict at the limit.
        """
        invite_code = None if is_public else new_invite_code()
        with failures_as(NOT_CREATED):
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
                invite_code_hash=invite_code and hashed(invite_code),
            )
            try:
                await self.changes.store.create(session, invited, at_most=MOST_HOSTED)
            except Conflict:
                raise over_limit(NOT_CREATED, "active cooking sessions", MOST_HOSTED) from None
        self.changes.rooms.of(session.id).saw(session)
        self.changes.enter(host, session)
        return session, invite_code

    async def join(
        self, caller: Connection, session_id: str, invite_code: str | None = None
    ) -> CookingSession:
        """The session as it is now; whoever takes part already is not announced again.

        Raises Conflict when the room is full, or the caller in too many.
        """
        user_id = caller.user_id

        async def attempt(session: CookingSession) -> CookingSession | None:
            if user_id in session.participants:
                self.changes.enter(caller, session)
                return session
            if not self._may_enter(user_id, session, invite_code):
                raise SessionNotActive()
            if len(session.participants) >= MOST_PARTICIPANTS:
                raise over_limit(NOT_JOINED, "participants", MOST_PARTICIPANTS)
            after = session.joined_by(user_id)
            try:
                if not await self.changes.admit(session, after, user_id, at_most=MOST_JOINED):
                    return None
            except Conflict:
                raise over_limit(NOT_JOINED, "joined cooking sessions", MOST_JOINED) from None
            self.changes.enter(caller, after)
            count = len(after.participants)
            joined = UserJoined(session_id, user_id, caller.user_name, count, after.seq)
            self.changes.hub.send_to_room(session_id, "user_joined_session", joined, skip=caller)
            return after

        with failures_as(NOT_JOINED):
            return await self.changes.change(session_id, attempt)

    async def leave(self, caller: Connection, session_id: str) -> None:
        """A host ends the session. Anybody else leaves with the last connection in the room.
        Nothing happens to a session that the caller does not take part in."""
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
            await self.changes.change(session_id, attempt)

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
                known = self._may_enter(caller.user_id, session)
                raise NotTheHost() if known else SessionNotActive()
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

        await self.changes.change(session_id, attempt)

    async def say(self, caller: Connection, session_id: str, text: str, kind: MessageType) -> None:
        """A participant says something to the room."""

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
            self.changes.hub.send_to_room(session_id, "cooking_message", sent)
            return True

        await self.changes.change(session_id, attempt)

    async def sessions_for_user(self, user_id: UUID) -> list[CookingSession]:
        """The active ones that the user takes part in."""
        return await self.changes.store.of_user(user_id, MOST_HOSTED + MOST_JOINED)

    def active_sessions(self) -> int:
        """How many there are, as far as this process knows."""
        return self.changes.rooms.count()

    def _may_enter(
        self, user_id: UUID, session: CookingSession, invite_code: str | None = None
    ) -> bool:
        return self.open_join or session.is_open_to(user_id, invite_code)


def over_limit(words: str, what: str, at_most: int) -> Conflict:
    """A refusal whose `details` say which limit is reached."""
    return Conflict(words, details={"limit": what, "most": at_most})


@contextmanager
def failures_as(words: str) -> Generator[None]:
    """Words a failure that is not the caller's as the event does."""
    try:
        yield
    except AppError as error:
        if error.status < 500:
            raise
        raise type(error)(words) from error.__cause__
