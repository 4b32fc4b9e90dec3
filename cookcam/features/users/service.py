"""The rules of looking at people and of following them (`spec/http-api-core.md` §7)."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.errors import ForeignKeyError, NotFound, ValidationError
from cookcam.features.users.models import Contacts, PublicUser
from cookcam.features.users.store import UserStore
from cookcam.identity import Identity

MOST = 50
"""People in one answer: nobody shall list them all."""


def user_not_found() -> NotFound:
    return NotFound("User not found", error="User not found")


@frozen
class Users:
    store: UserStore

    async def get(self, user_id: UUID) -> PublicUser:
        """Raises NotFound."""
        user = await self.store.find(user_id)
        if user is None:
            raise user_not_found()
        return user

    async def search(self, beginning: str | None, limit: int) -> list[PublicUser]:
        """At most MOST people whose names begin so, or of all; those with the most XP first."""
        bounded = min(limit, MOST)
        if beginning is None:
            return await self.store.top(bounded)
        return await self.store.named(beginning, bounded)

    async def followers(self, user_id: UUID, limit: int) -> Contacts:
        """Who follows somebody. Raises NotFound."""
        total = await self.store.count_followers(user_id)
        if total is None:
            raise user_not_found()
        return Contacts(await self.store.followers(user_id, limit), total)

    async def following(self, user_id: UUID, limit: int) -> Contacts:
        """Whom somebody follows. Raises NotFound."""
        total = await self.store.count_following(user_id)
        if total is None:
            raise user_not_found()
        return Contacts(await self.store.following(user_id, limit), total)

    async def toggle_follow(self, follower: Identity, followed: UUID) -> bool:
        """Follows somebody, or no longer; which of both it is now.

        Toggles at the same time come one after the other. Raises ValidationError for oneself,
        NotFound.
        """
        _somebody_else(follower, followed)
        try:
            following = await self.store.toggle_follow(follower, followed)
        except ForeignKeyError:  # gone at this moment
            following = None
        if following is None:
            raise user_not_found()
        return following

    async def unfollow(self, follower: Identity, followed: UUID) -> None:
        """No longer follows somebody, whether they did before or not.

        Raises ValidationError for oneself, NotFound.
        """
        _somebody_else(follower, followed)
        await self.get(followed)
        await self.store.unfollow(follower, followed)


def _somebody_else(follower: Identity, followed: UUID) -> None:
    if follower.user_id == followed:
        words = "Cannot follow yourself"
        raise ValidationError(words, error=words)
