"""What is between a person and a recipe they may have saved."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from cookcam.features.recipes.models import ShownRecipe


@frozen
class Standing:
    """Whether the recipe is saved, and whether the person may see it."""

    saved: bool
    visible: bool


@frozen
class Favorited:
    """What a favourite request came to; `xp_awarded` is what was really granted."""

    favorited: bool
    xp_awarded: int


@frozen
class SavedRecipe:
    """A saved recipe, and when it was saved."""

    created_at: datetime
    recipe: ShownRecipe


@frozen
class SavedPage:
    """A slice of somebody's saved recipes; `total` counts all that they may still see."""

    saved: list[SavedRecipe]
    total: int
