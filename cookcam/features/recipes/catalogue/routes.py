"""Routes of recipes: list, read, create, change, delete."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from quart import request

from cookcam.features.recipes.catalogue.requests import (
    NewRecipeRequest,
    RecipeFilter,
    RecipeRequest,
)
from cookcam.features.recipes.catalogue.responses import (
    RecipeDeletionResponse,
    RecipeListResponse,
    RecipePagination,
    RecipeResponse,
    RecipeWriteResponse,
    write_response,
)
from cookcam.features.recipes.catalogue.service import Recipes, recipe_not_found
from cookcam.http import (
    EncodedJson,
    Routes,
    current_request_info,
    document_failures,
    document_response,
    errors_as,
    parse_uuid,
    query_integers,
    validate_querystring,
    validate_request,
    validate_response,
)
from cookcam.identity import Identity
from cookcam.identity.guards import optional_caller, signed_in


def routes(recipes: Recipes) -> Routes:
    bp = Routes("recipes", __name__, legacy=True)
    _read_routes(bp, recipes)
    _write_routes(bp, recipes)
    return bp


def _read_routes(bp: Routes, recipes: Recipes) -> None:
    @bp.get("/recipes")
    @errors_as(flagged=True, unexpected="Failed to fetch recipes")
    @optional_caller
    @query_integers(limit=20, offset=0, page=1)
    @validate_querystring(RecipeFilter)
    @document_response(RecipeListResponse)
    async def list_recipes(
        caller: Identity | None, limit: int, offset: int, page: int, query_args: RecipeFilter
    ) -> dict[str, Any]:
        """List recipes: published ones, and the caller's own.

        Newest first; `search=trending` orders by trend, any other `search` by relevance.
        `offset` applies when there is no `page`.
        """
        start = (page - 1) * limit if "page" in request.args else offset
        encoded, total = await recipes.page(caller, query_args.query(limit=limit, offset=start))
        listed = {
            "recipes": EncodedJson(encoded),
            "pagination": RecipePagination(start // limit + 1, limit, total, -(-total // limit)),
        }
        return {"success": True, "data": listed, **listed}

    @bp.get("/recipes/<recipe_id>")
    @errors_as(flagged=True, unexpected="Failed to fetch recipe")
    @optional_caller
    @document_response(RecipeResponse)
    async def get_recipe(caller: Identity | None, recipe_id: str) -> dict[str, Any]:
        """Return a recipe and count a view, once per reader and hour."""
        parsed_id = _id(recipe_id)
        recipe = await recipes.get_json(caller, parsed_id)
        if recipe.is_published:
            address = current_request_info().client_address
            await recipes.count_view(parsed_id, str(caller.user_id) if caller else address)
        return {"success": True, "data": EncodedJson(recipe.json)}


def _write_routes(bp: Routes, recipes: Recipes) -> None:
    @bp.post("/recipes")
    @errors_as(flagged=True, unexpected="Failed to create recipe")
    @signed_in
    @document_failures(409)
    @validate_request(NewRecipeRequest)
    @document_response(RecipeWriteResponse, 201)
    async def create_recipe(caller: Identity, data: NewRecipeRequest) -> tuple[EncodedJson, int]:
        """Create a recipe. A title is unique per author, ignoring case."""
        return write_response(await recipes.add(caller, data.content())), 201

    @bp.put("/recipes/<recipe_id>")
    @errors_as(flagged=True, unexpected="Failed to update recipe")
    @signed_in
    @document_failures(409)
    @validate_request(RecipeRequest, no_field_message="No fields to update")
    @document_response(RecipeWriteResponse)
    async def change_recipe(caller: Identity, recipe_id: str, data: RecipeRequest) -> EncodedJson:
        """Change fields of the caller's recipe."""
        return write_response(await recipes.change(caller, _id(recipe_id), data.content()))

    @bp.delete("/recipes/<recipe_id>")
    @errors_as(flagged=True, unexpected="Failed to delete recipe")
    @signed_in
    @validate_response(RecipeDeletionResponse)
    async def delete_recipe(caller: Identity, recipe_id: str) -> RecipeDeletionResponse:
        """Delete the caller's recipe."""
        await recipes.delete(caller, _id(recipe_id))
        return RecipeDeletionResponse(True, "Recipe deleted")


def _id(text: str) -> UUID:
    return parse_uuid(text, recipe_not_found())
