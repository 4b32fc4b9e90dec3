"""Public user profiles and follow relations."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import field, frozen


@frozen
class PublicUser:
    """The public part of a user's profile."""

    id: UUID
    name: str | None = field(repr=False)
    avatar_url: str | None
    level: int
    total_xp: int
    is_creator: bool
    creator_tier: int
    created_at: datetime


@frozen
class Contact:
    """A follower or followed user. `since` is the time of the follow."""

    id: UUID
    name: str | None = field(repr=False)
    avatar_url: str | None
    level: int
    total_xp: int
    since: datetime


@frozen
class ContactPage:
    """The latest contacts of a user; `total` counts all of them."""

    latest: list[Contact]
    total: int
