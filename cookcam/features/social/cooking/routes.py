"""Routes that read cooking sessions back: public ones, the caller's own, and their messages."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from cookcam.features.pages import PageQuery, invalid_cursor, paged
from cookcam.features.social.cooking.models import MessageType
from cookcam.features.social.cooking.store import CookingStore
from cookcam.http import (
    EncodedJson,
    Routes,
    errors_as,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in

MAX_CURSOR_DIGITS = 15
"""More than any `seq` has; keeps the number within PostgreSQL's bigint."""


class MessageQuery(Struct):
    """Query of a session's messages. The cursor is the `seq` of the previous page's last one."""

    cursor: Annotated[
        str,
        Meta(
            description="`next_cursor` of the previous page",
            extra_json_schema={"pattern": rf"^[0-9]{{0,{MAX_CURSOR_DIGITS}}}$"},
        ),
    ] = ""

    def before(self) -> int | None:
        """Raises ValidationError."""
        if not self.cursor:
            return None
        if not (self.cursor.isascii() and self.cursor.isdigit()):
            raise invalid_cursor()
        if len(self.cursor) > MAX_CURSOR_DIGITS:
            raise invalid_cursor()
        return int(self.cursor)


class SessionSummary(Struct, rename="camel"):
    """A cooking session in a list. `participating`: whether the caller is a participant now."""

    id: str
    host_id: UUID
    host_name: str | None
    recipe_id: UUID | None
    title: str
    is_public: bool
    current_step: int
    total_steps: int
    participant_count: int
    participating: bool
    is_active: bool
    created_at: datetime
    ended_at: datetime | None
    end_reason: str | None
    seq: int


class SessionListResponse(Struct):
    """A page of sessions, newest first. `next_cursor` is null on the last page."""

    sessions: list[SessionSummary]
    next_cursor: str | None


class StoredMessage(Struct, rename="camel"):
    """A message, with the fields of `cooking_message`. `user_id` and `user_name` are null when the
    sender's account has been deleted."""

    session_id: str
    user_id: UUID | None
    user_name: str | None
    message: str
    message_type: MessageType
    timestamp: datetime
    seq: int


class MessageListResponse(Struct):
    """A page of messages, newest first. `next_cursor` is null on the last page."""

    messages: list[StoredMessage]
    next_cursor: str | None


def routes(store: CookingStore) -> Routes:
    bp = Routes("cooking", __name__)

    @bp.get("/cooking-sessions")
    @errors_as(unexpected="Failed to fetch cooking sessions")
    @signed_in
    @paged(SessionListResponse)
    async def public_sessions(caller: Identity, limit: int, query_args: PageQuery) -> EncodedJson:
        """The active public cooking sessions, newest first."""
        return EncodedJson(await store.public_page(caller, query_args.key(), limit))

    @bp.get("/cooking-sessions/mine")
    @errors_as(unexpected="Failed to fetch cooking sessions")
    @signed_in
    @paged(SessionListResponse)
    async def own_sessions(caller: Identity, limit: int, query_args: PageQuery) -> EncodedJson:
        """The sessions that the caller hosts, has joined or is invited to, newest first.

        Ended ones are listed until they are deleted, 30 days after their end.
        """
        return EncodedJson(await store.own_page(caller, query_args.key(), limit))

    @bp.get("/cooking-sessions/<session_id>/messages")
    @errors_as(unexpected="Failed to fetch messages")
    @signed_in
    @paged(MessageListResponse, limit=50, query=MessageQuery)
    async def messages(
        caller: Identity, session_id: str, limit: int, query_args: MessageQuery
    ) -> EncodedJson:
        """The messages of a cooking session, newest first.

        Of a private session, participants read all messages and former participants those sent
        before they left.
        """
        page = await store.messages(caller, session_id, query_args.before(), limit)
        return EncodedJson(page)

    return bp
