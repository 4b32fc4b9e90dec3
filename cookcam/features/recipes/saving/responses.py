"""Response bodies of the saving routes."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from cookcam.features.recipes.catalogue.responses import RecipeRow
from cookcam.features.recipes.saving.models import FavoriteResult


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
