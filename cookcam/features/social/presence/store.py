"""The SQL of a user's followers."""

from __future__ import annotations

from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database

FOLLOWERS: LiteralString = """
select follower_id from public.user_follows
where following_id = %(user_id)s
order by created_at desc
limit %(limit)s"""


@frozen
class Follower:
    follower_id: UUID


@frozen
class FollowStore:
    database: Database

    async def followers(self, user_id: UUID, limit: int) -> list[UUID]:
        """Follower ids, latest follow first."""
        rows = await self.database.fetch_all_as(
            SERVICE, Follower, FOLLOWERS, user_id=user_id, limit=limit
        )
        return [row.follower_id for row in rows]
