"""Sends activity status updates to followers and to participants of shared cooking sessions."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from attrs import frozen

from cookcam.features.social.cooking.service import Cooking
from cookcam.features.social.moderation.blocks import Blocks
from cookcam.features.social.presence.models import UserStatus
from cookcam.features.social.presence.store import FollowStore
from cookcam.realtime.notifiers import UserNotifier

MAX_FOLLOWERS_NOTIFIED: Final = 10_000
"""A status update goes to the latest followers, up to this number."""


@frozen
class Presence:
    store: FollowStore
    cooking: Cooking
    blocks: Blocks
    hub: UserNotifier

    async def followers(self, user_id: UUID) -> list[UUID]:
        return await self.store.followers(user_id, MAX_FOLLOWERS_NOTIFIED)

    async def publish(self, status: UserStatus) -> None:
        """Sends the status once to each recipient, on all devices, but not to the user's own."""
        audience = set(await self.followers(status.user_id))
        for session in await self.cooking.sessions_for_user(status.user_id):
            audience.update(session.participants)
        hidden = await self.blocks.hidden_from(status.user_id)
        for user_id in audience - {status.user_id} - hidden.now():
            self.hub.send_to_user(user_id, "user_status_updated", status, volatile=True)
