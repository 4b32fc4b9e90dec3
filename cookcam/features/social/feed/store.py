"""The SQL of the live feed. Only the server may access the live tables, so it runs as SERVICE."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.database import Database
from cookcam.features.social.feed.models import LiveRecipe

SHARE = """
insert into public.live_recipe_shares (
  id, user_id, recipe_id, title, description, tags, created_at
)
values (
  %(id)s, %(user_id)s, %(recipe_id)s, %(title)s, %(description)s, %(tags)s::text[], %(created_at)s
)"""

# Serialises the likes of a share, so that each count is exact.
LOCK_SHARE = "select from public.live_recipe_shares where id = %(share_id)s for no key update"

LIKE = """
insert into public.live_recipe_likes (share_id, user_id) values (%(share_id)s, %(user_id)s)
on conflict (share_id, user_id) do nothing"""

COUNT = "select count(*) from public.live_recipe_likes where share_id = %(share_id)s"

COMMENT = """
insert into public.live_recipe_comments (share_id, user_id, comment, created_at)
select s.id, %(user_id)s, %(comment)s, %(created_at)s
from public.live_recipe_shares s where s.id = %(share_id)s"""


@frozen
class FeedStore:
    database: Database

    async def share(self, share: LiveRecipe) -> None:
        async with self.database.transaction() as tx:
            await tx.execute(
                SHARE,
                id=share.id,
                user_id=share.user_id,
                recipe_id=share.recipe_id,
                title=share.title,
                description=share.description,
                tags=share.tags,
                created_at=share.timestamp,
            )

    async def like(self, share_id: str, user_id: UUID) -> tuple[bool, int] | None:
        """Returns (first like of this user, number of likes); None for an unknown share."""
        async with self.database.transaction() as tx:
            if not await tx.execute(LOCK_SHARE, share_id=share_id):
                return None
            first = await tx.execute(LIKE, share_id=share_id, user_id=user_id) > 0
            return first, await tx.fetch_value(COUNT, share_id=share_id)

    async def comment(
        self, share_id: str, user_id: UUID, comment: str, created_at: datetime
    ) -> bool:
        """Returns False for an unknown share."""
        async with self.database.transaction() as tx:
            written = await tx.execute(
                COMMENT,
                share_id=share_id,
                user_id=user_id,
                comment=comment,
                created_at=created_at,
            )
            return written > 0
