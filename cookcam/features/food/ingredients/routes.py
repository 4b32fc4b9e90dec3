"""Routes of the ingredient catalogue and of USDA FoodData Central."""

from __future__ import annotations

from typing import Any, cast

from quart import request

from cookcam.features.food.ingredients.requests import (
    ListFilter,
    SearchFilter,
    UsdaFilter,
    checked_id,
    checked_limit,
    clamped_limit,
    is_from_app,
)
from cookcam.features.food.ingredients.responses import (
    IngredientCategoriesResponse,
    IngredientListResponse,
    IngredientPagination,
    IngredientResponse,
    IngredientSearchResponse,
    TitledIngredientRow,
    UsdaSearchResponse,
    UsdaSearchResult,
    UsdaSyncResponse,
)
from cookcam.features.food.ingredients.service import Ingredients, ingredient_not_found
from cookcam.http import (
    EncodedJson,
    Routes,
    document_failures,
    document_response,
    errors_as,
    query_integers,
    validate_querystring,
    validate_response,
)
from cookcam.http.quotas import count_costly
from cookcam.identity import Identity
from cookcam.identity.guards import admin_only, optional_caller


def routes(ingredients: Ingredients) -> Routes:
    bp = Routes("ingredients", __name__, legacy=True)
    _search_routes(bp, ingredients)
    _read_routes(bp, ingredients)
    return bp


def _search_routes(bp: Routes, ingredients: Ingredients) -> None:
    @bp.get("/ingredients/search")
    @errors_as(flagged=True, unexpected="Failed to search ingredients")
    @validate_querystring(SearchFilter)
    @document_response(IngredientSearchResponse | list[TitledIngredientRow])
    async def search(query_args: SearchFilter) -> EncodedJson:
        """Search the catalogue; tolerates typing mistakes.

        The most similar names come first, then the shortest. The app gets a bare array of rows.
        """
        text = query_args.text()
        for_app = is_from_app(request.args, request.headers.get("Content-Type", ""))
        limit = (clamped_limit if for_app else checked_limit)(query_args.limit, 20)
        return EncodedJson(await ingredients.search_json(text, limit, for_app=for_app))

    @bp.get("/ingredients/usda/search")
    @errors_as(flagged=True, unexpected="Failed to search USDA database")
    @optional_caller
    @validate_querystring(UsdaFilter)
    @validate_response(UsdaSearchResponse)
    async def search_usda(caller: Identity | None, query_args: UsdaFilter) -> UsdaSearchResponse:
        """Search USDA FoodData Central; at most 50 foods."""
        text, data_types = query_args.text(), query_args.data_types()
        limit = checked_limit(query_args.limit or query_args.page_size, 10)
        await count_costly("usda", caller and caller.user_id)
        result = await ingredients.search_usda(text, limit, data_types)
        return UsdaSearchResponse(True, cast("UsdaSearchResult", result))

    @bp.post("/ingredients/<ingredient_id>/sync-usda")
    @errors_as(flagged=True, unexpected="Failed to sync with USDA data")
    @admin_only
    @document_failures(409)
    @validate_response(UsdaSyncResponse)
    async def sync(caller: Identity, ingredient_id: str) -> UsdaSyncResponse:
        """Update an ingredient with USDA's amounts; administrators only."""
        parsed_id = checked_id(ingredient_id, ingredient_not_found())
        await count_costly("usda", caller.user_id)
        return UsdaSyncResponse.of(await ingredients.sync(parsed_id))


def _read_routes(bp: Routes, ingredients: Ingredients) -> None:
    @bp.get("/ingredients")
    @errors_as(flagged=True, unexpected="Failed to fetch ingredients")
    @query_integers(page=1, limit=20)
    @validate_querystring(ListFilter)
    @document_response(IngredientListResponse)
    async def list_ingredients(page: int, limit: int, query_args: ListFilter) -> dict[str, Any]:
        """List the catalogue by name."""
        category = query_args.category.replace("\0", "") or None
        rows, total = await ingredients.page(category, limit=limit, offset=(page - 1) * limit)
        pagination = IngredientPagination(page, limit, total, -(-total // limit))
        data = {"ingredients": EncodedJson(rows), "pagination": pagination}
        return {"success": True, "data": data}

    @bp.get("/ingredients/categories")
    @bp.get("/ingredients/meta/categories")
    @errors_as(flagged=True, unexpected="Failed to fetch categories")
    @validate_response(IngredientCategoriesResponse)
    async def categories() -> IngredientCategoriesResponse:
        """Every category of the catalogue."""
        return IngredientCategoriesResponse(True, await ingredients.categories())

    @bp.get("/ingredients/<ingredient_id>")
    @errors_as(flagged=True, unexpected="Failed to fetch ingredient")
    @document_response(IngredientResponse)
    async def get_ingredient(ingredient_id: str) -> dict[str, Any]:
        """One ingredient."""
        parsed_id = checked_id(ingredient_id, ingredient_not_found())
        return {"success": True, "data": EncodedJson(await ingredients.get_json(parsed_id))}
