"""Response bodies of the photo routes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.recipes.photos.models import PhotoPage, PhotoUpload, PhotoView, RecipePhotoRow
from cookcam.http.responses import response_from


class RecipePhotoResponse(Struct, rename={"photo_url": "photoUrl", "uploaded_at": "uploadedAt"}):
    """The row under `photo`, and at the root the fields that the app reads."""

    photo: RecipePhotoRow
    message: str
    photo_url: str
    uploaded_at: datetime
    xp_awarded: int

    @classmethod
    def of(cls, upload: PhotoUpload) -> RecipePhotoResponse:
        row = upload.photo
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
    def of(cls, view: PhotoView) -> RecipePhoto:
        author = None if view.cook is None else PhotoAuthor(view.cook.name)
        return response_from(cls, view.photo, user=author)


class RecipePhotoListResponse(Struct):
    photos: list[RecipePhoto]
    total: int

    @classmethod
    def of(cls, page: PhotoPage) -> RecipePhotoListResponse:
        return cls([RecipePhoto.of(view) for view in page.photos], page.total)
