"""People as others see them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import field, frozen


@frozen
class PublicUser:
    """What everybody may know of a person."""

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
    """Somebody who follows or is followed, and since when."""

    id: UUID
    name: str | None = field(repr=False)
    avatar_url: str | None
    level: int
    total_xp: int
    since: datetime


@frozen
class Contacts:
    """The latest contacts of a person; `total` counts them all."""

    latest: list[Contact]
    total: int
