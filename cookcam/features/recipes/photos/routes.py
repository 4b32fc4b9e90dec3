"""Routes of completion photos."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from cookcam.features.literals import rejected_field
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.photos.models import PhotoPage, PhotoUpload, PhotoView, RecipePhotoRow
from cookcam.features.recipes.photos.service import CompletionPhotos
from cookcam.http import (
    DOCUMENTED_AS_REQUIRED,
    MEBIBYTE,
    Routes,
    document_failures,
    errors_as,
    max_body,
    parse_uuid,
    query_integers,
    user_limit,
    validate_request,
    validate_response,
)
from cookcam.http.responses import response_from
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in
from cookcam.images.encoding import BASE64_IMAGE
from cookcam.text import clean_prose


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


MAX_DESCRIPTION_LENGTH = 500


class RecipePhotoRequest(Struct):
    """A photograph in JSON, with the field names of the app."""

    imageData: Annotated[Any, BASE64_IMAGE, DOCUMENTED_AS_REQUIRED] = None  # noqa: N815 - the wire name
    description: Annotated[str, Meta(max_length=MAX_DESCRIPTION_LENGTH)] | None = None

    def __post_init__(self) -> None:
        if self.description is not None:
            self.description = clean_prose(self.description)

    def text(self) -> str:
        """The base64 text of the image. Raises ValidationError."""
        if not isinstance(self.imageData, str) or not self.imageData.strip():
            raise rejected_field("Image data is required", "imageData")
        return self.imageData


UNEXPECTED = "Internal server error"


def routes(photos: CompletionPhotos) -> Routes:
    bp = Routes("photos", __name__, legacy=True)

    @bp.post("/recipes/<recipe_id>/upload-completion-photo")
    @max_body(15 * MEBIBYTE)  # base64 of 10 MiB, in JSON
    @errors_as(unexpected=UNEXPECTED)
    @signed_in
    @user_limit("completion photo")
    @document_failures(422)
    @validate_request(RecipePhotoRequest)
    @validate_response(RecipePhotoResponse)
    async def upload(
        caller: Identity, recipe_id: str, data: RecipePhotoRequest
    ) -> RecipePhotoResponse:
        """Show what one cooked from a recipe."""
        text = data.text()
        return RecipePhotoResponse.of(
            await photos.add(caller, _id(recipe_id), text, data.description)
        )

    @bp.get("/recipes/<recipe_id>/completion-photos")
    @errors_as(unexpected=UNEXPECTED)
    @optional_caller
    @query_integers(limit=20, offset=0)
    @validate_response(RecipePhotoListResponse)
    async def list_photos(
        caller: Identity | None, recipe_id: str, limit: int, offset: int
    ) -> RecipePhotoListResponse:
        """What people cooked from a recipe, newest first."""
        return RecipePhotoListResponse.of(await photos.page(caller, _id(recipe_id), limit, offset))

    return bp


def _id(text: str) -> UUID:
    return parse_uuid(text, recipe_not_found())
