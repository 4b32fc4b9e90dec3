"""What the photo routes answer with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import asdict
from msgspec import Struct

from cookcam.features.recipes.photos.models import PhotoPage, ShownPhoto, Upload


class RecipePhotoRow(Struct):
    id: UUID
    recipe_id: UUID
    user_id: UUID
    photo_url: str
    description: str | None
    uploaded_at: datetime


class RecipePhotoResponse(Struct, rename={"photo_url": "photoUrl", "uploaded_at": "uploadedAt"}):
    """The row, and at the root what the app reads."""

    photo: RecipePhotoRow
    message: str
    photo_url: str
    uploaded_at: datetime
    xp_awarded: int

    @classmethod
    def of(cls, upload: Upload) -> RecipePhotoResponse:
        row = RecipePhotoRow(**asdict(upload.photo))
        message = "Photo uploaded successfully"
        return cls(row, message, row.photo_url, row.uploaded_at, upload.xp_awarded)


class PhotoAuthor(Struct):
    name: str | None


class RecipePhoto(Struct):
    id: UUID
    photo_url: str
    description: str | None
    uploaded_at: datetime
    user: PhotoAuthor | None

    @classmethod
    def of(cls, shown: ShownPhoto) -> RecipePhoto:
        photo = shown.photo
        return cls(
            photo.id,
            photo.photo_url,
            photo.description,
            photo.uploaded_at,
            None if shown.cook is None else PhotoAuthor(shown.cook.name),
        )


class RecipePhotoListResponse(Struct):
    photos: list[RecipePhoto]
    total: int

    @classmethod
    def of(cls, page: PhotoPage) -> RecipePhotoListResponse:
        return cls([RecipePhoto.of(shown) for shown in page.photos], page.total)
