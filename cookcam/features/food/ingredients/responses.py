"""Response bodies of the ingredient routes."""

from __future__ import annotations

from typing import Literal, NotRequired, TypedDict

from attrs import frozen
from msgspec import Struct

from cookcam.features.food.ingredients.models import IngredientRow, UsdaSyncResult


@frozen
class TitledIngredientRow(IngredientRow):
    """A row with the title that the app displays."""

    title: str


class IngredientSearchData(Struct):
    source: Literal["local"]
    results: list[IngredientRow]
    total: int


class IngredientSearchResponse(Struct):
    """`total` is the number of results in this response."""

    success: bool
    data: IngredientSearchData


class UsdaNutrient(TypedDict):
    """One nutrient of a food, per 100 g. FoodData Central may send more keys."""

    nutrientId: NotRequired[int]
    nutrientName: NotRequired[str]
    nutrientNumber: NotRequired[str]
    unitName: NotRequired[str]
    value: NotRequired[float]


class UsdaFood(TypedDict):
    """One food. FoodData Central may send more keys."""

    fdcId: int
    description: NotRequired[str]
    dataType: NotRequired[str]
    brandOwner: NotRequired[str]
    foodCategory: NotRequired[str]
    publishedDate: NotRequired[str]
    foodNutrients: NotRequired[list[UsdaNutrient]]


class UsdaSearchResult(TypedDict):
    """The body of FoodData Central's `GET /foods/search`, which may have more keys."""

    totalHits: NotRequired[int]
    currentPage: NotRequired[int]
    totalPages: NotRequired[int]
    foods: list[UsdaFood]


class UsdaSearchResponse(Struct):
    """USDA's own body under `data`."""

    success: bool
    data: UsdaSearchResult


class IngredientPagination(Struct, rename={"total_pages": "totalPages"}):
    page: int
    limit: int
    total: int
    total_pages: int


class IngredientListData(Struct):
    ingredients: list[IngredientRow]
    pagination: IngredientPagination


class IngredientListResponse(Struct):
    success: bool
    data: IngredientListData


class IngredientResponse(Struct):
    success: bool
    data: IngredientRow


class IngredientCategoriesResponse(Struct):
    success: bool
    data: list[str]


class UsdaSyncMatch(Struct, rename={"fdc_id": "fdcId", "data_type": "dataType"}):
    fdc_id: int
    description: str
    data_type: str


class UsdaSyncData(Struct):
    ingredient: IngredientRow
    usda_match: UsdaSyncMatch
    nutrition: dict[str, float]


class UsdaSyncResponse(Struct):
    success: bool
    data: UsdaSyncData

    @classmethod
    def of(cls, result: UsdaSyncResult) -> UsdaSyncResponse:
        match = result.match
        return cls(
            True,
            UsdaSyncData(
                result.ingredient,
                UsdaSyncMatch(match.fdc_id, match.description, match.data_type),
                dict(result.nutrition),
            ),
        )
