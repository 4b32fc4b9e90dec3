"""Handlers of the cooking events that clients send (docs/cooking.md)."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from msgspec import UNSET, Meta, Struct, UnsetType, field

from cookcam.config.sections import RealtimeConfig
from cookcam.features.literals import visible_line, visible_prose
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.social.cooking.models import MAX_PARTICIPANTS, MessageType
from cookcam.features.social.cooking.responses import SessionCreated, SessionJoined, SessionState
from cookcam.features.social.cooking.service import Cooking
from cookcam.features.social.cooking.timeouts import SessionTimeouts
from cookcam.http import parse_uuid
from cookcam.realtime.connection import Connection
from cookcam.realtime.events import EventResponse, Events
from cookcam.sliding_windows import Quota
from cookcam.text import clean_prose

Id = Annotated[str, Meta(min_length=1, max_length=128)]


class CreateSession(Struct, rename="camel"):
    recipe_id: Id
    title: Annotated[str, Meta(min_length=1, max_length=120)]
    is_public: bool = False
    invited_user_ids: Annotated[list[UUID], Meta(max_length=MAX_PARTICIPANTS - 1)] = field(
        default_factory=list[UUID]
    )

    def __post_init__(self) -> None:
        self.title = visible_line(self.title, "title")


class JoinSession(Struct, rename="camel"):
    session_id: Id
    invite_code: Id | None = None


class LeaveSession(Struct, rename="camel"):
    session_id: Id


class UpdateStep(Struct, rename="camel"):
    session_id: Id
    new_step: Annotated[int, Meta(ge=0)]
    step_notes: Annotated[str, Meta(max_length=1000)] | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.step_notes is not UNSET:
            self.step_notes = clean_prose(self.step_notes)


class SendMessage(Struct, rename="camel"):
    session_id: Id
    message: Annotated[str, Meta(min_length=1, max_length=2000)]
    message_type: MessageType = "text"

    def __post_init__(self) -> None:
        self.message = visible_prose(self.message, "message")


def events(cooking: Cooking, timeouts: SessionTimeouts, settings: RealtimeConfig) -> Events:
    events = Events("cooking")
    _membership(events, cooking)
    _activity(events, cooking, settings)
    events.on_disconnect(timeouts.connection_lost)
    events.on_recovered(timeouts.connection_returned)
    return events


def _membership(events: Events, cooking: Cooking) -> None:
    @events.on("create_cooking_session", CreateSession)
    async def create(caller: Connection, data: CreateSession) -> EventResponse:
        session, invite_code = await cooking.create(
            caller,
            parse_uuid(data.recipe_id, recipe_not_found()),
            data.title,
            is_public=data.is_public,
            invited=data.invited_user_ids,
        )
        created = SessionCreated(
            session=SessionState.of(session),
            invite_code=UNSET if invite_code is None else invite_code,
            seq=session.seq,
        )
        return EventResponse("cooking_session_created", created)

    @events.on("join_cooking_session", JoinSession)
    async def join(caller: Connection, data: JoinSession) -> EventResponse:
        session = await cooking.join(caller, data.session_id, data.invite_code)
        joined = SessionJoined(session=SessionState.of(session), seq=session.seq)
        return EventResponse("cooking_session_joined", joined)

    @events.on("leave_cooking_session", LeaveSession)
    async def leave(caller: Connection, data: LeaveSession) -> None:
        await cooking.leave(caller, data.session_id)


def _activity(events: Events, cooking: Cooking, settings: RealtimeConfig) -> None:
    messages = Quota("messages", settings.messages_per_second, 1.0)

    @events.on("update_cooking_step", UpdateStep)
    async def update_step(caller: Connection, data: UpdateStep) -> None:
        await cooking.update_step(caller, data.session_id, data.new_step, data.step_notes)

    @events.on("cooking_session_message", SendMessage, quota=messages)
    async def send_message(caller: Connection, data: SendMessage) -> None:
        await cooking.send_message(caller, data.session_id, data.message, data.message_type)
