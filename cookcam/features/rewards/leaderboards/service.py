"""The rules of leaderboards (docs/rewards.md)."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from attrs import frozen

from cookcam.cache import Cache
from cookcam.errors import AuthenticationError, NotFound
from cookcam.features.rewards.leaderboards.models import Audience, Leaderboard, Period, UserRank
from cookcam.features.rewards.leaderboards.store import LeaderboardStore
from cookcam.identity import Identity

CACHE_SECONDS = 60


def user_not_found() -> NotFound:
    return NotFound("User not found", error="User not found")


@frozen
class Leaderboards:
    """Periods are in UTC; weeks begin on Monday.

    Ties are ordered by lifetime XP, then by who reached the XP earlier, then by id.
    """

    store: LeaderboardStore
    cache: Cache

    async def page(
        self, caller: Identity | None, audience: Audience, period: Period, limit: int, offset: int
    ) -> Leaderboard:
        """A page, with the caller's own place. A global page may be CACHE_SECONDS old.

        Raises AuthenticationError for the leaderboard of a guest's friends.
        """
        friends_of = None
        if audience == "friends":
            if caller is None:
                raise AuthenticationError(error="Authentication required")
            friends_of = caller.user_id
        produce = partial(self.store.page, period, limit, offset, friends_of=friends_of)
        if friends_of is None:
            key = f"{period}:{limit}:{offset}"
            page = await self.cache.get_or("leaderboards", key, CACHE_SECONDS, produce)
        else:
            page = await produce()
        place = None
        if caller is not None:
            place = await self.store.place(caller.user_id, period, friends_of=friends_of)
        return Leaderboard(page["entries"], page["updated_at"], place)

    async def rank(self, user_id: UUID, period: Period) -> UserRank:
        """The rank of a user among all users. Raises NotFound."""
        rank = await self.store.rank(user_id, period)
        if rank is None:
            raise user_not_found()
        return rank
