"""The SQL of public profiles and follows.

Guests may read profiles only through the server, so they are read as SERVICE, public columns only,
without the users that are hidden from the reader.
Follows are written under the follower's role.
"""

from __future__ import annotations

import re
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.errors import DatabaseError
from cookcam.features.social.users.models import Contact, PublicUser
from cookcam.identity import Identity

COLUMNS: LiteralString = """
  u.id, u.name, u.avatar_url, u.level, u.total_xp, u.is_creator, u.creator_tier, u.created_at"""

# The users hidden from the reader, null for a guest; read once for a statement.
VISIBLE: LiteralString = "u.id <> all ((select safety.hidden_from(%(reader)s::uuid))::uuid[])"

FIND = f"""
select {COLUMNS} from public.users u where u.id = %(user_id)s and {VISIBLE}"""  # noqa: S608 - constants

# Two queries, because the partial index of the first covers only users with XP. PostgreSQL does not
# start the second when the first has filled the list.
TOP = f"""
(
  select {COLUMNS} from public.users u where u.total_xp > 0 and {VISIBLE}
  order by u.total_xp desc, u.id limit %(limit)s
)
union all
(
  select {COLUMNS} from public.users u where u.total_xp = 0 and {VISIBLE}
  order by u.id limit %(limit)s
)
limit %(limit)s"""  # noqa: S608 - constants

BY_PREFIX = f"""
select {COLUMNS} from public.users u
where lower(u.name) like lower(%(pattern)s) and {VISIBLE}
order by u.total_xp desc, u.id limit %(limit)s"""  # noqa: S608 - constants

CONTACT: LiteralString = """
  u.id, u.name, u.avatar_url, u.level, u.total_xp, f.created_at as since"""

FOLLOWERS = f"""
select {CONTACT}
from public.user_follows f join public.users u on u.id = f.follower_id
where f.following_id = %(user_id)s and {VISIBLE}
order by f.created_at desc, u.id limit %(limit)s"""  # noqa: S608 - constants

FOLLOWING = f"""
select {CONTACT}
from public.user_follows f join public.users u on u.id = f.following_id
where f.follower_id = %(user_id)s and {VISIBLE}
order by f.created_at desc, u.id limit %(limit)s"""  # noqa: S608 - constants

# No row for an unknown user, or one hidden from the reader.
COUNT_FOLLOWERS = f"""
select (select count(*) from public.user_follows f where f.following_id = u.id) as total
from public.users u where u.id = %(user_id)s and {VISIBLE}"""  # noqa: S608 - constants

COUNT_FOLLOWING = f"""
select (select count(*) from public.user_follows f where f.follower_id = u.id) as total
from public.users u where u.id = %(user_id)s and {VISIBLE}"""  # noqa: S608 - constants

# Serialises the toggles of one follower, so that each inverts the result of the previous one.
LOCK_FOLLOWER: LiteralString = "select from public.users where id = %(user_id)s for no key update"

EXISTS = f"select exists (select from public.users u where u.id = %(user_id)s and {VISIBLE})"  # noqa: S608

FOLLOW: LiteralString = """
insert into public.user_follows (follower_id, following_id)
values (%(follower)s, %(followed)s)
on conflict (follower_id, following_id) do nothing"""

UNFOLLOW: LiteralString = """
delete from public.user_follows
where follower_id = %(follower)s and following_id = %(followed)s"""


@frozen
class Total:
    total: int


@frozen
class UserStore:
    database: Database

    async def find(self, reader: UUID | None, user_id: UUID) -> PublicUser | None:
        return await self.database.fetch_optional_as(
            SERVICE, PublicUser, FIND, reader=reader, user_id=user_id
        )

    async def top(self, reader: UUID | None, limit: int) -> list[PublicUser]:
        """The users with the most XP."""
        return await self.database.fetch_all_as(
            SERVICE, PublicUser, TOP, reader=reader, limit=limit
        )

    async def starting_with(self, reader: UUID | None, prefix: str, limit: int) -> list[PublicUser]:
        """Users by name prefix, case-insensitive; the most XP first."""
        return await self.database.fetch_all_as(
            SERVICE,
            PublicUser,
            BY_PREFIX,
            reader=reader,
            pattern=_prefix_pattern(prefix),
            limit=limit,
        )

    async def followers(self, reader: UUID | None, user_id: UUID, limit: int) -> list[Contact]:
        """The latest first."""
        return await self.database.fetch_all_as(
            SERVICE, Contact, FOLLOWERS, reader=reader, user_id=user_id, limit=limit
        )

    async def following(self, reader: UUID | None, user_id: UUID, limit: int) -> list[Contact]:
        """The latest first."""
        return await self.database.fetch_all_as(
            SERVICE, Contact, FOLLOWING, reader=reader, user_id=user_id, limit=limit
        )

    async def count_followers(self, reader: UUID | None, user_id: UUID) -> int | None:
        """The number of followers; None for an unknown user."""
        return await self._count(COUNT_FOLLOWERS, reader, user_id)

    async def count_following(self, reader: UUID | None, user_id: UUID) -> int | None:
        """The number of followed users; None for an unknown user."""
        return await self._count(COUNT_FOLLOWING, reader, user_id)

    async def toggle_follow(self, follower: Identity, followed: UUID) -> bool | None:
        """Returns whether the follower now follows the user; None for an unknown user."""
        async with self.database.transaction_as(follower) as tx:
            async with tx.acting_as(SERVICE):
                await tx.execute(LOCK_FOLLOWER, user_id=follower.user_id)
                if not await tx.fetch_value(EXISTS, user_id=followed, reader=follower.user_id):
                    return None
            pair = {"follower": follower.user_id, "followed": followed}
            if await tx.execute(FOLLOW, **pair):
                return True
            try:
                await tx.execute(UNFOLLOW, **pair)
            except DatabaseError as error:
                raise DatabaseError(error="Failed to unfollow user") from error
            return False

    async def unfollow(self, follower: Identity, followed: UUID) -> None:
        async with self.database.transaction_as(follower) as tx:
            await tx.execute(UNFOLLOW, follower=follower.user_id, followed=followed)

    async def _count(
        self, statement: LiteralString, reader: UUID | None, user_id: UUID
    ) -> int | None:
        row = await self.database.fetch_optional_as(
            SERVICE, Total, statement, reader=reader, user_id=user_id
        )
        return None if row is None else row.total


def _prefix_pattern(text: str) -> str:
    """The LIKE pattern for a prefix, with the wildcards in `text` escaped."""
    return re.sub(r"([\\%_])", r"\\\1", text) + "%"
