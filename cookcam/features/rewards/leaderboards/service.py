"""The rules of leaderboards (docs/rewards.md)."""

from __future__ import annotations

from functools import partial
from uuid import UUID

from attrs import frozen

from cookcam.cache import Cache
from cookcam.errors import AuthenticationError, NotFound
from cookcam.features.rewards.leaderboards.models import (
    Audience,
    Board,
    Leaderboard,
    Period,
    UserRank,
)
from cookcam.features.rewards.leaderboards.redis_store import RedisLeaderboardStore
from cookcam.features.rewards.leaderboards.store import LeaderboardStore
from cookcam.identity import Identity
from cookcam.lifecycle.background import run_periodically

CACHE_SECONDS = 60
COMPACTION_INTERVAL = 30.0
NO_COUNTRY = "--"
"""The country of users without one: no user has it."""


def user_not_found() -> NotFound:
    return NotFound("User not found", error="User not found")


@frozen
class Leaderboards:
    """Periods are in UTC; weeks begin on Monday.

    Ties are ordered by lifetime XP, then by who reached the XP earlier, then by id.
    """

    store: LeaderboardStore | RedisLeaderboardStore
    cache: Cache

    async def page(
        self, caller: Identity | None, audience: Audience, period: Period, limit: int, offset: int
    ) -> Leaderboard:
        """A page, with the caller's own place. A page of all users or of a country may be
        CACHE_SECONDS old; one of no country is empty.

        Raises AuthenticationError for the leaderboard of a guest's friends or country.
        """
        board = await self._board(caller, audience, period)
        produce = partial(self.store.page, board, limit, offset)
        if board.friends_of is None:
            key = f"{board.country or ''}:{period}:{limit}:{offset}"
            page = await self.cache.get_or("leaderboards", key, CACHE_SECONDS, produce)
        else:
            page = await produce()
        place = None if caller is None else await self.store.place(caller.user_id, board)
        return Leaderboard(page["entries"], page["updated_at"], place)

    async def around(self, caller: Identity | None, period: Period, limit: int) -> Leaderboard:
        """The page of all users in whose middle the caller is; empty without XP in the period.

        Raises AuthenticationError for a guest.
        """
        if caller is None:
            raise AuthenticationError(error="Authentication required")
        board = Board(period)
        page = await self.store.page(board, limit, 0, around=caller.user_id)
        place = await self.store.place(caller.user_id, board)
        return Leaderboard(page["entries"], page["updated_at"], place)

    async def compact(self) -> None:
        """Background task: sums up the counts from which ranks are computed."""
        await run_periodically(self.store.compact, COMPACTION_INTERVAL)

    async def rank(self, user_id: UUID, period: Period) -> UserRank:
        """The rank of a user among all users. Raises NotFound."""
        rank = await self.store.rank(user_id, period)
        if rank is None:
            raise user_not_found()
        return rank

    async def _board(self, caller: Identity | None, audience: Audience, period: Period) -> Board:
        if audience == "global":
            return Board(period)
        if caller is None:
            raise AuthenticationError(error="Authentication required")
        if audience == "friends":
            return Board(period, friends_of=caller.user_id)
        country = await self.store.country(caller.user_id) or NO_COUNTRY
        return Board(period, country=country)
