"""Completion photos as they are stored and shown."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.features.accounts.models import PublicCard


@frozen
class Photo:
    """A row of `recipe_completion_photos`; `photo_url` is public."""

    id: UUID
    recipe_id: UUID
    user_id: UUID
    photo_url: str
    description: str | None
    uploaded_at: datetime


@frozen
class Upload:
    """A photo that was taken in; `xp_awarded` is what was really granted."""

    photo: Photo
    xp_awarded: int


@frozen
class ShownPhoto:
    """A photo, and who cooked."""

    photo: Photo
    cook: PublicCard | None


@frozen
class PhotoPage:
    """A slice of a recipe's photos; `total` counts them all."""

    photos: list[ShownPhoto]
    total: int
