"""The rules of ratings: one per user and recipe; an author's own rating does not count."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.features.recipes.catalogue.service import Recipes, recipe_not_found
from cookcam.features.recipes.ratings.store import RatingStore
from cookcam.identity import Identity


@frozen
class Ratings:
    store: RatingStore
    recipes: Recipes

    async def rate(self, rater: Identity, recipe_id: UUID, rating: int, review: str | None) -> None:
        """Stores a rating of 1 to 5 stars, replacing an earlier one.

        The recipe's average and count are updated in the same transaction. Raises NotFound for a
        recipe that the rater may not see.
        """
        if not await self.store.rate(rater, recipe_id, rating, review):
            raise recipe_not_found()
        await self.recipes.counters_changed(recipe_id)
