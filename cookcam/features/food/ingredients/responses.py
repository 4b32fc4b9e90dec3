"""Response bodies of the ingredient routes."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, NotRequired, TypedDict

from attrs import asdict
from msgspec import Struct

from cookcam.features.food.ingredients.models import Ingredient, IngredientPage, UsdaSyncResult


class IngredientRow(Struct, kw_only=True):
    """A row of the catalogue. Amounts are per 100 g; null is unknown."""

    id: int
    name: str
    fdc_id: int | None
    category: str | None
    calories_per_100g: float | None
    protein_g_per_100g: float | None
    carbs_g_per_100g: float | None
    fat_g_per_100g: float | None
    fiber_g_per_100g: float | None
    sodium_mg_per_100g: float | None
    sugar_g_per_100g: float | None
    calcium_mg_per_100g: float | None
    iron_mg_per_100g: float | None
    vitamin_c_mg_per_100g: float | None
    potassium_mg_per_100g: float | None
    vitamin_d_mcg_per_100g: float | None
    vitamin_a_mcg_per_100g: float | None
    saturated_fat_g_per_100g: float | None
    trans_fat_g_per_100g: float | None
    cholesterol_mg_per_100g: float | None
    searchable_text: str
    tags: list[str]
    dietary_flags: list[str]
    usda_data_type: str | None
    usda_sync_date: datetime | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, ingredient: Ingredient) -> IngredientRow:
        return cls(**asdict(ingredient))


class TitledIngredientRow(IngredientRow, kw_only=True):
    """A row with the title that the app displays."""

    title: str

    @classmethod
    def of(cls, ingredient: Ingredient) -> TitledIngredientRow:
        return cls(**asdict(ingredient), title=ingredient.name)


class IngredientSearchData(Struct):
    source: Literal["local"]
    results: list[IngredientRow]
    total: int


class IngredientSearchResponse(Struct):
    """`total` is the number of results in this response."""

    success: bool
    data: IngredientSearchData

    @classmethod
    def of(cls, ingredients: list[Ingredient]) -> IngredientSearchResponse:
        rows = [IngredientRow.of(ingredient) for ingredient in ingredients]
        return cls(True, IngredientSearchData("local", rows, len(rows)))


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

    @classmethod
    def of(cls, listed: IngredientPage, *, page: int, limit: int) -> IngredientListResponse:
        rows = [IngredientRow.of(ingredient) for ingredient in listed.ingredients]
        pages = -(-listed.total // limit)
        return cls(
            True, IngredientListData(rows, IngredientPagination(page, limit, listed.total, pages))
        )


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
                IngredientRow.of(result.ingredient),
                UsdaSyncMatch(match.fdc_id, match.description, match.data_type),
                dict(result.nutrition),
            ),
        )
