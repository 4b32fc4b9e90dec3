"""Who hears what somebody is doing: followers, and those in the same cooking sessions."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from attrs import frozen

from cookcam.features.cooking.service import Cooking
from cookcam.features.presence.models import UserStatus
from cookcam.features.presence.store import FollowStore
from cookcam.realtime.hub import Hub

MOST_FOLLOWERS: Final = 10_000
"""Of more than these, the latest are told."""


@frozen
class Presence:
    store: FollowStore
    cooking: Cooking
    hub: Hub

    async def followers(self, user_id: UUID) -> list[UUID]:
        return await self.store.followers(user_id, MOST_FOLLOWERS)

    async def publish(self, status: UserStatus) -> None:
        """Everybody is told once, on all of their sockets; the user's own are not."""
        audience = set(await self.followers(status.user_id))
        for session in await self.cooking.sessions_for_user(status.user_id):
            audience.update(session.participants)
        for user_id in audience - {status.user_id}:
            self.hub.send_to_user(user_id, "user_status_updated", status, volatile=True)
