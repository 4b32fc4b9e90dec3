"""The SQL of ratings, in the name of who rates. Triggers keep the aggregates on the recipe."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import Database
from cookcam.identity import Identity

# What the reader may not see, the policy of recipes leaves out: nothing is written then.
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
        """False when there is no such recipe for `rater`. No review leaves an earlier one."""
        async with self.database.transaction_as(rater) as tx:
            written = await tx.execute(
                RATE, user_id=rater.user_id, recipe_id=recipe_id, rating=rating, review=review
            )
            return written > 0
