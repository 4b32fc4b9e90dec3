"""Saving recipes (`spec/http-api-core.md` §9.13; `spec/client-contract.md` §2.1, §5.3)."""

from __future__ import annotations

from uuid import UUID

from cookcam.features.recipes.service import recipe_not_found
from cookcam.features.saving.answers import FavoriteAnswer, SaveAnswer, SavedRecipes
from cookcam.features.saving.requests import FavoriteRequest
from cookcam.features.saving.service import UNFAVORITE_FAILED, UNSAVE_FAILED, Saving
from cookcam.identity import Identity
from cookcam.identity.guards import signed_in
from cookcam.web import (
    Routes,
    errors_as,
    parse_uuid,
    query_integers,
    validate_request,
    validate_response,
)


def routes(saving: Saving) -> Routes:
    bp = Routes("saving", __name__, legacy=True)
    _saving(bp, saving)
    _favorites(bp, saving)
    return bp


def _saving(bp: Routes, saving: Saving) -> None:
    @bp.post("/recipes/<recipe_id>/save")
    @errors_as(unexpected="Failed to save recipe")
    @signed_in
    @validate_response(SaveAnswer)
    async def toggle_saved(caller: Identity, recipe_id: str) -> SaveAnswer:
        """Save a recipe, or remove it from the saved ones."""
        return SaveAnswer.of(saved=await saving.toggle(caller, _id(recipe_id)))

    @bp.delete("/recipes/<recipe_id>/save")
    @errors_as(unexpected=UNSAVE_FAILED)
    @signed_in
    @validate_response(SaveAnswer)
    async def unsave(caller: Identity, recipe_id: str) -> SaveAnswer:
        """Remove a recipe from the saved ones."""
        await saving.unsave(caller, _id(recipe_id))
        return SaveAnswer.of(saved=False)

    @bp.get("/recipes/saved/my")
    @errors_as(unexpected="Failed to fetch saved recipes")
    @signed_in
    @query_integers(limit=20, offset=0)
    @validate_response(SavedRecipes)
    async def saved_recipes(caller: Identity, limit: int, offset: int) -> SavedRecipes:
        """One's own saved recipes and favourites, newest first."""
        return SavedRecipes.of(await saving.page(caller, limit, offset))


def _favorites(bp: Routes, saving: Saving) -> None:
    @bp.post("/recipes/<recipe_id>/favorite")
    @errors_as(unexpected="Failed to add recipe to favorites")
    @signed_in
    @validate_request(FavoriteRequest)
    @validate_response(FavoriteAnswer)
    async def favorite(caller: Identity, recipe_id: str, data: FavoriteRequest) -> FavoriteAnswer:
        """Make a recipe a favourite, or none; without a body, the other of what it is.

        Without a body, a repetition within three seconds gets the first answer.
        """
        result = await saving.favorite(caller, _id(recipe_id), data.favorited)
        return FavoriteAnswer.of(result)

    @bp.delete("/recipes/<recipe_id>/favorite")
    @errors_as(unexpected=UNFAVORITE_FAILED)
    @signed_in
    @validate_response(FavoriteAnswer)
    async def unfavorite(caller: Identity, recipe_id: str) -> FavoriteAnswer:
        """Remove a recipe from the favourites."""
        return FavoriteAnswer.of(await saving.favorite(caller, _id(recipe_id), wanted=False))


def _id(text: str) -> UUID:
    return parse_uuid(text, recipe_not_found())
