"""Routes of saved recipes and favourites."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct

from cookcam.features.recipes.catalogue.responses import RecipeRow
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.features.recipes.saving.models import FavoriteResult
from cookcam.features.recipes.saving.service import UNFAVORITE_FAILED, UNSAVE_FAILED, Saving
from cookcam.http import (
    EncodedJson,
    Routes,
    document_response,
    errors_as,
    parse_uuid,
    query_integers,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in


class SaveRecipeResponse(Struct):
    message: str
    saved: bool

    @classmethod
    def of(cls, *, saved: bool) -> SaveRecipeResponse:
        return cls("Recipe saved" if saved else "Recipe removed from saved recipes", saved)


class FavoriteResponse(Struct):
    success: bool
    message: str
    favorited: bool
    xp_awarded: int

    @classmethod
    def of(cls, result: FavoriteResult) -> FavoriteResponse:
        change = "added to" if result.favorited else "removed from"
        return cls(True, f"Recipe {change} favorites", result.favorited, result.xp_awarded)


class SavedRecipeItem(Struct):
    created_at: datetime
    recipe: RecipeRow


class SavedRecipesResponse(Struct):
    success: bool
    saved_recipes: list[SavedRecipeItem]
    total: int


class FavoriteRequest(Struct):
    """`favorited` is the requested state; without it the request toggles the current state."""

    favorited: bool | None = None


def routes(saving: Saving) -> Routes:
    bp = Routes("saving", __name__, legacy=True)
    _saving(bp, saving)
    _favorites(bp, saving)
    return bp


def _saving(bp: Routes, saving: Saving) -> None:
    @bp.post("/recipes/<recipe_id>/save")
    @errors_as(unexpected="Failed to save recipe")
    @signed_in
    @validate_response(SaveRecipeResponse)
    async def toggle_saved(caller: Identity, recipe_id: str) -> SaveRecipeResponse:
        """Save a recipe, or remove it from the saved recipes."""
        return SaveRecipeResponse.of(saved=await saving.toggle(caller, _id(recipe_id)))

    @bp.delete("/recipes/<recipe_id>/save")
    @errors_as(unexpected=UNSAVE_FAILED)
    @signed_in
    @validate_response(SaveRecipeResponse)
    async def unsave(caller: Identity, recipe_id: str) -> SaveRecipeResponse:
        """Remove a recipe from the saved recipes."""
        await saving.unsave(caller, _id(recipe_id))
        return SaveRecipeResponse.of(saved=False)

    @bp.get("/recipes/saved/my")
    @errors_as(unexpected="Failed to fetch saved recipes")
    @signed_in
    @query_integers(limit=20, offset=0)
    @document_response(SavedRecipesResponse)
    async def saved_recipes(caller: Identity, limit: int, offset: int) -> EncodedJson:
        """The caller's saved recipes and favourites, newest first."""
        return EncodedJson(await saving.store.page_json(caller, limit, offset))


def _favorites(bp: Routes, saving: Saving) -> None:
    @bp.post("/recipes/<recipe_id>/favorite")
    @errors_as(unexpected="Failed to add recipe to favorites")
    @signed_in
    @validate_request(FavoriteRequest)
    @validate_response(FavoriteResponse)
    async def favorite(caller: Identity, recipe_id: str, data: FavoriteRequest) -> FavoriteResponse:
        """Set whether a recipe is a favourite; without a body, toggle it.

        A toggle repeated within three seconds returns the first response again.
        """
        result = await saving.favorite(caller, _id(recipe_id), data.favorited)
        return FavoriteResponse.of(result)

    @bp.delete("/recipes/<recipe_id>/favorite")
    @errors_as(unexpected=UNFAVORITE_FAILED)
    @signed_in
    @validate_response(FavoriteResponse)
    async def unfavorite(caller: Identity, recipe_id: str) -> FavoriteResponse:
        """Remove a recipe from the favourites."""
        return FavoriteResponse.of(await saving.favorite(caller, _id(recipe_id), requested=False))


def _id(text: str) -> UUID:
    return parse_uuid(text, recipe_not_found())
