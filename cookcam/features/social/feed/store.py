"""The SQL of the live feed.

Only the server may write the live tables, so writes run as SERVICE. Pages are read under the
reader's role.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from attrs import frozen

from cookcam.database import Database
from cookcam.features.pages import PageKey, newest_first, time_text
from cookcam.features.social.feed.models import LiveRecipe, ShareNotFound
from cookcam.identity import Identity

SHARE = """
insert into public.live_recipe_shares (
  id, user_id, recipe_id, title, description, tags, created_at
)
values (
  %(id)s, %(user_id)s, %(recipe_id)s, %(title)s, %(description)s, %(tags)s::text[], %(created_at)s
)"""

# Serialises the likes of a share, so that each count is exact. A share of a hidden user is unknown.
LOCK_SHARE = """
select from public.live_recipe_shares
where id = %(share_id)s and user_id <> all (safety.hidden_from(%(user_id)s)) for no key update"""

LIKE = """
insert into public.live_recipe_likes (share_id, user_id) values (%(share_id)s, %(user_id)s)
on conflict (share_id, user_id) do nothing"""

COUNT = "select count(*) from public.live_recipe_likes where share_id = %(share_id)s"

COMMENT = """
insert into public.live_recipe_comments (share_id, user_id, comment, created_at)
select s.id, %(user_id)s, %(comment)s, %(created_at)s
from public.live_recipe_shares s
where s.id = %(share_id)s and s.user_id <> all (safety.hidden_from(%(user_id)s))"""

SHARES = newest_first(
    "shares",
    f"""json_build_object(
  'id', s.id,
  'userId', s.user_id,
  'userName', u.name,
  'recipeId', s.recipe_id,
  'title', s.title,
  'description', coalesce(s.description, ''),
  'tags', s.tags,
  'timestamp', {time_text("s.created_at")},
  'likeCount', (select count(*) from public.live_recipe_likes l where l.share_id = s.id),
  'commentCount', (select count(*) from public.live_recipe_comments c where c.share_id = s.id),
  'liked', exists (
    select from public.live_recipe_likes l
    where l.share_id = s.id and l.user_id = %(reader)s
  )
)""",  # noqa: S608 - constants
    "from public.live_recipe_shares s join public.users u on u.id = s.user_id where true",
    time="s.created_at",
    id="s.id",
)

COMMENTS = newest_first(
    "comments",
    f"""json_build_object(
  'id', c.id,
  'shareId', c.share_id,
  'comment', c.comment,
  'commentBy', c.user_id,
  'userName', u.name,
  'timestamp', {time_text("c.created_at")}
)""",
    """from public.live_recipe_comments c join public.users u on u.id = c.user_id
where c.share_id = %(share_id)s""",
    time="c.created_at",
    id="c.id",
    parent="exists (select from public.live_recipe_shares where id = %(share_id)s)",
)


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
            if not await tx.execute(LOCK_SHARE, share_id=share_id, user_id=user_id):
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

    async def page(self, reader: Identity, key: PageKey, limit: int) -> bytes:
        """A page of the shares as JSON, newest first."""
        return await self.database.fetch_json_as(
            reader, SHARES, reader=reader.user_id, limit=limit, **key.parameters()
        )

    async def comments(self, reader: Identity, share_id: str, key: PageKey, limit: int) -> bytes:
        """A page of a share's comments as JSON, newest first. Raises ShareNotFound."""
        page = await self.database.fetch_optional_json_as(
            reader, COMMENTS, share_id=share_id, limit=limit, **key.parameters()
        )
        if page is None:
            raise ShareNotFound()
        return page
