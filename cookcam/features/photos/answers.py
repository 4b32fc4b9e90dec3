"""What the photo routes answer with."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import asdict
from msgspec import Struct

from cookcam.features.photos.models import PhotoPage, ShownPhoto, Upload


class PhotoRow(Struct):
    id: UUID
    recipe_id: UUID
    user_id: UUID
    photo_url: str
    description: str | None
    uploaded_at: datetime


class UploadAnswer(Struct, rename={"photo_url": "photoUrl", "uploaded_at": "uploadedAt"}):
    """The row, and at the root what the app reads."""

    photo: PhotoRow
    message: str
    photo_url: str
    uploaded_at: datetime
    xp_awarded: int

    @classmethod
    def of(cls, upload: Upload) -> UploadAnswer:
        row = PhotoRow(**asdict(upload.photo))
        message = "Photo uploaded successfully"
        return cls(row, message, row.photo_url, row.uploaded_at, upload.xp_awarded)


class Cook(Struct):
    name: str | None


class PhotoItem(Struct):
    id: UUID
    photo_url: str
    description: str | None
    uploaded_at: datetime
    user: Cook | None

    @classmethod
    def of(cls, shown: ShownPhoto) -> PhotoItem:
        photo = shown.photo
        return cls(
            photo.id,
            photo.photo_url,
            photo.description,
            photo.uploaded_at,
            None if shown.cook is None else Cook(shown.cook.name),
        )


class PhotoList(Struct):
    photos: list[PhotoItem]
    total: int

    @classmethod
    def of(cls, page: PhotoPage) -> PhotoList:
        return cls([PhotoItem.of(shown) for shown in page.photos], page.total)
