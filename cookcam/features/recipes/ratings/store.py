"""The SQL of ratings, under the rater's role. Triggers keep the aggregates on the recipe."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import Database
from cookcam.identity import Identity

# The row policy of recipes hides what the rater may not see; nothing is written then.
RATE: LiteralString = """
insert into public.recipe_ratings as mine (user_id, recipe_id, rating, review)
select %(user_id)s, r.id, %(rating)s, %(review)s
from public.recipes r where r.id = %(recipe_id)s
on conflict (user_id, recipe_id) do update
set rating = excluded.rating, review = coalesce(excluded.review, mine.review)"""


@frozen
class RatingStore:
    database: Database

    async def rate(self, rater: Identity, recipe_id: UUID, rating: int, review: str | None) -> bool:
        """Returns False when the recipe does not exist for `rater`. An earlier review remains when
        `review` is None."""
        async with self.database.transaction_as(rater) as tx:
            written = await tx.execute(
                RATE, user_id=rater.user_id, recipe_id=recipe_id, rating=rating, review=review
            )
            return written > 0
