"""The rules of ratings: one per user and recipe; an author's own rating does not count."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.features.pages import PageKey
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

    async def reviews(
        self, reader: Identity | None, recipe_id: UUID, key: PageKey, limit: int
    ) -> bytes:
        """A page of the recipe's reviews as JSON, newest first; ratings without a review are not
        in it. Raises NotFound for a recipe that `reader` (None: a guest) may not see.
        """
        page = await self.store.reviews(reader, recipe_id, key, limit)
        if page is None:
            raise recipe_not_found()
        return page
