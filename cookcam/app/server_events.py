"""The events that the server sends, and the types of their payloads: docs/events.md, AsyncAPI."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from attrs import frozen
from msgspec import UNSET, Meta, Struct, UnsetType

from cookcam.features.billing.ledger.ledger import SubscriptionUpdated
from cookcam.features.messaging.notifications.sender import UserNotification
from cookcam.features.operations.console.models import ConsoleUpdate
from cookcam.features.social.cooking import responses as cooking
from cookcam.features.social.feed import models as feed
from cookcam.features.social.presence.models import UserStatus


class Connected(Struct, rename="camel"):
    message: str
    user_id: UUID
    timestamp: datetime


class BrokenRule(Struct):
    field: str
    rule: str


class Error(Struct, rename="camel"):
    message: str
    code: str
    event: str | UnsetType = UNSET
    field: str | UnsetType = UNSET
    fields: list[BrokenRule] | UnsetType = UNSET
    retry_after: int | UnsetType = UNSET


class Authenticated(Struct, rename="camel"):
    expires_at: datetime | None


class TokenExpiring(Struct, rename="camel"):
    expires_at: datetime
    closes_at: datetime


class ServerShutdown(Struct, rename="camel"):
    message: str
    timestamp: datetime
    reconnect_after_ms: Annotated[int, Meta(ge=1000, le=10_000)]


class GenerationProgress(Struct, rename="camel"):
    request_id: str
    operation: str
    stage: str
    characters: int
    items: int


@frozen
class SentEvent:
    """An event that the server sends: its payload and its receivers."""

    payload: type[Struct]
    receivers: str


SERVER_EVENTS: Final[Mapping[str, SentEvent]] = {
    "connected": SentEvent(Connected, "the client, once it is connected"),
    "error": SentEvent(Error, "the sender of an event that failed"),
    "authenticated": SentEvent(Authenticated, "the sender of `authenticate`"),
    "token_expiring": SentEvent(TokenExpiring, "the client, 60 s before its token expires"),
    "server_shutdown": SentEvent(ServerShutdown, "all users"),
    "cooking_session_created": SentEvent(cooking.SessionCreated, "the sender"),
    "cooking_session_joined": SentEvent(cooking.SessionJoined, "the sender"),
    "user_joined_session": SentEvent(cooking.UserJoined, "the room, except the sender"),
    "user_left_session": SentEvent(cooking.UserLeft, "the room"),
    "cooking_step_updated": SentEvent(cooking.StepUpdated, "the room"),
    "cooking_message": SentEvent(cooking.MessageSent, "the room"),
    "cooking_session_ended": SentEvent(cooking.SessionEnded, "the room"),
    "live_recipe_shared": SentEvent(feed.LiveRecipe, "all users"),
    "live_recipe_liked": SentEvent(feed.LiveRecipeLiked, "all users"),
    "live_recipe_commented": SentEvent(feed.LiveRecipeCommented, "all users"),
    "live_scan_shared": SentEvent(feed.LiveScan, "followers and the user"),
    "recipe_collab_request": SentEvent(feed.CollabRequest, "the target user"),
    "user_status_updated": SentEvent(
        UserStatus, "followers and participants of the same cooking sessions"
    ),
    "user_notification": SentEvent(
        UserNotification, "the user, for each new notification of the inbox (notifications.md)"
    ),
    "subscription_updated": SentEvent(SubscriptionUpdated, "the user"),
    "generation_progress": SentEvent(GenerationProgress, "the user, while a recipe is generated"),
    "console_updated": SentEvent(
        ConsoleUpdate, "administrators who watch the operations console (console.md)"
    ),
}
"""In the order of the documents."""
