"""Response bodies of the leaderboard routes."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import Struct, field

from cookcam.features.rewards.leaderboards.models import Audience, Period


class RankedUser(Struct):
    id: UUID
    name: str | None
    level: int
    avatar_url: str | None
    is_creator: bool
    creator_tier: int


class LeaderboardEntry(Struct):
    """`xp_total` is the lifetime XP; `xp_gained` and `recipes_cooked` are of the period.

    `movement` is the number of places gained since the previous period.
    """

    rank: int
    xp_total: int
    xp_gained: int
    movement: int
    recipes_cooked: int
    users: RankedUser


class LeaderboardMetadata(Struct):
    """`updated_at` is when the page was read."""

    type: Audience
    period: Period
    updated_at: datetime


class LeaderboardResponse(Struct):
    """`userRank` is the caller's place; null for guests and without XP in the period."""

    leaderboard: list[LeaderboardEntry]
    user_rank: int | None = field(name="userRank")
    metadata: LeaderboardMetadata


class RankResponse(Struct):
    """`rank` is null without XP in the period; `user_xp` is the lifetime XP."""

    rank: int | None
    total_users: int
    user_xp: int
    period_xp: int
