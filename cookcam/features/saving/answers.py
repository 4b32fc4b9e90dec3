"""What the saving routes answer with."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct

from cookcam.features.recipes.answers import RecipeAnswer
from cookcam.features.saving.models import Favorited, SavedPage


class SaveAnswer(Struct):
    message: str
    saved: bool

    @classmethod
    def of(cls, *, saved: bool) -> SaveAnswer:
        return cls("Recipe saved" if saved else "Recipe removed from saved recipes", saved)


class FavoriteAnswer(Struct):
    success: bool
    message: str
    favorited: bool
    xp_awarded: int

    @classmethod
    def of(cls, result: Favorited) -> FavoriteAnswer:
        words = "added to" if result.favorited else "removed from"
        return cls(True, f"Recipe {words} favorites", result.favorited, result.xp_awarded)


class SavedRecipeItem(Struct):
    created_at: datetime
    recipe: RecipeAnswer


class SavedRecipes(Struct):
    success: bool
    saved_recipes: list[SavedRecipeItem]
    total: int

    @classmethod
    def of(cls, page: SavedPage) -> SavedRecipes:
        items = [
            SavedRecipeItem(saved.created_at, RecipeAnswer.of(saved.recipe)) for saved in page.saved
        ]
        return cls(True, items, page.total)
