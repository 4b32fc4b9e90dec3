"""Response bodies of the user routes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.social.users.models import Contact, ContactPage, PublicUser


class PublicUserRow(Struct):
    """A public profile. `created_at` is set only in the response for a single user."""

    id: UUID
    name: str | None
    avatar_url: str | None
    level: int
    total_xp: int
    is_creator: bool
    creator_tier: int
    created_at: datetime | UnsetType = UNSET

    @classmethod
    def of(cls, user: PublicUser) -> PublicUserRow:
        return cls(
            user.id,
            user.name,
            user.avatar_url,
            user.level,
            user.total_xp,
            user.is_creator,
            user.creator_tier,
        )


class PublicUserResponse(Struct):
    user: PublicUserRow

    @classmethod
    def of(cls, user: PublicUser) -> PublicUserResponse:
        response = PublicUserRow.of(user)
        response.created_at = user.created_at
        return cls(response)


class UserListResponse(Struct):
    users: list[PublicUserRow]

    @classmethod
    def of(cls, users: list[PublicUser]) -> UserListResponse:
        return cls([PublicUserRow.of(user) for user in users])


class FollowResponse(Struct):
    message: str
    following: bool

    @classmethod
    def of(cls, *, following: bool) -> FollowResponse:
        done = "followed" if following else "unfollowed"
        return cls(f"User {done} successfully", following)


class UserCard(Struct):
    id: UUID
    name: str | None
    avatar_url: str | None
    level: int
    total_xp: int

    @classmethod
    def of(cls, contact: Contact) -> UserCard:
        return cls(contact.id, contact.name, contact.avatar_url, contact.level, contact.total_xp)


class Follower(Struct):
    created_at: datetime
    follower: UserCard


class FollowersResponse(Struct):
    followers: list[Follower]
    total: int

    @classmethod
    def of(cls, contacts: ContactPage) -> FollowersResponse:
        latest = [Follower(contact.since, UserCard.of(contact)) for contact in contacts.latest]
        return cls(latest, contacts.total)


class Followed(Struct):
    created_at: datetime
    following: UserCard


class FollowingResponse(Struct):
    following: list[Followed]
    total: int

    @classmethod
    def of(cls, contacts: ContactPage) -> FollowingResponse:
        latest = [Followed(contact.since, UserCard.of(contact)) for contact in contacts.latest]
        return cls(latest, contacts.total)
