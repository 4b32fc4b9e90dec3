"""What the people routes answer with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from cookcam.features.users.models import Contact, Contacts, PublicUser


class UserAnswer(Struct):
    """`created_at` is there where one person is looked at."""

    id: UUID
    name: str | None
    avatar_url: str | None
    level: int
    total_xp: int
    is_creator: bool
    creator_tier: int
    created_at: datetime | UnsetType = UNSET

    @classmethod
    def of(cls, user: PublicUser) -> UserAnswer:
        return cls(
            user.id,
            user.name,
            user.avatar_url,
            user.level,
            user.total_xp,
            user.is_creator,
            user.creator_tier,
        )


class OneUser(Struct):
    user: UserAnswer

    @classmethod
    def of(cls, user: PublicUser) -> OneUser:
        answer = UserAnswer.of(user)
        answer.created_at = user.created_at
        return cls(answer)


class UserList(Struct):
    users: list[UserAnswer]

    @classmethod
    def of(cls, users: list[PublicUser]) -> UserList:
        return cls([UserAnswer.of(user) for user in users])


class FollowAnswer(Struct):
    message: str
    following: bool

    @classmethod
    def of(cls, *, following: bool) -> FollowAnswer:
        done = "followed" if following else "unfollowed"
        return cls(f"User {done} successfully", following)


class MiniUser(Struct):
    id: UUID
    name: str | None
    avatar_url: str | None
    level: int
    total_xp: int

    @classmethod
    def of(cls, contact: Contact) -> MiniUser:
        return cls(contact.id, contact.name, contact.avatar_url, contact.level, contact.total_xp)


class Follower(Struct):
    created_at: datetime
    follower: MiniUser


class Followers(Struct):
    followers: list[Follower]
    total: int

    @classmethod
    def of(cls, contacts: Contacts) -> Followers:
        latest = [Follower(contact.since, MiniUser.of(contact)) for contact in contacts.latest]
        return cls(latest, contacts.total)


class Followed(Struct):
    created_at: datetime
    following: MiniUser


class Following(Struct):
    following: list[Followed]
    total: int

    @classmethod
    def of(cls, contacts: Contacts) -> Following:
        latest = [Followed(contact.since, MiniUser.of(contact)) for contact in contacts.latest]
        return cls(latest, contacts.total)
