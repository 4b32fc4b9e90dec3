"""Routes of completion photos."""

from __future__ import annotations

from uuid import UUID

from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.photos.requests import RecipePhotoRequest
from cookcam.features.recipes.photos.responses import (
    RecipePhotoListResponse,
    RecipePhotoResponse,
)
from cookcam.features.recipes.photos.service import CompletionPhotos
from cookcam.http import (
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
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in

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
