"""Saved and favourite recipes of a user."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from cookcam.features.recipes.catalogue.models import RecipeView


@frozen
class SavedState:
    """Whether the user has saved the recipe, and whether the user may see it."""

    saved: bool
    visible: bool


@frozen
class FavoriteResult:
    """The result of a favourite request; `xp_awarded` is the XP granted."""

    favorited: bool
    xp_awarded: int


@frozen
class SavedRecipe:
    """A saved recipe with the time of saving."""

    created_at: datetime
    recipe: RecipeView


@frozen
class SavedPage:
    """A slice of a user's saved recipes; `total` counts all that the user may still see."""

    saved: list[SavedRecipe]
    total: int
