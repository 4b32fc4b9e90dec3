"""The rules of public profiles and of following users."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.errors import ForeignKeyError, NotFound, ValidationError
from cookcam.features.social.users.store import UserStore
from cookcam.identity import Identity


def user_not_found() -> NotFound:
    return NotFound("User not found", error="User not found")


@frozen
class Users:
    store: UserStore

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
        if not await self.store.exists(followed):
            raise user_not_found()
        await self.store.unfollow(follower, followed)


def _check_not_self(follower: Identity, followed: UUID) -> None:
    if follower.user_id == followed:
        message = "Cannot follow yourself"
        raise ValidationError(message, error=message)
