"""Saved and favourite recipes of a user."""

from __future__ import annotations

from attrs import frozen


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
