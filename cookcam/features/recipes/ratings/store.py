"""The SQL of ratings, under the caller's role. Triggers keep the aggregates on the recipe."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import ANONYMOUS, Database
from cookcam.features.pages import PageKey, newest_first, time_text
from cookcam.features.recipes.catalogue.service import recipe_not_found
from cookcam.identity import Identity

# The row policy of recipes hides what the rater may not see; nothing is written then.
RATE: LiteralString = """
insert into public.recipe_ratings as mine (user_id, recipe_id, rating, review)
select %(user_id)s, r.id, %(rating)s, %(review)s
from public.recipes r where r.id = %(recipe_id)s
on conflict (user_id, recipe_id) do update
set rating = excluded.rating, review = coalesce(excluded.review, mine.review)"""

REVIEWS = newest_first(
    "reviews",
    f"""json_build_object(
  'user', public.user_card(r.user_id),
  'rating', r.rating,
  'review', r.review,
  'created_at', {time_text("r.created_at")},
  'updated_at', {time_text("r.updated_at")}
)""",
    "from public.recipe_ratings r where r.recipe_id = %(recipe_id)s and r.review <> ''",
    time="r.created_at",
    id="r.user_id",
    parent="exists (select from public.recipes where id = %(recipe_id)s)",
)


@frozen
class RatingStore:
    database: Database

    async def rate(self, rater: Identity, recipe_id: UUID, rating: int, review: str | None) -> None:
        """Store a rating of 1 to 5 stars, replacing the rater's earlier one.

        The recipe's average and count are updated in the same transaction; an author's own rating
        does not count. An earlier review remains when `review` is None. Raises NotFound for a
        recipe that the rater may not see.
        """
        async with self.database.transaction_as(rater) as tx:
            written = await tx.execute(
                RATE, user_id=rater.user_id, recipe_id=recipe_id, rating=rating, review=review
            )
        if not written:
            raise recipe_not_found()

    async def reviews(
        self, reader: Identity | None, recipe_id: UUID, key: PageKey, limit: int
    ) -> bytes:
        """A page of the recipe's reviews as JSON, newest first; ratings without a review are not
        in it. Raises NotFound for a recipe that `reader` (None: a guest) may not see.
        """
        page = await self.database.fetch_optional_json_as(
            reader or ANONYMOUS, REVIEWS, recipe_id=recipe_id, limit=limit, **key.parameters()
        )
        if page is None:
            raise recipe_not_found()
        return page
