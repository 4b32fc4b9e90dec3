"""The SQL of public profiles and follows.

Guests may read profiles only through the server, so they are read as SERVICE, public columns only.
Follows are written under the follower's role.
"""

from __future__ import annotations

import re
from typing import LiteralString
from uuid import UUID

from attrs import frozen

from cookcam.database import SERVICE, Database
from cookcam.errors import DatabaseError
from cookcam.features.pages import time_text
from cookcam.identity import Identity

CARD: LiteralString = "u.id, u.name, u.avatar_url, u.level, u.total_xp"
PROFILE: LiteralString = f"{CARD}, u.is_creator, u.creator_tier"

FIND = f"""
select json_build_object('user', profile)::text
from (
  select {PROFILE}, {time_text("u.created_at")} as created_at
  from public.users u where u.id = %(user_id)s
) as profile"""  # noqa: S608 - constants

EXISTS: LiteralString = "select exists (select from public.users where id = %(user_id)s)"


def _list(users: LiteralString) -> LiteralString:
    return f"""
select json_build_object(
  'users', coalesce(json_agg(profile order by profile.total_xp desc, profile.id), '[]')
)::text
from ({users}) as profile"""  # noqa: S608 - constants


# Two queries, because the partial index of the first covers only users with XP. PostgreSQL does not
# start the second when the first has filled the list.
TOP = _list(f"""
(
  select {PROFILE} from public.users u where u.total_xp > 0
  order by u.total_xp desc, u.id limit %(limit)s
)
union all
(select {PROFILE} from public.users u where u.total_xp = 0 order by u.id limit %(limit)s)
limit %(limit)s""")  # noqa: S608 - constants

BY_PREFIX = _list(f"""
select {PROFILE} from public.users u
where lower(u.name) like lower(%(pattern)s)
order by u.total_xp desc, u.id limit %(limit)s""")  # noqa: S608 - constants


def _contacts(
    items: LiteralString, item: LiteralString, *, other: LiteralString, own: LiteralString
) -> LiteralString:
    """The latest contacts of a user and the number of all; no row for an unknown user.

    `other` is the column of the contact in `user_follows`, `own` that of the user.
    """
    return f"""
select json_build_object(
  '{items}', (
    select coalesce(
      json_agg(
        json_build_object('created_at', {time_text("since")}, '{item}', to_json(contact))
        order by since desc, contact.id
      ),
      '[]'
    )
    from (
      select f.created_at as since, f.{other} as id
      from public.user_follows f where f.{own} = %(user_id)s
      order by f.created_at desc, f.{other} limit %(limit)s
    ) as latest
    cross join lateral (select {CARD} from public.users u where u.id = latest.id) as contact
  ),
  'total', (select count(*) from public.user_follows f where f.{own} = %(user_id)s)
)::text
from public.users where id = %(user_id)s"""  # noqa: S608 - constants


FOLLOWERS = _contacts("followers", "follower", other="follower_id", own="following_id")
FOLLOWING = _contacts("following", "following", other="following_id", own="follower_id")

# Serialises the toggles of one follower, so that each inverts the result of the previous one.
LOCK_FOLLOWER: LiteralString = "select from public.users where id = %(user_id)s for no key update"

FOLLOW: LiteralString = """
insert into public.user_follows (follower_id, following_id)
values (%(follower)s, %(followed)s)
on conflict (follower_id, following_id) do nothing"""

UNFOLLOW: LiteralString = """
delete from public.user_follows
where follower_id = %(follower)s and following_id = %(followed)s"""


@frozen
class UserStore:
    """Reads return response bodies."""

    database: Database

    async def profile_json(self, user_id: UUID) -> bytes | None:
        """A PublicUserResponse; None for an unknown user."""
        return await self.database.fetch_optional_json_as(SERVICE, FIND, user_id=user_id)

    async def exists(self, user_id: UUID) -> bool:
        return await self.database.fetch_value_as(SERVICE, EXISTS, user_id=user_id)

    async def list_json(self, prefix: str | None, limit: int) -> bytes:
        """A UserListResponse, the most XP first: users by name prefix, ignoring case, if given."""
        if prefix is None:
            return await self.database.fetch_json_as(SERVICE, TOP, limit=limit)
        return await self.database.fetch_json_as(
            SERVICE, BY_PREFIX, pattern=_prefix_pattern(prefix), limit=limit
        )

    async def followers_json(self, user_id: UUID, limit: int) -> bytes | None:
        """A FollowersResponse, the latest first; None for an unknown user."""
        return await self.database.fetch_optional_json_as(
            SERVICE, FOLLOWERS, user_id=user_id, limit=limit
        )

    async def following_json(self, user_id: UUID, limit: int) -> bytes | None:
        """A FollowingResponse, the latest first; None for an unknown user."""
        return await self.database.fetch_optional_json_as(
            SERVICE, FOLLOWING, user_id=user_id, limit=limit
        )

    async def toggle_follow(self, follower: Identity, followed: UUID) -> bool | None:
        """Returns whether the follower now follows the user; None for an unknown user."""
        async with self.database.transaction_as(follower) as tx:
            async with tx.acting_as(SERVICE):
                await tx.execute(LOCK_FOLLOWER, user_id=follower.user_id)
                if not await tx.fetch_value(EXISTS, user_id=followed):
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


def _prefix_pattern(text: str) -> str:
    """The LIKE pattern for a prefix, with the wildcards in `text` escaped."""
    return re.sub(r"([\\%_])", r"\\\1", text) + "%"
