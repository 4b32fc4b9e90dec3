"""Completion photos: stored rows and views of them."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.features.accounts.models import PublicCard


@frozen
class RecipePhotoRow:
    """A row of `recipe_completion_photos`; `photo_url` is public."""

    id: UUID
    recipe_id: UUID
    user_id: UUID
    photo_url: str
    description: str | None
    uploaded_at: datetime


@frozen
class PhotoUpload:
    """A stored photo, and the XP granted for it."""

    photo: RecipePhotoRow
    xp_awarded: int


@frozen
class PhotoView:
    """A photo with the card of the cook."""

    photo: RecipePhotoRow
    cook: PublicCard | None


@frozen
class PhotoPage:
    """A slice of a recipe's photos; `total` counts all of them."""

    photos: list[PhotoView]
    total: int
