"""The rules of public profiles and of following users."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.errors import ForeignKeyError, NotFound, ValidationError
from cookcam.features.social.users.models import ContactPage, PublicUser
from cookcam.features.social.users.store import UserStore
from cookcam.identity import Identity

MAX_USERS = 50
"""Users per search response; a low limit makes listing all users impractical."""


def user_not_found() -> NotFound:
    return NotFound("User not found", error="User not found")


@frozen
class Users:
    """`reader` is the id of the caller, None for a guest. Users hidden from the reader, by a block
    or by a moderator, do not exist for it."""

    store: UserStore

    async def get(self, reader: UUID | None, user_id: UUID) -> PublicUser:
        """Raises NotFound."""
        user = await self.store.find(reader, user_id)
        if user is None:
            raise user_not_found()
        return user

    async def search(self, reader: UUID | None, prefix: str | None, limit: int) -> list[PublicUser]:
        """At most MAX_USERS users, by name prefix if given; the most XP first."""
        bounded = min(limit, MAX_USERS)
        if prefix is None:
            return await self.store.top(reader, bounded)
        return await self.store.starting_with(reader, prefix, bounded)

    async def followers(self, reader: UUID | None, user_id: UUID, limit: int) -> ContactPage:
        """The user's followers. Raises NotFound."""
        total = await self.store.count_followers(reader, user_id)
        if total is None:
            raise user_not_found()
        return ContactPage(await self.store.followers(reader, user_id, limit), total)

    async def following(self, reader: UUID | None, user_id: UUID, limit: int) -> ContactPage:
        """The users that the user follows. Raises NotFound."""
        total = await self.store.count_following(reader, user_id)
        if total is None:
            raise user_not_found()
        return ContactPage(await self.store.following(reader, user_id, limit), total)

    async def toggle_follow(self, follower: Identity, followed: UUID) -> bool:
        """Follows the user, or unfollows; returns whether the follower now follows the user.

        Concurrent toggles of one follower are serialised. Raises ValidationError when both users
        are the same, and NotFound.
        """
        _check_not_self(follower, followed)
        try:
            following = await self.store.toggle_follow(follower, followed)
        except ForeignKeyError:  # the account was deleted meanwhile
            following = None
        if following is None:
            raise user_not_found()
        return following

    async def unfollow(self, follower: Identity, followed: UUID) -> None:
        """Unfollows the user; does nothing without a follow.

        Raises ValidationError when both users are the same, and NotFound.
        """
        _check_not_self(follower, followed)
        await self.get(follower.user_id, followed)
        await self.store.unfollow(follower, followed)


def _check_not_self(follower: Identity, followed: UUID) -> None:
    if follower.user_id == followed:
        message = "Cannot follow yourself"
        raise ValidationError(message, error=message)
