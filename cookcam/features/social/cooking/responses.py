"""Payloads of the events that the server sends about cooking sessions.

`seq` is the room's event counter. A client that sees a gap joins again to get the whole state.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.social.cooking.models import CookingSession, MessageType


class SessionState(Struct, rename="camel"):
    id: str
    host_id: UUID
    recipe_id: UUID | None
    title: str
    participants: list[UUID]
    current_step: int
    total_steps: int
    is_active: bool
    created_at: datetime
    seq: int

    @classmethod
    def of(cls, session: CookingSession) -> SessionState:
        return cls(
            id=session.id,
            host_id=session.host_id,
            recipe_id=session.recipe_id,
            title=session.title,
            participants=list(session.participants),
            current_step=session.current_step,
            total_steps=session.total_steps,
            is_active=session.is_active,
            created_at=session.created_at,
            seq=session.seq,
        )


class SessionCreated(Struct, rename="camel", kw_only=True):
    """`invite_code` is sent once, to the host of a private session; only its hash is stored."""

    session: SessionState
    message: str = "Cooking session created successfully"
    invite_code: str | UnsetType = UNSET
    seq: int


class SessionJoined(Struct, kw_only=True):
    session: SessionState
    message: str = "Joined cooking session successfully"
    seq: int


class UserJoined(Struct, rename="camel"):
    session_id: str
    user_id: UUID
    user_name: str
    participant_count: int
    seq: int


class UserLeft(Struct, rename="camel"):
    session_id: str
    user_id: UUID
    participant_count: int
    seq: int


class StepUpdated(Struct, rename="camel", kw_only=True):
    session_id: str
    current_step: int
    total_steps: int
    step_notes: str | UnsetType = UNSET
    updated_by: str
    seq: int


class MessageSent(Struct, rename="camel"):
    session_id: str
    user_id: UUID
    user_name: str
    message: str
    message_type: MessageType
    timestamp: datetime
    seq: int


class SessionEnded(Struct, rename="camel"):
    session_id: str
    reason: str
    seq: int
