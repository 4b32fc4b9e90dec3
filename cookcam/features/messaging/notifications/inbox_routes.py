"""Routes `/notifications`: the caller's inbox."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from cookcam.features.messaging.notifications.inbox_store import (
    InboxStore,
    notification_not_found,
)
from cookcam.features.pages import PageQuery, paged
from cookcam.http import (
    EncodedJson,
    Routes,
    document_response,
    errors_as,
    parse_uuid,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class InboxQuery(PageQuery):
    """Query of the inbox. `unread`: only unread notifications."""

    unread: bool = False


class InboxItem(Struct):
    """A notification, with the fields of `user_notification`. `data` depends on the type."""

    id: UUID
    type: str
    title: str
    body: str
    data: Annotated[dict[str, Any], Meta(extra_json_schema={"additionalProperties": True})]
    read: bool
    created_at: datetime


class InboxResponse(Struct):
    """A page of the inbox, newest first. `next_cursor` is null on the last page."""

    notifications: list[InboxItem]
    next_cursor: str | None


class UnreadResponse(Struct):
    unread: int


class InboxChangeResponse(Struct):
    """`changed`: how many notifications were read or deleted by this request."""

    success: bool
    changed: int


def routes(inbox: InboxStore) -> Routes:
    bp = Routes("notifications", __name__)

    @bp.get("/notifications")
    @errors_as(unexpected="Failed to fetch notifications")
    @signed_in
    @paged(InboxResponse, query=InboxQuery)
    async def notifications(caller: Identity, limit: int, query_args: InboxQuery) -> EncodedJson:
        """The caller's notifications, newest first."""
        key, unread = query_args.key(), query_args.unread
        return EncodedJson(await inbox.page(caller, key, limit, unread=unread))

    @bp.get("/notifications/unread-count")
    @errors_as(unexpected="Failed to count notifications")
    @signed_in
    @document_response(UnreadResponse)
    async def unread_count(caller: Identity) -> EncodedJson:
        """The number of the caller's unread notifications."""
        return EncodedJson(await inbox.unread(caller))

    @bp.post("/notifications/read-all")
    @errors_as(unexpected="Failed to update notifications")
    @signed_in
    @validate_response(InboxChangeResponse)
    async def read_all(caller: Identity) -> InboxChangeResponse:
        """Mark all notifications as read."""
        return InboxChangeResponse(True, await inbox.mark_all_read(caller))

    @bp.post("/notifications/<notification_id>/read")
    @errors_as(unexpected="Failed to update notification")
    @signed_in
    @validate_response(InboxChangeResponse)
    async def read_one(caller: Identity, notification_id: str) -> InboxChangeResponse:
        """Mark a notification as read; a second time changes nothing."""
        changed = await inbox.mark_read(caller, _id(notification_id))
        return InboxChangeResponse(True, changed)

    @bp.delete("/notifications")
    @errors_as(unexpected="Failed to delete notifications")
    @signed_in
    @validate_response(InboxChangeResponse)
    async def delete_all(caller: Identity) -> InboxChangeResponse:
        """Delete all notifications."""
        return InboxChangeResponse(True, await inbox.delete_all(caller))

    @bp.delete("/notifications/<notification_id>")
    @errors_as(unexpected="Failed to delete notification")
    @signed_in
    @validate_response(InboxChangeResponse)
    async def delete_one(caller: Identity, notification_id: str) -> InboxChangeResponse:
        """Delete a notification."""
        await inbox.delete(caller, _id(notification_id))
        return InboxChangeResponse(True, 1)

    return bp


def _id(text: str) -> UUID:
    return parse_uuid(text, notification_not_found())
