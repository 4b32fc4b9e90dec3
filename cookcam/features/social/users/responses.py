"""Response bodies of the user routes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType


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


class PublicUserResponse(Struct):
    user: PublicUserRow


class UserListResponse(Struct):
    users: list[PublicUserRow]


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


class Follower(Struct):
    created_at: datetime
    follower: UserCard


class FollowersResponse(Struct):
    followers: list[Follower]
    total: int


class Followed(Struct):
    created_at: datetime
    following: UserCard


class FollowingResponse(Struct):
    following: list[Followed]
    total: int
