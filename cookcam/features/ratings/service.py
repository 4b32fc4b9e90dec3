"""The rules of ratings: everybody has one for each recipe, and authors' own do not count."""

from __future__ import annotations

from uuid import UUID

from attrs import frozen

from cookcam.features.ratings.store import RatingStore
from cookcam.features.recipes.service import Recipes, recipe_not_found
from cookcam.identity import Identity


@frozen
class Ratings:
    store: RatingStore
    recipes: Recipes

    async def rate(self, rater: Identity, recipe_id: UUID, rating: int, review: str | None) -> None:
        """Gives 1 to 5 stars in place of those given before; average and number follow in the
        same transaction. Raises NotFound for a recipe that the rater may not see."""
        if not await self.store.rate(rater, recipe_id, rating, review):
            raise recipe_not_found()
        await self.recipes.recount(recipe_id)
